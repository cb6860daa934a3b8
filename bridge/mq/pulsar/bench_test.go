//go:build servers

package pulsar_test

import (
	"fmt"
	"testing"
	"time"

	client "github.com/apache/pulsar-client-go/pulsar"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
)

// BenchmarkRead reads a backlog of messages that stand alone or in batches; broker and reader share the machine.
func BenchmarkRead(b *testing.B) {
	w := newWriter(b, start(b, nil))
	url := w.url
	for _, size := range []int{200, 4 << 10, 64 << 10, 512 << 10, 5<<20 - 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) { benchmarkRead(b, w, url, size) })
	}
}

func benchmarkRead(b *testing.B, w *writer, url string, size int) {
	backlog := min(100_000, 256<<20/size)
	channel := fmt.Sprintf("bench-%d", size)
	w.create(b, channel)
	defer w.remove(b, channel)
	msgs := make([]mqtest.Message, min(backlog, 32<<20/size))
	for i := range msgs {
		msgs[i].Payload = make([]byte, size)
	}
	for n := 0; n < backlog; n += len(msgs) {
		w.append(b, channel, msgs...)
	}
	q := connect(b, url)
	var r mq.Reader
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%backlog == 0 { // from the beginning again
			r = reopen(b, q, channel, r)
		}
		if _, err := r.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func reopen(b *testing.B, q mq.Queue, channel string, old mq.Reader) mq.Reader {
	b.Helper()
	if old != nil {
		must(b, old.Close())
	}
	r, err := q.Open(b.Context(), channel, "")
	must(b, err)
	return r
}

// BenchmarkClient is what the client library does by itself, with a queue as large as the reader's.
func BenchmarkClient(b *testing.B) {
	w := newWriter(b, start(b, nil))
	w.create(b, "bench")
	msgs := make([]mqtest.Message, 100_000)
	for i := range msgs {
		msgs[i].Payload = make([]byte, 200)
	}
	w.append(b, "bench", msgs...)
	var r client.Reader
	b.ResetTimer()
	for i := range b.N {
		if i%len(msgs) == 0 {
			if r != nil {
				r.Close()
			}
			var err error
			r, err = w.client.CreateReader(client.ReaderOptions{
				Topic: "persistent://public/default/bench", StartMessageID: client.EarliestMessageID(), ReceiverQueueSize: 2048,
			})
			must(b, err)
		}
		_, err := r.Next(b.Context())
		must(b, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkDelay is the time from a message's acknowledgement to its writer until an idle reader's caller has it.
func BenchmarkDelay(b *testing.B) {
	w := newWriter(b, start(b, nil))
	w.create(b, "bench")
	r := reopen(b, connect(b, w.url), "bench", nil)
	msg := mqtest.Message{Payload: make([]byte, 200)}
	var after time.Duration
	for b.Loop() {
		w.append(b, "bench", msg)
		acked := time.Now()
		if _, err := r.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
		after += time.Since(acked)
	}
	b.ReportMetric(float64(after.Microseconds())/float64(b.N), "µs/after-ack")
}
