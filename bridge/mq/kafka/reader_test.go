//go:build servers

package kafka_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/mqtest"
	"kitestream/test/servers"
)

// rig is a broker, the test's own hold on it, and a topic that is there and empty.
type rig struct {
	k     *servers.Kafka
	w     *writer
	topic string
}

// TestReader has the cases that can share a broker. Its log is cleaned by the hundredth of a second.
func TestReader(t *testing.T) {
	k := startKafka(t, map[string]string{
		"log.retention.check.interval.ms": "100", "log.initial.task.delay.ms": "100", "log.segment.delete.delay.ms": "10",
		"log.cleaner.backoff.ms": "100",
	})
	for name, test := range map[string]func(*testing.T, rig){
		"compressed_batches_are_read":                  testCompression,
		"transactions":                                 testTransactions,
		"last_is_not_the_mark_of_a_transaction":        testLastIsNoMark,
		"holes_of_compaction_are_no_gaps":              testCompaction,
		"reading_creates_no_topic":                     testCreatesNothing,
		"deleted_records_are_a_gap":                    testDeletedRecords,
		"records_deleted_while_the_caller_is_slow":     testDeletedWhileSlow,
		"far_beyond_the_end_of_a_growing_topic":        testFarBeyondGrowing,
		"retention_is_a_gap":                           testRetention,
		"recreated_without_ids_while_caller_is_slow":   testRecreatedWithoutIDs,
		"broker_without_topic_ids":                     testNoTopicIDs,
		"read_ahead_is_bounded":                        testReadAhead,
		"connection_is_cut_again_and_again":            testCuts,
		"one_reader_does_not_wait_for_another_to_poll": testIndependent,
	} {
		t.Run(name, func(t *testing.T) {
			r := rig{k: k, w: newWriter(t, k.Addr), topic: fmt.Sprintf("reader-%d", time.Now().UnixNano())}
			r.w.create(t, r.topic)
			test(t, r)
		})
	}
}

// number appends n messages that carry their number and returns the number after the last.
func (w *writer) number(t testing.TB, topic string, from, n, size int) int {
	t.Helper()
	msgs := make([]mqtest.Message, n)
	for i := range msgs {
		msgs[i].Payload = numbered(from+i, size)
	}
	w.append(t, topic, msgs...)
	return from + n
}

func numbered(i, size int) []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, 0, max(size, 8)), uint64(i))[:max(size, 8)]
}

func number(m mq.Message) int { return int(binary.LittleEndian.Uint64(m.Payload)) }

// expect reads the messages numbered from…to-1 and returns where they stand.
func expect(t testing.TB, r mq.Reader, from, to int) []mq.Position {
	t.Helper()
	var at []mq.Position
	for i := from; i < to; i++ {
		m := next(t, r)
		if got := number(m); got != i {
			t.Fatalf("message at %s has number %d, want %d", m.Position, got, i)
		}
		at = append(at, m.Position)
	}
	return at
}

func next(t testing.TB, r mq.Reader) mq.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := r.Next(ctx)
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return m
}

// gap expects a gap now, with these offsets; found -1 is none.
func gap(t testing.TB, r mq.Reader, wanted, found int64) {
	t.Helper()
	_, g := untilGap(t, r, -1)
	if offset(t, g.Wanted) != wanted || (g.Found == "") != (found < 0) || g.Found != "" && offset(t, g.Found) != found {
		t.Errorf("gap: %v\nwant from %d to %d", g, wanted, found)
	}
}

// nothing expects that no message comes within a moment.
func nothing(t testing.TB, r mq.Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if m, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("next = message at %q, %v; want none yet", m.Position, err)
	}
}

func open(t testing.TB, q mq.Queue, topic string, from mq.Position) mq.Reader {
	t.Helper()
	r, err := q.Open(t.Context(), topic, from)
	must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func testCompression(t *testing.T, r rig) {
	n := 0
	for _, codec := range []kgo.CompressionCodec{
		kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(), kgo.NoCompression(),
	} {
		n = newWriter(t, r.k.Addr, kgo.ProducerBatchCompression(codec)).number(t, r.topic, n, 2000, 500)
	}
	at := expect(t, open(t, connect(t, r.k.Addr), r.topic, ""), 0, n)
	for _, i := range []int{1, 1999, 2000, 7777} { // from the middle of a batch
		expect(t, open(t, connect(t, r.k.Addr), r.topic, at[i]), i, n)
	}
}

// testCreatesNothing: brokers create a topic by default when somebody asks for it who lets them.
func testCreatesNothing(t *testing.T, r rig) {
	q := connect(t, r.k.Addr)
	const absent = "never-created"
	nothing(t, open(t, q, absent, ""))
	if p, err := q.Last(t.Context(), absent); p != "" || err != nil {
		t.Errorf("last of a topic that is not there = %q, %v", p, err)
	}
	got, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), r.w.admin)
	must(t, err)
	for _, topic := range got.Topics {
		if *topic.Topic == absent {
			t.Error("reading a topic created it")
		}
	}
}

