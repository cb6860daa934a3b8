//go:build servers

package kafka_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/mqtest"
)

// BenchmarkRead reads a backlog; broker and reader share the machine. Half of each message can be compressed away.
func BenchmarkRead(b *testing.B) {
	k := startKafka(b, nil)
	for _, size := range []int{200, 4 << 10, 64 << 10, 512 << 10, 5 << 20} {
		for name, codec := range map[string]kgo.CompressionCodec{"plain": kgo.NoCompression(), "zstd": kgo.ZstdCompression()} {
			topic := fmt.Sprintf("read-%d-%s", size, name)
			w := newWriter(b, k.Addr, kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(benchBatch(size)))
			backlog := fill(b, w, topic, size)
			b.Run(fmt.Sprintf("%dB/%s", size, name), func(b *testing.B) {
				benchmarkRead(b, connect(b, k.Addr), topic, backlog, size)
			})
			w.remove(b, topic)
		}
	}
}

// benchBatch is how large the client of Milvus makes its batches: librdkafka's default, or one message.
func benchBatch(size int) int32 { return int32(max(1_000_000, size+1000)) }

// BenchmarkPrefetch shows what PrefetchBytes is worth.
func BenchmarkPrefetch(b *testing.B) {
	k := startKafka(b, nil)
	for _, size := range []int{4 << 10, 512 << 10} {
		topic := fmt.Sprintf("prefetch-%d", size)
		w := newWriter(b, k.Addr, kgo.ProducerBatchMaxBytes(benchBatch(size)))
		backlog := fill(b, w, topic, size)
		for _, prefetch := range []int{1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20} {
			b.Run(fmt.Sprintf("%dB/%dMiB", size, prefetch>>20), func(b *testing.B) {
				cfg := config(k.Addr)
				cfg.PrefetchBytes = prefetch
				benchmarkRead(b, connectWith(b, kafka.Connect, cfg), topic, backlog, size)
			})
		}
	}
}

func fill(b *testing.B, w *writer, topic string, size int) int {
	b.Helper()
	backlog := min(200_000, 512<<20/size)
	w.create(b, topic)
	msgs := make([]mqtest.Message, min(backlog, 32<<20/size))
	random := rand.NewChaCha8([32]byte{})
	for i := range msgs {
		msgs[i].Payload = make([]byte, size)
		_, _ = random.Read(msgs[i].Payload[:size/2]) // never an error
	}
	n := 0
	for ; n < backlog; n += len(msgs) {
		w.append(b, topic, msgs...)
	}
	return n
}

func benchmarkRead(b *testing.B, q mq.Queue, topic string, backlog, size int) {
	var r mq.Reader
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%backlog == 0 { // from the beginning again
			r = reopen(b, q, topic, r)
		}
		if _, err := r.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	must(b, r.Close())
}

func reopen(b *testing.B, q mq.Queue, topic string, old mq.Reader) mq.Reader {
	b.Helper()
	if old != nil {
		must(b, old.Close())
	}
	r, err := q.Open(b.Context(), topic, "")
	must(b, err)
	return r
}

// BenchmarkDelay is the time from a message's publication, acknowledged, to its arrival at an idle reader.
func BenchmarkDelay(b *testing.B) {
	k := startKafka(b, nil)
	w := newWriter(b, k.Addr)
	w.create(b, "delay")
	r := reopen(b, connect(b, k.Addr), "delay", nil)
	msg := mqtest.Message{Payload: make([]byte, 200)}
	var after time.Duration
	for b.Loop() {
		w.append(b, "delay", msg)
		acked := time.Now()
		if _, err := r.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
		after += time.Since(acked)
	}
	b.ReportMetric(float64(after.Microseconds())/float64(b.N), "µs/after-ack")
}
