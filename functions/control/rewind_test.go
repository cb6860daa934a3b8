package control_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/functions/control"
	"kitestream/jetstream"
)

// applied is a task of two lanes whose target has all six events, at sequences 2 to 7 by turns, and whom nobody holds.
func (r *rig) applied(name string) jetstream.TargetID {
	r.t.Helper()
	task := r.create(spec(name))
	var events []*jetstream.Event
	for i := range 6 {
		events = append(events, insert(i%2, "kites", 7, 1, uint64(i/2+1)))
	}
	if last := r.publish(name, events...); last != 7 {
		r.t.Fatalf("the last event is %d", last)
	}
	id := task.Target("standby")
	for lane := range 2 {
		w := r.work(id.Lane(lane))
		w.apply(3)
		_ = w.lane.Close(r.t.Context())
		if err := w.lease.Release(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
	return id
}

func (r *rig) rewind(name, to string) (*control.RewindAnswer, error) {
	return r.client.Rewind(r.t.Context(), control.RewindRequest{Name: name, Target: "standby", To: to})
}

// floors are how far the lanes are.
func (r *rig) floors(id jetstream.TargetID) (floors [2]uint64) {
	r.t.Helper()
	for lane := range floors {
		st, err := jetstream.LaneState(r.t.Context(), r.js, r.buckets.Lanes, id.Lane(lane))
		if err != nil {
			r.t.Fatal(err)
		}
		floors[lane] = st.Floor
	}
	return floors
}

func TestRewindPutsLanesBack(t *testing.T) {
	r := newServed(t)
	id := r.applied("orders")
	r.applied("others")
	before := time.Now()
	r.bridge(id.Task, replicating(0), nil)
	a, err := r.rewind("orders", "4")
	if err != nil || a.Seq != 4 || a.Target != "standby" || a.Task.Name != "orders" || a.Reached != 7 || a.Published.IsZero() || a.Published.After(before) {
		t.Fatalf("rewind: %+v, %v", a, err)
	}
	if got := r.floors(id); got != [2]uint64{3, 3} {
		t.Errorf("floors after the rewind: %v", got)
	}
	v := r.view("orders").Targets[0]
	if v.Rewound == nil || v.Rewound.Seq != 4 || v.Lanes[0].Pending != 2 || v.Lanes[1].Pending != 2 {
		t.Errorf("the target is shown as %+v", v)
	}
	w := r.wait("orders", 20*time.Second)
	w.stillWaits(t, "the target has been rewound")
	for lane := range 2 {
		l := r.work(id.Lane(lane))
		d, err := l.lane.Next(t.Context())
		if err != nil || d.Seq != uint64(4+lane) {
			t.Fatalf("lane %d is given %d, %v", lane, d.Seq, err)
		}
		if err := l.lane.Ack(t.Context(), d.Seq); err != nil {
			t.Fatal(err)
		}
		l.apply(1)
	}
	if err := <-w.ended; err != nil {
		t.Errorf("wait: %v", err)
	}
	if n := r.consumers("orders"); n != 2 {
		t.Errorf("there are %d consumers", n)
	}
	if got := r.floors(jetstream.TaskRef{Name: "others", ID: r.view("others").ID}.Target("standby")); got != [2]uint64{6, 7} {
		t.Errorf("floors of the other task: %v", got)
	}
}

func (r *rig) consumers(task string) (n int) {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), jetstream.StreamName(task))
	if err != nil {
		r.t.Fatal(err)
	}
	for range s.ConsumerNames(r.t.Context()).Name() {
		n++
	}
	return n
}

