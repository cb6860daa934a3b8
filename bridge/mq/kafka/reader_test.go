//go:build servers

package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	w.append(t, topic, mqtest.Numbered(from, n, size)...)
	return from + n
}

// gap expects a gap now, with these offsets; found -1 is none.
func gap(t testing.TB, r mq.Reader, wanted, found int64) {
	t.Helper()
	_, g := mqtest.UntilGap(t, r, -1)
	if offset(t, g.Wanted) != wanted || (g.Found == "") != (found < 0) || g.Found != "" && offset(t, g.Found) != found {
		t.Errorf("gap: %v\nwant from %d to %d", g, wanted, found)
	}
}

func testCompression(t *testing.T, r rig) {
	n := 0
	for _, codec := range []kgo.CompressionCodec{
		kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(), kgo.NoCompression(),
	} {
		n = newWriter(t, r.k.Addr, kgo.ProducerBatchCompression(codec)).number(t, r.topic, n, 2000, 500)
	}
	at := mqtest.Expect(t, mqtest.Open(t, connect(t, r.k.Addr), r.topic, ""), 0, n)
	for _, i := range []int{1, 1999, 2000, 7777} { // from the middle of a batch
		mqtest.Expect(t, mqtest.Open(t, connect(t, r.k.Addr), r.topic, at[i]), i, n)
	}
}

// testCreatesNothing: brokers create a topic by default when somebody asks for it who lets them.
func testCreatesNothing(t *testing.T, r rig) {
	q := connect(t, r.k.Addr)
	const absent = "never-created"
	mqtest.Nothing(t, mqtest.Open(t, q, absent, ""))
	if p, err := q.Last(t.Context(), absent); p != "" || err != nil {
		t.Errorf("last of a topic that is not there = %q, %v", p, err)
	}
	got, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), r.w.admin)
	mqtest.Must(t, err)
	for _, topic := range got.Topics {
		if *topic.Topic == absent {
			t.Error("reading a topic created it")
		}
	}
}

func testDeletedRecords(t *testing.T, r rig) {
	r.w.number(t, r.topic, 0, 30, 100)
	q := connect(t, r.k.Addr)
	behind, waiting := mqtest.Open(t, q, r.topic, ""), mqtest.Open(t, q, r.topic, "25")
	at := mqtest.Expect(t, behind, 0, 30)
	mqtest.Expect(t, waiting, 25, 30)
	r.w.trim(t, r.topic, 20)
	for _, from := range []mq.Position{at[0], at[19], "0", "19"} {
		gap(t, mqtest.Open(t, q, r.topic, from), offset(t, from), 20)
	}
	mqtest.Expect(t, mqtest.Open(t, q, r.topic, at[20]), 20, 30)
	mqtest.Expect(t, mqtest.Open(t, q, r.topic, ""), 20, 30)
	r.w.trim(t, r.topic, 30) // all
	if p, err := q.Last(t.Context(), r.topic); p != "" || err != nil {
		t.Errorf("last of a topic without records = %q, %v", p, err)
	}
	r.w.number(t, r.topic, 30, 5, 100)
	r.w.trim(t, r.topic, 33)
	gap(t, mqtest.Open(t, q, r.topic, "30"), 30, 33)
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
	reader := mqtest.Open(t, mqtest.Connect(t, kafka.Connect, cfg), r.topic, "")
	mqtest.Expect(t, reader, 0, 10)
	r.w.trim(t, r.topic, 2990)
	i, g := mqtest.UntilGap(t, reader, 10)
	if offset(t, g.Wanted) != int64(i) || offset(t, g.Found) != 2990 {
		t.Errorf("gap: %v\nwant from %d to 2990", g, i)
	}
	if i > 200 {
		t.Errorf("%d messages were held ahead of a slow caller", i)
	}
}

// testFarBeyondGrowing: Milvus ticks five times a second, so the end is never the same for long.
func testFarBeyondGrowing(t *testing.T, r rig) {
	reader := mqtest.Open(t, connect(t, r.k.Addr), r.topic, "1000000")
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
	reader := mqtest.Open(t, q, topic, "")
	r.w.number(t, topic, 0, 1, 1000)
	at := mqtest.Expect(t, reader, 0, 1)
	mqtest.Must(t, reader.Close())
	for n := 1; n < 200; {
		n = r.w.number(t, topic, n, 1, 1000)
	}
	mqtest.Eventually(t, "the first record is gone", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), mqtest.Patience)
		defer cancel()
		m, err := mqtest.Open(t, q, topic, "").Next(ctx)
		return err == nil && mqtest.Number(m) > 0
	})
	_, g := mqtest.UntilGap(t, mqtest.Open(t, q, topic, at[0]), 0)
	if g.Wanted != at[0] || offset(t, g.Found) < 1 {
		t.Errorf("gap: %v", g)
	}
}

