package jetstream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// TestReplicatedStream publishes to a stream of three replicas while the servers that lead it go and come, and has it
// taken over in between.
func TestReplicatedStream(t *testing.T) {
	const n = 4000
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := jetstreamtest.RunCluster(t, 3)
	r := &pubRig{t: t, ctx: ctx, js: c.JetStream()}
	cfg := jetstream.StreamConfig{Replicas: 3, Duplicates: 100 * time.Millisecond}
	if err := jetstream.EnsureStream(ctx, r.js, pubTask, cfg); err != nil {
		t.Fatal(err)
	}
	first := r.open(c.JetStream(), epoch(1))
	l := r.load(first, n, 200)
	for _, at := range []int64{1, 1000, 2500} {
		r.eventually("progress", func() bool { return l.progress.Load() >= at })
		s := c.Leader(jetstream.StreamName(pubTask))
		s.Stop()
		was := l.progress.Load()
		r.eventually("going on without the leader", func() bool { return l.progress.Load() > was+256 || l.progress.Load() == n })
		s.Start()
		c.WaitReady()
	}
	l.wg.Wait()
	r.flush(first)
	r.wantExactly(n)

	second := r.open(c.JetStream(), epoch(2))
	_ = first.Publish(ctx, rowEvent(n, 10)) // taken, but never stored
	if err := r.end(first); !errors.Is(err, jetstream.ErrFenced) {
		t.Errorf("Run of the first = %v, want ErrFenced", err)
	}
	r.publish(second, n, n+500, 10)
	r.flush(second)
	r.wantExactly(n + 500)
}
