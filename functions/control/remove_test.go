package control_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/functions/control"
	"kitestream/jetstream"
)

// fuse burns after so many changes: from then on nothing can be removed, as after kill -9.
type fuse struct{ left atomic.Int64 }

var errBurnt = errors.New("the fuse has burnt")

func (f *fuse) burn() error {
	if f.left.Add(-1) < 0 {
		return errBurnt
	}
	return nil
}

// fusedJS and fusedKV are what a deletion removes things with.
type fusedJS struct {
	natsjs.JetStream
	fuse *fuse
}

func (f fusedJS) DeleteStream(ctx context.Context, name string) error {
	if err := f.fuse.burn(); err != nil {
		return err
	}
	return f.JetStream.DeleteStream(ctx, name)
}

func (f fusedJS) Stream(ctx context.Context, name string) (natsjs.Stream, error) {
	if strings.HasPrefix(name, "KV_") {
		if err := f.fuse.burn(); err != nil {
			return nil, err
		}
	}
	return f.JetStream.Stream(ctx, name)
}

type fusedKV struct {
	natsjs.KeyValue
	fuse *fuse
}

func (f fusedKV) Purge(ctx context.Context, key string, opts ...natsjs.KVDeleteOpt) error {
	if err := f.fuse.burn(); err != nil {
		return err
	}
	return f.KeyValue.Purge(ctx, key, opts...)
}

// fill makes everything of a task that a deletion has to remove.
func (r *rig) fill(name string) jetstream.TaskRef {
	r.t.Helper()
	ctx := r.t.Context()
	task := r.create(spec(name))
	seq := r.publish(name, insert(0, "kites", 7, 1, 1))
	w := r.work(task.Target("standby").Lane(0))
	w.apply(1)
	_ = w.lane.Close(ctx)
	if err := w.lease.Release(ctx); err != nil {
		r.t.Fatal(err)
	}
	r.stop(task, "standby", jetstream.Stop{Database: "default", Collection: "kites", CollectionID: 7, Reason: "x", Lanes: map[int]uint64{0: seq}})
	r.laneStatus(task.Target("standby").Lane(0), jetstream.LaneStatusRecord{State: "running"})
	if err := jetstream.PutBridgeStatus(ctx, r.buckets.Status, task, jetstream.BridgeStatus{Worker: "b", At: time.Now()}); err != nil {
		r.t.Fatal(err)
	}
	for _, key := range []string{"ledger." + name, "resumes." + name} {
		if _, err := r.buckets.Ledger.Put(ctx, key, []byte("x")); err != nil {
			r.t.Fatal(err)
		}
	}
	return task
}

// traces are what is left of a task anywhere.
func (r *rig) traces(name string) []string {
	r.t.Helper()
	ctx := r.t.Context()
	var left []string
	if _, err := r.js.Stream(ctx, jetstream.StreamName(name)); err == nil {
		left = append(left, "stream")
	}
	for _, kv := range []natsjs.KeyValue{r.buckets.Tasks, r.buckets.Lanes, r.buckets.Status, r.buckets.Ledger, r.buckets.Leases} {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // a key removed just now may have the client wait for ever
		keys, err := kv.Keys(ctx)
		halted := ctx.Err() != nil
		cancel()
		if halted {
			left = append(left, kv.Bucket()+" can't be listed")
			continue
		}
		if err != nil && !errors.Is(err, natsjs.ErrNoKeysFound) {
			r.t.Fatal(err)
		}
		for _, k := range keys {
			for _, tok := range strings.Split(k, ".") {
				if tok == name {
					left = append(left, kv.Bucket()+" "+k)
				}
			}
		}
	}
	return left
}