// What is refused says what is kept, and changes nothing.
func TestRewindsThatAreRefused(t *testing.T) {
	r := newServed(t)
	id := r.applied("orders")
	s, err := r.js.Stream(t.Context(), jetstream.StreamName("orders"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), natsjs.WithPurgeSequence(3)); err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	before := r.floors(id)
	for to, want := range map[string]string{
		"2":  "older than what is kept: the stream holds sequence 3 (published 2",
		"1h": "older than what is kept: the stream holds sequence 3",
		"8":  "target standby has not come to: it has applied everything up to 7",
		m.Time.Add(time.Second).Format(time.RFC3339Nano): "nothing was published since",
		"0": "is no place", "-2h": "is no place", "": "is no place", "now": "is no place",
	} {
		if _, err := r.rewind("orders", to); code(err) != control.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if got := r.floors(id); got != before {
		t.Errorf("floors: %v, before %v", got, before)
	}
	a, err := r.rewind("orders", m.Time.Format(time.RFC3339Nano))
	if err != nil || a.Seq > 7 || a.Seq < 3 {
		t.Errorf("to the time of the last event: %+v, %v", a, err)
	}
}

// A drop that a worker was carrying out when it died may have been carried out or not: until another has ended it, there is no
// going back.
func TestRewindWaitsForABarrier(t *testing.T) {
	r := newServed(t)
	id := r.applied("orders")
	drop := &jetstream.Event{ID: "drop", Kind: jetstream.DropCollection, Channel: "ch0", Lane: jetstream.AllLanes, Database: "default", Collection: "kites", CollectionID: 7, TS: 1}
	seq := r.publish("orders", drop)
	b := jetstream.NewBarriers(r.js, r.buckets.Lanes, id)
	for lane := range 2 {
		if _, err := b.Arrive(t.Context(), seq, lane, 2); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	client := control.NewClient(r.srv.Conn())
	go func() {
		ended <- second(client.Rewind(t.Context(), control.RewindRequest{Name: "orders", Target: "standby", To: "4"}))
	}()
	select {
	case err := <-ended:
		t.Fatalf("rewind returned while a drop was being carried out: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := b.Done(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := r.floors(id); got != [2]uint64{3, 3} {
		t.Errorf("floors: %v", got)
	}
}

// fusedWrites is a bucket in which after so many changes nothing can be changed, as after kill -9.
type fusedWrites struct {
	natsjs.KeyValue
	fuse *fuse
}

func (f fusedWrites) Create(ctx context.Context, key string, value []byte, opts ...natsjs.KVCreateOpt) (uint64, error) {
	if err := f.fuse.burn(); err != nil {
		return 0, err
	}
	return f.KeyValue.Create(ctx, key, value, opts...)
}

func (f fusedWrites) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := f.fuse.burn(); err != nil {
		return 0, err
	}
	return f.KeyValue.Update(ctx, key, value, revision)
}

func (f fusedWrites) Purge(ctx context.Context, key string, opts ...natsjs.KVDeleteOpt) error {
	if err := f.fuse.burn(); err != nil {
		return err
	}
	return f.KeyValue.Purge(ctx, key, opts...)
}

// A rewind that ends at any step has changed nothing, or is carried on by the next control process.
func TestRewindGoesOnAfterACrash(t *testing.T) {
	const steps = 7 // mark, barriers, unmet setting, stop, two lanes, mark
	for at := range steps {
		t.Run(fmt.Sprint("step_", at), func(t *testing.T) {
			r := newRig(t)
			stop := r.serve(r.config())
			id := r.applied("orders")
			r.stop(id.Task, "standby", jetstream.Stop{Database: "default", Collection: "kites", CollectionID: 7, Reason: "x", Lanes: map[int]uint64{0: 6, 1: 7}})
			unmets, err := jetstream.OpenUnmets(t.Context(), r.js, r.buckets.Lanes, id)
			if err != nil {
				t.Fatal(err)
			}
			e := &jetstream.Event{ID: "load", Kind: jetstream.LoadCollection, Database: "default", Collection: "kites", CollectionID: 7, Seq: 6}
			if err := unmets.Refused(t.Context(), e, "KS-P-NOINDEX", "x"); err != nil {
				t.Fatal(err)
			}
			stop()

			f := &fuse{}
			f.left.Store(int64(at))
			cfg := r.config()
			buckets := *r.buckets
			buckets.Lanes, buckets.Tasks = fusedWrites{buckets.Lanes, f}, fusedWrites{buckets.Tasks, f}
			cfg.Buckets, cfg.Tasks = &buckets, jetstream.NewTasks(cfg.JS, buckets.Tasks, slog.New(slog.DiscardHandler))
			stop = r.serve(cfg)
			if _, err := r.rewind("orders", "4"); code(err) != control.CodeInternal {
				t.Errorf("rewind with a fuse of %d: %v", at, err)
			}
			stop()

			cfg = r.config()
			cfg.Holder = "control-2"
			r.serve(cfg)
			if at == 0 { // it was not marked
				if got := r.floors(id); got != [2]uint64{6, 7} {
					t.Errorf("floors: %v", got)
				}
				return
			}
			r.eventually("the target is back", func() bool {
				now, err := cfg.Tasks.Get(t.Context(), "orders")
				return err == nil && !now.Rewinds["standby"].Pending
			})
			stops, err := jetstream.OpenStops(t.Context(), r.js, r.buckets.Lanes, id)
			if err != nil {
				t.Fatal(err)
			}
			if unmets, err = jetstream.OpenUnmets(t.Context(), r.js, r.buckets.Lanes, id); err != nil {
				t.Fatal(err)
			}
			if got := r.floors(id); got != [2]uint64{3, 3} || len(stops.List()) > 0 || len(unmets.List()) > 0 {
				t.Errorf("floors %v, stops %+v, unmet %+v", got, stops.List(), unmets.List())
			}
		})
	}
}
