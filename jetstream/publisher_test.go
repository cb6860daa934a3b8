package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

const pubTask = "orders"

// pubRig is a server with a task's stream, for tests of the publisher.
type pubRig struct {
	t   *testing.T
	ctx context.Context
	srv *jetstreamtest.Server
	js  natsjs.JetStream // the test's own, for looking
}

func newPubRig(t *testing.T, cfg jetstream.StreamConfig) *pubRig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	r := &pubRig{t: t, ctx: ctx, srv: jetstreamtest.Run(t)}
	r.js = r.srv.JetStream()
	if err := jetstream.EnsureStream(ctx, r.js, pubTask, cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

// running is an open publisher whose Run goes on in the background.
type running struct {
	*jetstream.Publisher
	cancel context.CancelFunc
	ended  chan error
}

func (r *pubRig) open(js natsjs.JetStream, change ...func(*jetstream.PublisherConfig)) *running {
	r.t.Helper()
	cfg := jetstream.PublisherConfig{Task: pubTask, Holder: "test", Epoch: 1, AckWait: 500 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	p, err := jetstream.OpenPublisher(r.ctx, js, cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.run(p)
}

func (r *pubRig) run(p *jetstream.Publisher) *running {
	ctx, cancel := context.WithCancel(r.ctx)
	u := &running{Publisher: p, cancel: cancel, ended: make(chan error, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { u.ended <- p.Run(ctx) })
	r.t.Cleanup(func() { cancel(); wg.Wait() })
	return u
}

// end waits for Run to end by itself.
func (r *pubRig) end(u *running) error {
	r.t.Helper()
	select {
	case err := <-u.ended:
		return err
	case <-r.ctx.Done():
		r.t.Fatal("Run did not end")
		return nil
	}
}

func (r *pubRig) flush(u *running) {
	r.t.Helper()
	if err := u.Flush(r.ctx); err != nil {
		r.t.Fatal(err)
	}
}

// rowEvent is the n-th event of a test, with a body of the size.
func rowEvent(n, size int) *jetstream.Event {
	return &jetstream.Event{
		ID: rowID(n), Kind: jetstream.Insert, Channel: "by-dev-rootcoord-dml_0", Lane: n % 4, Database: "default", Collection: "books",
		CollectionID: 7, PartitionID: 8, TS: uint64(1_700_000_000_000+n) << 18, Position: fmt.Sprint(n), Rows: 1, RowSum: uint64(n + 1),
		Body: make([]byte, size),
	}
}

func rowID(n int) string { return fmt.Sprintf("by-dev-rootcoord-dml_0:%d:%d:0", n, n%4) }

// publish publishes the events from…to-1.
func (r *pubRig) publish(u *running, from, to, size int) {
	r.t.Helper()
	for n := from; n < to; n++ {
		if err := u.Publish(r.ctx, rowEvent(n, size)); err != nil {
			r.t.Fatalf("publish %d: %v", n, err)
		}
	}
}

// wantExactly fails the test unless the stream holds events 0…n-1 once and in order, fences aside.
func (r *pubRig) wantExactly(n int) {
	r.t.Helper()
	r.wantIDs(n, r.ids())
}

func (r *pubRig) wantIDs(n int, got []string) {
	r.t.Helper()
	want := make([]string, n)
	for i := range want {
		want[i] = rowID(i)
	}
	if slices.Equal(got, want) {
		return
	}
	for i := range min(len(got), n) {
		if got[i] != want[i] {
			r.t.Fatalf("stream holds %d events, wanted %d; at %d it holds %s", len(got), n, i, got[i])
		}
	}
	r.t.Fatalf("stream holds %d events, wanted %d", len(got), n)
}

// ids are the stream's events, fences aside, by id.
func (r *pubRig) ids() []string {
	r.t.Helper()
	filter := []string{jetstream.ChannelSubjects(pubTask, "by-dev-rootcoord-dml_0")}
	for {
		var got []string
		err := jetstream.Scan(r.ctx, r.js, pubTask, filter, 0, func(e *jetstream.Event) error {
			got = append(got, e.ID)
			return nil
		})
		switch {
		case err == nil:
			return got
		case r.ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded): // a cluster that is electing a leader answers later
			r.t.Fatal(err)
		}
	}
}

func (r *pubRig) lastSeq() uint64 {
	r.t.Helper()
	s, err := r.js.Stream(r.ctx, jetstream.StreamName(pubTask))
	if err != nil {
		r.t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// eventually polls until cond holds.
func (r *pubRig) eventually(what string, cond func() bool) {
	r.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			r.t.Fatalf("never: %s", what)
		}
	}
}

func TestPublishInOrder(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	const n = 5000
	r.publish(u, 0, n, 100)
	r.flush(u)
	r.wantExactly(n)
	if since, why := u.Waiting(); !since.IsZero() || why != nil {
		t.Errorf("Waiting = %v, %v, want nothing", since, why)
	}
	e, err := jetstream.LastEvent(r.ctx, r.js, pubTask, jetstream.ChannelSubjects(pubTask, "by-dev-rootcoord-dml_0"))
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != rowID(n-1) || e.Seq != r.lastSeq() || e.RowSum != n {
		t.Errorf("last event is %s at %d with row sum %d", e.ID, e.Seq, e.RowSum)
	}
}

func TestMarksComeInOrderBehindTheirEvents(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	fence := r.lastSeq()
	var mu sync.Mutex
	var got []uint64
	set := func(seq uint64) {
		mu.Lock()
		defer mu.Unlock()
		if stored := r.lastSeq(); stored < seq {
			t.Errorf("mark for %d was called while the stream ended at %d", seq, stored)
		}
		got = append(got, seq)
	}
	u.Mark(set)
	for n := range 300 {
		r.publish(u, n, n+1, 10)
		if n%3 == 0 {
			u.Mark(set)
		}
	}
	r.flush(u)
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 101 || got[0] != fence || got[1] != fence+1 || got[100] != fence+298 || !slices.IsSorted(got) {
		t.Errorf("marks = %v behind fence %d", got, fence)
	}
}

func TestMarksAndFlushEndWithRun(t *testing.T) {
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream())
	r.publish(u, 0, 10, 10)
	r.flush(u)
	u.cancel()
	if err := r.end(u); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want context.Canceled", err)
	}
	u.Mark(func(uint64) { t.Error("mark called after the end of Run") })
	if err := u.Flush(r.ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush = %v, want context.Canceled", err)
	}
	if err := u.Publish(r.ctx, rowEvent(10, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish = %v, want context.Canceled", err)
	}
	r.wantExactly(10)
}

func TestPublishBlocksForRoom(t *testing.T) {
	for name, change := range map[string]func(*jetstream.PublisherConfig){
		"count": func(c *jetstream.PublisherConfig) { c.InFlight = 8 },
		"bytes": func(c *jetstream.PublisherConfig) { c.InFlightBytes = 8000 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newPubRig(t, jetstream.StreamConfig{})
			proxy := r.srv.Proxy()
			u := r.open(proxy.JetStream(), change)
			proxy.Hold()
			ctx, cancel := context.WithTimeout(r.ctx, 200*time.Millisecond)
			defer cancel()
			n := 0
			for ; n < 20; n++ {
				if err := u.Publish(ctx, rowEvent(n, 1000)); err != nil {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Fatal(err)
					}
					break
				}
			}
			if n > 8 || n < 4 {
				t.Errorf("%d events were taken without an answer", n)
			}
			proxy.Release()
			r.publish(u, n, 100, 1000)
			r.flush(u)
			r.wantExactly(100)
		})
	}
}