func testDeletedRecords(t *testing.T, r rig) {
	r.w.number(t, r.topic, 0, 30, 100)
	q := connect(t, r.k.Addr)
	behind, waiting := open(t, q, r.topic, ""), open(t, q, r.topic, "25")
	at := expect(t, behind, 0, 30)
	expect(t, waiting, 25, 30)
	r.w.trim(t, r.topic, 20)
	for _, from := range []mq.Position{at[0], at[19], "0", "19"} {
		gap(t, open(t, q, r.topic, from), offset(t, from), 20)
	}
	expect(t, open(t, q, r.topic, at[20]), 20, 30)
	expect(t, open(t, q, r.topic, ""), 20, 30)
	r.w.trim(t, r.topic, 30) // all
	if p, err := q.Last(t.Context(), r.topic); p != "" || err != nil {
		t.Errorf("last of a topic without records = %q, %v", p, err)
	}
	r.w.number(t, r.topic, 30, 5, 100)
	r.w.trim(t, r.topic, 33)
	gap(t, open(t, q, r.topic, "30"), 30, 33)
	for _, r := range []mq.Reader{behind, waiting} { // they waited when 30 was written, and got it or not
		untilGapOrEnd(t, r, 30, 35)
	}
}

func testDeletedWhileSlow(t *testing.T, r rig) {
	cfg := config(r.k.Addr)
	cfg.PrefetchBytes = 64 << 10
	for n := 0; n < 3000; {
		n = r.w.number(t, r.topic, n, 20, 1000) // a batch
	}
	reader := open(t, connectWith(t, kafka.Connect, cfg), r.topic, "")
	expect(t, reader, 0, 10)
	r.w.trim(t, r.topic, 2990)
	i, g := untilGap(t, reader, 10)
	if offset(t, g.Wanted) != int64(i) || offset(t, g.Found) != 2990 {
		t.Errorf("gap: %v\nwant from %d to 2990", g, i)
	}
	if i > 200 {
		t.Errorf("%d messages were held ahead of a slow caller", i)
	}
}

// untilGap reads messages in order, from this number on, until the gap that must come. It returns the number that was
// not given.
func untilGap(t testing.TB, r mq.Reader, from int) (int, *mq.GapError) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := from; ; i++ {
		m, err := r.Next(ctx)
		if err == nil && number(m) == i {
			continue
		}
		var g *mq.GapError
		if !errors.As(err, &g) {
			t.Fatalf("next = message at %q, %v; want message %d or a gap", m.Position, err, i)
		}
		return i, g
	}
}

// testFarBeyondGrowing: Milvus ticks five times a second, so the end is never the same for long.
func testFarBeyondGrowing(t *testing.T, r rig) {
	reader := open(t, connect(t, r.k.Addr), r.topic, "1000000")
	result := make(chan error, 1)
	go func() {
		_, err := reader.Next(t.Context())
		result <- err
	}()
	for n := 0; ; {
		n = r.w.number(t, r.topic, n, 1, 8)
		select {
		case err := <-result:
			var g *mq.GapError
			if !errors.As(err, &g) || offset(t, g.Found) != 0 {
				t.Errorf("next = %v, want a gap", err)
			}
			return
		case <-time.After(200 * time.Millisecond):
		}
		if n > 200 {
			t.Fatal("no gap after 40 s")
		}
	}
}

// testRetention lets the broker itself remove what is old.
func testRetention(t *testing.T, r rig) {
	topic := r.topic + "-short"
	r.w.createWith(t, topic, map[string]string{"segment.bytes": "20000", "retention.bytes": "30000"})
	defer r.w.remove(t, topic)
	q := connect(t, r.k.Addr)
	reader := open(t, q, topic, "")
	r.w.number(t, topic, 0, 1, 1000)
	at := expect(t, reader, 0, 1)
	must(t, reader.Close())
	for n := 1; n < 200; {
		n = r.w.number(t, topic, n, 1, 1000)
	}
	eventually(t, "the first record is gone", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		m, err := open(t, q, topic, "").Next(ctx)
		return err == nil && number(m) > 0
	})
	_, g := untilGap(t, open(t, q, topic, at[0]), 0)
	if g.Wanted != at[0] || offset(t, g.Found) < 1 {
		t.Errorf("gap: %v", g)
	}
}

