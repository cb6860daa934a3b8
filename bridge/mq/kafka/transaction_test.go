//go:build servers

package kafka_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/mqtest"
)

// transactor writes in transactions, which Milvus does not.
type transactor struct{ cl *kgo.Client }

func newTransactor(t *testing.T, r rig) *transactor {
	t.Helper()
	cl, err := kgo.NewClient(append(r.w.opts, kgo.TransactionalID(r.topic))...)
	mqtest.Must(t, err)
	t.Cleanup(cl.Close)
	return &transactor{cl}
}

// write writes n numbered messages, each in a batch of its own, and commits or breaks off.
func (x *transactor) write(t *testing.T, topic string, from, n int, how kgo.TransactionEndTry) {
	t.Helper()
	mqtest.Must(t, x.cl.BeginTransaction())
	for i := range n {
		mqtest.Must(t, x.cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: mqtest.Payload(from+i, 100)}).FirstErr())
	}
	mqtest.Must(t, x.cl.EndTransaction(t.Context(), how))
}

// testTransactions: the marks that end transactions take up offsets, and what was broken off must not be seen.
func testTransactions(t *testing.T, r rig) {
	x := newTransactor(t, r)
	n := r.w.number(t, r.topic, 0, 3, 100) // offsets 0-2
	for range 3 {
		x.write(t, r.topic, n, 2, kgo.TryCommit)     // 3 4, mark 5
		x.write(t, r.topic, 1000, 4, kgo.TryAbort)   // 6-9, mark 10
		x.write(t, r.topic, n+2, 1, kgo.TryCommit)   // 11, mark 12
		n = r.w.number(t, r.topic, n+3, 2, 100)      // 13 14
		x.write(t, r.topic, 1000, 1, kgo.TryAbort)   // 15, mark 16
		x.write(t, r.topic, 1000, 300, kgo.TryAbort) // more than one fetch, below
	}
	q := connect(t, r.k.Addr)
	at := mqtest.Expect(t, mqtest.Open(t, q, r.topic, ""), 0, n)
	for i, p := range at {
		mqtest.Expect(t, mqtest.Open(t, q, r.topic, p), i, n)
	}
	// Offsets at which there is a mark or what was broken off: the next message comes.
	for from, want := range map[mq.Position]int{"5": 5, "6": 5, "10": 5, "12": 6, "15": 8, "16": 8} {
		mqtest.Expect(t, mqtest.Open(t, q, r.topic, from), want, n)
	}
	// And the reader that waits behind marks goes on.
	reader := mqtest.Open(t, q, r.topic, at[n-1])
	mqtest.Expect(t, reader, n-1, n)
	mqtest.Nothing(t, reader)
	x.write(t, r.topic, n, 2, kgo.TryCommit)
	mqtest.Expect(t, reader, n, n+2)

	cfg := config(r.k.Addr)
	cfg.PrefetchBytes = 4 << 10
	mqtest.Expect(t, mqtest.Open(t, mqtest.Connect(t, kafka.Connect, cfg), r.topic, ""), 0, n+2)
}

// testLastIsNoMark walks back over what is no message.
func testLastIsNoMark(t *testing.T, r rig) {
	q := connect(t, r.k.Addr)
	x := newTransactor(t, r)
	x.write(t, r.topic, 1000, 3, kgo.TryAbort)
	if p, err := q.Last(t.Context(), r.topic); p != "" || err != nil {
		t.Errorf("last of a topic without messages = %q, %v", p, err)
	}
	x.write(t, r.topic, 0, 2, kgo.TryCommit)                        // offsets 4, 5
	mqtest.Eventually(t, "the commit is carried out", func() bool { // the broker only promises to
		p, err := q.Last(t.Context(), r.topic)
		return err == nil && p != ""
	})
	for range 3 {
		if p, err := q.Last(t.Context(), r.topic); err != nil || offset(t, p) != 5 {
			t.Errorf("last = %q, %v; want 5", p, err)
		}
		x.write(t, r.topic, 1000, 50, kgo.TryAbort)
	}
	last, err := q.Last(t.Context(), r.topic)
	mqtest.Must(t, err)
	mqtest.Expect(t, mqtest.Open(t, q, r.topic, last), 1, 2)
}

// testCompaction: Milvus's topics can't be compacted, as its messages have no key, but a hole is no gap by itself.
func testCompaction(t *testing.T, r rig) {
	topic := r.topic + "-compacted"
	r.w.createWith(t, topic, map[string]string{
		"cleanup.policy": "compact", "segment.bytes": "2000", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "1",
	})
	defer r.w.remove(t, topic)
	write := func(i int, key string) {
		rec := &kgo.Record{Topic: topic, Key: []byte(key), Value: mqtest.Payload(i, 100)}
		mqtest.Must(t, r.w.producer(t, topic).ProduceSync(t.Context(), rec).FirstErr())
	}
	q := connect(t, r.k.Addr)
	early := mqtest.Open(t, q, topic, "")
	write(0, "first")
	at := mqtest.Expect(t, early, 0, 1)
	write(1, "often")
	gone := mqtest.Expect(t, early, 1, 2)[0]
	for i := 2; i < 100; i++ {
		write(i, "often")
	}
	write(100, "last")
	reader := mq.Reader(nil)
	mqtest.Eventually(t, "the log is compacted", func() bool {
		<-time.After(200 * time.Millisecond)
		reader = mqtest.Open(t, q, topic, at[0])
		mqtest.Expect(t, reader, 0, 1)
		return mqtest.Number(mqtest.Next(t, reader)) > 50
	})
	for mqtest.Number(mqtest.Next(t, reader)) != 100 {
		continue
	}
	if n := mqtest.Number(mqtest.Next(t, mqtest.Open(t, q, topic, "1"))); n < 50 {
		t.Errorf("from an offset without a message: message %d", n)
	}
	// A message that is known to have been there is a gap even so.
	if _, g := mqtest.UntilGap(t, mqtest.Open(t, q, topic, gone), 1); g.Wanted != gone {
		t.Errorf("gap: %v", g)
	}
}
