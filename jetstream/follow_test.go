package jetstream_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// rig is a nats-server with the buckets that Setup makes.
type rig struct {
	*jetstreamtest.Server
	t                            testing.TB
	ctx                          context.Context
	js                           natsjs.JetStream
	tasks, leases, lanes, status natsjs.KeyValue
}

func newRig(t testing.TB) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	r := &rig{Server: jetstreamtest.Run(t), t: t, ctx: ctx}
	r.js = r.JetStream()
	if err := jetstream.Setup(ctx, r.js, 1); err != nil {
		t.Fatal(err)
	}
	r.tasks, r.leases = r.bucket(r.js, jetstream.BucketTasks), r.bucket(r.js, jetstream.BucketLeases)
	r.lanes, r.status = r.bucket(r.js, jetstream.BucketLanes), r.bucket(r.js, jetstream.BucketStatus)
	return r
}

func (r *rig) bucket(js natsjs.JetStream, name string) natsjs.KeyValue {
	r.t.Helper()
	kv, err := js.KeyValue(r.ctx, name)
	if err != nil {
		r.t.Fatal(err)
	}
	return kv
}

// stream makes the task's stream.
func (r *rig) stream(task string) {
	r.t.Helper()
	_, err := r.js.CreateStream(r.ctx, natsjs.StreamConfig{
		Name: jetstream.StreamName(task), Subjects: []string{jetstream.StreamSubjects(task)},
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// until waits for a condition.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	give := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-give:
			r.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// wait lets time pass, for what has to happen by the clock.
func (r *rig) wait(d time.Duration) {
	r.t.Helper()
	select {
	case <-time.After(d):
	case <-r.ctx.Done():
		r.t.Fatal(r.ctx.Err())
	}
}

// soon runs fn in the background. When the test ends, fn's context ends and it is waited for.
func (r *rig) soon(fn func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(ctx)
	}()
	r.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// ref is the task of most tests.
func ref() jetstream.TaskRef { return jetstream.TaskRef{Name: "orders", ID: "life1"} }

// Everything that runs in the background ends when it is told to, whatever state the connection is in.
func TestNothingIsLeftRunning(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	r.publish(rows(0, 10)...)
	ls := r.openLeases(r.js)
	round := func(epoch uint64) {
		ctx, cancel := context.WithCancel(r.ctx)
		lane := r.openLane(0, epoch)
		lease := acquire(t, r.ctx, ls, "k", "a")
		stops, barriers := r.openStops(), r.barriers()
		ticks, err := ls.Watch(ctx, "lane")
		must(t, err)
		tasks := r.taskStore().Watch(ctx)
		var wg sync.WaitGroup
		wg.Go(func() { _ = lease.Run(ctx) })
		wg.Go(func() { _ = stops.Run(ctx, nil) })
		wg.Go(func() { _ = barriers.Wait(ctx, 99) })
		<-ticks
		<-tasks
		r.take(lane, 10)
		if epoch%2 == 0 {
			r.Cut()
		}
		must(t, lane.Close(r.ctx))
		must(t, lease.Release(r.ctx))
		cancel()
		wg.Wait()
		for range ticks {
		}
		for range tasks {
		}
	}
	round(1)
	before := runtime.NumGoroutine()
	for epoch := range uint64(10) {
		round(2 + epoch)
	}
	r.until("goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+2 })
}

// stalling is a bucket whose first watches never say that they have given all, as the client's do when an entry goes
// between being counted and being sent; no server can be made to do that at will.
type stalling struct {
	natsjs.KeyValue
	left atomic.Int64
}

func (s *stalling) Watch(ctx context.Context, keys string, opts ...natsjs.WatchOpt) (natsjs.KeyWatcher, error) {
	w, err := s.KeyValue.Watch(ctx, keys, opts...)
	if err != nil || s.left.Add(-1) < 0 {
		return w, err
	}
	endless := &endlessWatch{KeyWatcher: w, updates: make(chan natsjs.KeyValueEntry)}
	go func() {
		defer close(endless.updates)
		for e := range w.Updates() {
			if e != nil {
				endless.updates <- e
			}
		}
	}()
	return endless, nil
}

type endlessWatch struct {
	natsjs.KeyWatcher
	updates chan natsjs.KeyValueEntry
}

func (w *endlessWatch) Updates() <-chan natsjs.KeyValueEntry { return w.updates }

func TestAListingThatHaltsIsBegunAnew(t *testing.T) {
	t.Parallel() // takes 2 s each
	r := newRig(t)
	kv := &stalling{KeyValue: r.leases}
	ls, err := jetstream.NewLeases(r.js, kv, jetstream.LeaseConfig{TTL: time.Minute})
	must(t, err)
	acquire(t, r.ctx, ls, "lane.0", "a")
	kv.left.Store(1)
	holders, err := ls.Holders(r.ctx, "lane")
	if err != nil || holders["lane.0"] != "a" {
		t.Errorf("holders = %v, %v", holders, err)
	}
	kv.left.Store(1)
	ctx, cancel := context.WithCancel(r.ctx)
	ticks, err := ls.Watch(ctx, "lane")
	must(t, err)
	if _, open := <-ticks; !open {
		t.Error("the watch ended")
	}
	cancel()
	for range ticks {
	}
}
