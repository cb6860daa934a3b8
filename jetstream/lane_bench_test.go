package jetstream_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"kitestream/jetstream"
)

// BenchmarkLaneDrain is how fast a backlog of small events drains, over all lanes: a batch at a time, each acked.
func BenchmarkLaneDrain(b *testing.B) {
	for _, lanes := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprint(lanes, " lanes"), func(b *testing.B) { benchmarkDrain(b, lanes) })
	}
}

func benchmarkDrain(b *testing.B, lanes int) {
	r := newRig(b)
	r.stream(ref().Name)
	const n = 128_000
	for range 128 {
		var events []*jetstream.Event
		for i := range 1000 {
			events = append(events, event(jetstream.Insert, i%lanes))
		}
		r.publish(events...)
	}
	want := make([]int, lanes)
	for i := range 1000 {
		want[i%lanes] += 128
	}
	epoch := uint64(0)
	for b.Loop() {
		epoch++
		var wg sync.WaitGroup
		for lane := range lanes {
			cfg := jetstream.LaneConfig{ID: ref().Target(fmt.Sprint("t", epoch)).Lane(lane), Epoch: epoch}
			wg.Go(func() { r.drain(cfg, want[lane]) })
		}
		wg.Wait()
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func (r *rig) drain(cfg jetstream.LaneConfig, n int) {
	l, err := jetstream.OpenLane(r.ctx, r.js, r.lanes, cfg)
	if err != nil {
		r.t.Error(err)
		return
	}
	for n > 0 && err == nil {
		var d jetstream.Delivery
		if d, err = l.Next(r.ctx); err != nil {
			break
		}
		n--
		for range 999 {
			more, ok := l.TryNext()
			if !ok {
				break
			}
			d = more
			n--
		}
		err = l.Ack(r.ctx, d.Seq)
	}
	if err := errors.Join(err, l.Close(r.ctx)); err != nil {
		r.t.Error(err)
	}
}
