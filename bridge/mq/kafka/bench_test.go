//go:build servers

package kafka_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

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
			w.create(b, topic)
			c := mqtest.Channel{Queue: connect(b, k.Addr), Name: topic, Append: w.append}
			backlog := c.Fill(b, benchBacklog(size), size)
			b.Run(fmt.Sprintf("%dB/%s", size, name), func(b *testing.B) { c.BenchmarkRead(b, backlog, size) })
			w.remove(b, topic)
		}
	}
}

// benchBatch is how large the client of Milvus makes its batches: librdkafka's default, or one message.
func benchBatch(size int) int32 { return int32(max(1_000_000, size+1000)) }

// benchBacklog is how many messages there are to read.
func benchBacklog(size int) int { return min(200_000, 512<<20/size) }

// BenchmarkPrefetch shows what PrefetchBytes is worth.
func BenchmarkPrefetch(b *testing.B) {
	k := startKafka(b, nil)
	for _, size := range []int{4 << 10, 512 << 10} {
		topic := fmt.Sprintf("prefetch-%d", size)
		w := newWriter(b, k.Addr, kgo.ProducerBatchMaxBytes(benchBatch(size)))
		w.create(b, topic)
		c := mqtest.Channel{Name: topic, Append: w.append}
		backlog := c.Fill(b, benchBacklog(size), size)
		for _, prefetch := range []int{1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20} {
			b.Run(fmt.Sprintf("%dB/%dMiB", size, prefetch>>20), func(b *testing.B) {
				cfg := config(k.Addr)
				cfg.PrefetchBytes = prefetch
				c.Queue = mqtest.Connect(b, kafka.Connect, cfg)
				c.BenchmarkRead(b, backlog, size)
			})
		}
	}
}

func BenchmarkDelay(b *testing.B) {
	k := startKafka(b, nil)
	w := newWriter(b, k.Addr)
	w.create(b, "delay")
	mqtest.Channel{Queue: connect(b, k.Addr), Name: "delay", Append: w.append}.BenchmarkDelay(b)
}
