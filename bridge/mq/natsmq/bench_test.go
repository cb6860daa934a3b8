package natsmq_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
	"kitestream/jetstream/jetstreamtest"
)

// BenchmarkRead reads a backlog; server and reader share the machine.
func BenchmarkRead(b *testing.B) {
	for _, size := range []int{200, 4 << 10, 64 << 10, 512 << 10, 5 << 20} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) { benchmarkRead(b, size) })
	}
}

func benchmarkRead(b *testing.B, size int) {
	s := jetstreamtest.Run(b, func(o *server.Options) { o.MaxPayload = milvusPayload })
	w := newWriter(b, s.URL())
	backlog := min(200_000, 512<<20/size)
	w.create(b, "channel")
	msgs := make([]mqtest.Message, min(backlog, 32<<20/size))
	for i := range msgs {
		msgs[i].Payload = make([]byte, size)
	}
	for n := 0; n < backlog; n += len(msgs) {
		w.append(b, "channel", msgs...)
	}
	q := connect(b, s.URL())
	var r mq.Reader
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%backlog == 0 { // from the beginning again
			r = reopen(b, q, r)
		}
		if _, err := r.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func reopen(b *testing.B, q mq.Queue, old mq.Reader) mq.Reader {
	b.Helper()
	if old != nil {
		if err := old.Close(); err != nil {
			b.Fatal(err)
		}
	}
	r, err := q.Open(b.Context(), "channel", "")
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkDelay is the time from a message's publication, acknowledged, to its arrival at an idle reader.
func BenchmarkDelay(b *testing.B) {
	s := jetstreamtest.Run(b)
	w := newWriter(b, s.URL())
	w.create(b, "channel")
	r := reopen(b, connect(b, s.URL()), nil)
	msg := mqtest.Message{Payload: make([]byte, 200)}
	var after time.Duration
	for b.Loop() {
		w.append(b, "channel", msg)
		acked := time.Now()
		if _, err := r.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
		after += time.Since(acked)
	}
	b.ReportMetric(float64(after.Microseconds())/float64(b.N), "µs/after-ack")
}
