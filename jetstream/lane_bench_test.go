package jetstream_test

import (
	"fmt"
	"testing"

	"kitestream/jetstream"
)

// BenchmarkLaneDrain is how fast a backlog of small events drains: a batch at a time, each acked.
func BenchmarkLaneDrain(b *testing.B) {
	r := newRig(b)
	r.stream(ref().Name)
	const n = 100_000
	for range n / 1000 {
		r.publish(rows(0, 1000)...)
	}
	epoch := uint64(0)
	for b.Loop() {
		epoch++
		cfg := jetstream.LaneConfig{ID: ref().Target(fmt.Sprint("t", epoch)).Lane(0), Epoch: epoch}
		l := r.openLaneOn(r.js, cfg)
		batches := 0
		for got := 0; got < n; batches++ {
			d, err := l.Next(r.ctx)
			if err != nil {
				b.Fatal(err)
			}
			got++
			for range 999 {
				more, ok := l.TryNext()
				if !ok {
					break
				}
				d = more
				got++
			}
			r.ack(l, d.Seq)
		}
		if err := l.Close(r.ctx); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(n)/float64(batches), "events/batch")
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