// untilGapOrEnd reads the messages numbered from…to-1, or as many of them as come before a gap.
func untilGapOrEnd(t testing.TB, r mq.Reader, from, to int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := from; i < to; i++ {
		m, err := r.Next(ctx)
		var g *mq.GapError
		if errors.As(err, &g) {
			return
		}
		if err != nil || number(m) != i {
			t.Fatalf("next = message at %q, %v; want message %d", m.Position, err, i)
		}
	}
}

// testRecreatedWithoutIDs: the next fetch finds the offset it asks for, in another topic.
func testRecreatedWithoutIDs(t *testing.T, r rig) {
	cfg := config(r.k.Addr)
	cfg.PrefetchBytes = 64 << 10
	for n := 0; n < 1000; {
		n = r.w.number(t, r.topic, n, 20, 1000)
	}
	reader := open(t, connectWith(t, kafka.ConnectAsBefore28, cfg), r.topic, "")
	expect(t, reader, 0, 10)
	<-time.After(1500 * time.Millisecond)
	r.w.remove(t, r.topic)
	r.w.create(t, r.topic)
	r.w.number(t, r.topic, 10_000, 2000, 1000)
	if i, _ := untilGap(t, reader, 10); i > 200 {
		t.Errorf("%d messages were held ahead of a slow caller", i)
	}
}

func testNoTopicIDs(t *testing.T, r rig) {
	r.w.number(t, r.topic, 0, 100, 100)
	q := connectWith(t, kafka.ConnectWithoutIDs, config(r.k.Addr))
	reader := open(t, q, r.topic, "")
	at := expect(t, reader, 0, 100)
	r.w.remove(t, r.topic)
	r.w.create(t, r.topic)
	r.w.number(t, r.topic, 1000, 200, 100)
	gap(t, reader, 100, 99)
	gap(t, open(t, q, r.topic, at[50]), 50, 50)
}

// testReadAhead counts what passes the wire while nobody takes a message.
func testReadAhead(t *testing.T, r rig) {
	p := newProxy(t, r.k.Proxy)
	for _, size := range []int{8, 1000, 100_000, 700_000} {
		topic := fmt.Sprintf("%s-%d", r.topic, size)
		r.w.create(t, topic)
		cfg := config(p.addr)
		cfg.PrefetchBytes = 1 << 20
		backlog := 0
		for backlog < 8<<20/max(size, 100) {
			backlog = r.w.number(t, topic, backlog, max(1, 20_000/size), size)
		}
		before := p.received()
		reader := open(t, connectWith(t, kafka.Connect, cfg), topic, "")
		expect(t, reader, 0, 1)
		p.settles(t)
		// Two portions, of which the first may have been finished by the first message, and what connecting takes.
		if got, bound := p.received()-before, cfg.PrefetchBytes*3/2+size+32<<10; got > bound {
			t.Errorf("%d B messages: %d bytes came ahead of the caller, bound %d", size, got, bound)
		}
		expect(t, reader, 1, backlog)
		must(t, reader.Close())
	}
}

func testCuts(t *testing.T, r rig) {
	p := newProxy(t, r.k.Proxy)
	const n = 20_000
	r.w.number(t, r.topic, 0, n, 500)
	cfg := config(p.addr)
	cfg.PrefetchBytes = 256 << 10
	q, out := connectLogging(t, cfg)
	reader := open(t, q, r.topic, "")
	for i := 0; i < n; i += n / 20 {
		expect(t, reader, i, i+n/20)
		p.cut()
	}
	r.w.number(t, r.topic, n, 1, 8)
	expect(t, reader, n, n+1)
	if lines := strings.Count(out.String(), "\n"); lines > 4 { // the machine may be busy for a moment
		t.Errorf("%d lines for cuts that were over at once:\n%s", lines, out)
	}
}

// testIndependent: a broker answers one request of a connection at a time, and an idle fetch takes five seconds.
func testIndependent(t *testing.T, r rig) {
	q := connect(t, r.k.Addr)
	readers := map[string]mq.Reader{}
	for i := range 8 {
		topic := fmt.Sprintf("%s-%d", r.topic, i)
		r.w.create(t, topic)
		readers[topic] = open(t, q, topic, "")
		nothing(t, readers[topic])
	}
	began := time.Now()
	for _, topic := range slices.Sorted(maps.Keys(readers)) {
		r.w.number(t, topic, 0, 1, 8)
		expect(t, readers[topic], 0, 1)
		if p, err := q.Last(t.Context(), topic); err != nil || offset(t, p) != 0 {
			t.Errorf("last = %q, %v", p, err)
		}
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("eight messages to eight idle readers took %v", took)
	}
}