// untilGapOrEnd reads the messages numbered from…to-1, or as many of them as come before a gap.
func untilGapOrEnd(t testing.TB, r mq.Reader, from, to int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), mqtest.Patience)
	defer cancel()
	for i := from; i < to; i++ {
		m, err := r.Next(ctx)
		var g *mq.GapError
		if errors.As(err, &g) {
			return
		}
		if err != nil || mqtest.Number(m) != i {
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
	reader := mqtest.Open(t, mqtest.Connect(t, kafka.ConnectAsBefore28, cfg), r.topic, "")
	mqtest.Expect(t, reader, 0, 10)
	<-time.After(1500 * time.Millisecond)
	r.w.remove(t, r.topic)
	r.w.create(t, r.topic)
	r.w.number(t, r.topic, 10_000, 2000, 1000)
	if i, _ := mqtest.UntilGap(t, reader, 10); i > 200 {
		t.Errorf("%d messages were held ahead of a slow caller", i)
	}
}

func testNoTopicIDs(t *testing.T, r rig) {
	r.w.number(t, r.topic, 0, 100, 100)
	q := mqtest.Connect(t, kafka.ConnectWithoutIDs, config(r.k.Addr))
	reader := mqtest.Open(t, q, r.topic, "")
	at := mqtest.Expect(t, reader, 0, 100)
	r.w.remove(t, r.topic)
	r.w.create(t, r.topic)
	r.w.number(t, r.topic, 1000, 200, 100)
	gap(t, reader, 100, 99)
	gap(t, mqtest.Open(t, q, r.topic, at[50]), 50, 50)
}

// testReadAhead counts what passes the wire while nobody takes a message.
func testReadAhead(t *testing.T, r rig) {
	p := mqtest.NewProxy(t, r.k.Proxy.Listen, r.k.Proxy.Upstream)
	for _, size := range []int{8, 1000, 100_000, 700_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			topic := fmt.Sprintf("%s-%d", r.topic, size)
			r.w.create(t, topic)
			cfg := config(p.Addr)
			cfg.PrefetchBytes = 1 << 20
			backlog := 0
			for backlog < 8<<20/max(size, 100) {
				backlog = r.w.number(t, topic, backlog, max(1, 20_000/size), size)
			}
			// Two portions, of which the first may have been finished by the first message, and what connecting takes.
			bound := cfg.PrefetchBytes*3/2 + size + 32<<10
			mqtest.Channel{Queue: mqtest.Connect(t, kafka.Connect, cfg), Name: topic}.ReadAhead(t, p, backlog, bound)
		})
	}
}

func testCuts(t *testing.T, r rig) {
	p := mqtest.NewProxy(t, r.k.Proxy.Listen, r.k.Proxy.Upstream)
	cfg := config(p.Addr)
	cfg.PrefetchBytes = 256 << 10
	q, out := mqtest.ConnectLogging(t, kafka.Connect, cfg)
	mqtest.Channel{Queue: q, Name: r.topic, Append: r.w.append}.Cuts(t, 20_000, 20, p.Cut)
	if out.Lines() > 4 { // the machine may be busy for a moment
		t.Errorf("%d lines for cuts that were over at once:\n%s", out.Lines(), out)
	}
}

// testIndependent: a broker answers one request of a connection at a time, and an idle fetch takes five seconds.
func testIndependent(t *testing.T, r rig) {
	q := connect(t, r.k.Addr)
	readers := map[string]mq.Reader{}
	for i := range 8 {
		topic := fmt.Sprintf("%s-%d", r.topic, i)
		r.w.create(t, topic)
		readers[topic] = mqtest.Open(t, q, topic, "")
		mqtest.Nothing(t, readers[topic])
	}
	began := time.Now()
	for _, topic := range slices.Sorted(maps.Keys(readers)) {
		r.w.number(t, topic, 0, 1, 8)
		mqtest.Expect(t, readers[topic], 0, 1)
		if p, err := q.Last(t.Context(), topic); err != nil || offset(t, p) != 0 {
			t.Errorf("last = %q, %v", p, err)
		}
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("eight messages to eight idle readers took %v", took)
	}
}
