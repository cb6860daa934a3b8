package natsmq_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

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
	c := idle(b, s)
	c.BenchmarkRead(b, c.Fill(b, min(200_000, 512<<20/size), size), size)
}

// idle is an empty channel.
func idle(b *testing.B, s *jetstreamtest.Server) mqtest.Channel {
	b.Helper()
	w := newWriter(b, s.URL())
	w.create(b, "channel")
	return mqtest.Channel{Queue: connect(b, s.URL()), Name: "channel", Append: w.append}
}

func BenchmarkDelay(b *testing.B) { idle(b, jetstreamtest.Run(b)).BenchmarkDelay(b) }
