//go:build servers

package pulsar_test

import (
	"fmt"
	"testing"

	client "github.com/apache/pulsar-client-go/pulsar"

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
	c := mqtest.Channel{Queue: connect(b, url), Name: channel, Append: w.append}
	c.BenchmarkRead(b, c.Fill(b, backlog, size), size)
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
			mqtest.Must(b, err)
		}
		_, err := r.Next(b.Context())
		mqtest.Must(b, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func BenchmarkDelay(b *testing.B) {
	w := newWriter(b, start(b, nil))
	w.create(b, "bench")
	mqtest.Channel{Queue: connect(b, w.url), Name: "bench", Append: w.append}.BenchmarkDelay(b)
}