func TestDeleteRemovesEverythingOfItsTaskAlone(t *testing.T) {
	r := newServed(t)
	r.fill("orders")
	r.fill("orders2")
	before := len(r.traces("orders2"))
	if n := len(r.traces("orders")); n < 7 {
		t.Fatalf("the task has left only %v", r.traces("orders"))
	}
	if _, err := r.client.Delete(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if left := r.traces("orders"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if n := len(r.traces("orders2")); n != before {
		t.Errorf("of the other task %v is left", r.traces("orders2"))
	}
}

// A deletion that ends at any step is carried on by the next control process.
func TestDeleteGoesOnAfterACrash(t *testing.T) {
	const steps = 6
	for at := range steps {
		t.Run(fmt.Sprint("step_", at), func(t *testing.T) {
			r := newRig(t)
			stop := r.serve(r.config())
			task := r.fill("orders")
			stop()

			f := &fuse{}
			f.left.Store(int64(at))
			cfg := r.config()
			cfg.JS = fusedJS{cfg.JS, f}
			buckets := *r.buckets
			buckets.Ledger, buckets.Tasks = fusedKV{buckets.Ledger, f}, fusedKV{buckets.Tasks, f}
			cfg.Buckets, cfg.Tasks = &buckets, jetstream.NewTasks(cfg.JS, buckets.Tasks, slog.New(slog.DiscardHandler))
			stop = r.serve(cfg)
			if _, err := r.client.Delete(t.Context(), "orders"); code(err) != control.CodeInternal {
				t.Errorf("delete with a fuse of %d: %v", at, err)
			}
			if v, err := r.client.List(t.Context()); err != nil || len(v.Tasks) != 1 || v.Tasks[0].State != control.Deleting {
				t.Errorf("tasks after the crash: %+v, %v", v, err)
			}
			if _, err := r.client.Create(t.Context(), spec("orders")); code(err) != control.CodeExists {
				t.Errorf("create while the old one is being deleted: %v", err)
			}
			stop()

			cfg = r.config()
			cfg.Holder = "control-2"
			r.serve(cfg)
			r.eventually("the task is gone", func() bool { return len(r.traces("orders")) == 0 })
			again := r.create(spec("orders"))
			if again.ID == task.ID {
				t.Error("the new task has the old one's id")
			}
		})
	}
}

func TestDeleteWaitsUntilTheTaskIsLetGo(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	b := r.bridge(task, replicating(0), nil)
	w := r.work(task.Target("standby").Lane(1))
	ended := make(chan error, 1)
	go func() { ended <- second(r.client.Delete(t.Context(), "orders")) }()
	r.eventually("the task is marked", func() bool { return r.view("orders").State == control.Deleting })
	if err := w.lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Fatalf("delete returned while the bridge held the task: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if len(r.traces("orders")) < 2 {
		t.Error("something was removed while the bridge held the task")
	}
	b.die()
	if err := b.lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("delete: %v", err)
	}
}

func TestDeleteOfATaskThatNobodyLetsGo(t *testing.T) {
	t.Parallel() // takes 12 s
	r := newServed(t)
	task := r.create(spec("orders"))
	r.hold(jetstream.BridgeLease(task.Name), "stubborn")
	_, err := r.client.Delete(t.Context(), "orders")
	var e *control.Error
	if !errors.As(err, &e) || e.Code != control.CodeHeld || !strings.Contains(e.Message, "stubborn") {
		t.Errorf("delete: %v", err)
	}
}

// Two deletions of one task at once, from two control processes, end well both.
func TestDeletesAtOnce(t *testing.T) {
	r := newServed(t)
	cfg := r.config()
	cfg.Holder = "control-2"
	r.serve(cfg)
	for range 5 {
		r.fill("orders")
		ended := make(chan error, 4)
		for range cap(ended) {
			client := control.NewClient(r.srv.Conn())
			go func() { ended <- second(client.Delete(t.Context(), "orders")) }()
		}
		for range cap(ended) {
			if err := <-ended; err != nil && code(err) != control.CodeNotFound {
				t.Errorf("delete: %v", err)
			}
		}
		if left := r.traces("orders"); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
	}
}
