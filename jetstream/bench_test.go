package jetstream_test

import (
	"context"
	"fmt"
	"testing"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// BenchmarkPublisher publishes to a stream on disk, the server in the same process: both share the machine.
func BenchmarkPublisher(b *testing.B) {
	for _, size := range []int{100, 4 << 10, 64 << 10, 900 << 10} {
		b.Run(fmt.Sprintf("%d_bytes", size), func(b *testing.B) { benchPublisher(b, size) })
	}
}

func benchPublisher(b *testing.B, size int) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	srv := jetstreamtest.Run(b)
	js := srv.JetStream()
	if err := jetstream.EnsureStream(ctx, js, pubTask, jetstream.StreamConfig{}); err != nil {
		b.Fatal(err)
	}
	p, err := jetstream.OpenPublisher(ctx, js, jetstream.PublisherConfig{Task: pubTask, Holder: "bench", Epoch: 1})
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := p.Publish(ctx, rowEvent(n, size)); err != nil {
			b.Fatal(err)
		}
		n++
	}
	if err := p.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	cancel()
	<-ended
}
