package control_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"kitestream/functions/control"
	"kitestream/functions/host"
	"kitestream/jetstream"
)

// waiter runs a Wait and notes what it is told.
type waiter struct {
	ended chan error
	mu    sync.Mutex
	notes []string
}

func (r *rig) wait(name string, timeout time.Duration, targets ...string) *waiter {
	w := &waiter{ended: make(chan error, 1)}
	ctx, cancel := context.WithTimeout(r.t.Context(), timeout)
	client := control.NewClient(r.srv.Conn())
	go func() {
		defer cancel()
		_, err := client.Wait(ctx, name, control.WaitOptions{Targets: targets, Notice: func(m string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.notes = append(w.notes, m)
		}})
		w.ended <- err
	}()
	return w
}

func (w *waiter) told(what string) func() bool {
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return strings.Contains(strings.Join(w.notes, "\n"), what)
	}
}

func (w *waiter) stillWaits(t *testing.T, why string) {
	t.Helper()
	select {
	case err := <-w.ended:
		t.Fatalf("wait ended although %s: %v", why, err)
	case <-time.After(2*150*time.Millisecond + 50*time.Millisecond):
	}
}

func TestWaitIsOverWhenEveryTargetHasAll(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders", "near", "far"))
	r.bridge(task, replicating(0), nil)
	r.publish("orders", insert(0, "kites", 7, 1, 1), insert(1, "kites", 7, 1, 1), insert(0, "kites", 7, 1, 2))
	ddl := insert(jetstream.AllLanes, "kites", 7, 0, 0)
	ddl.Kind, ddl.ID = jetstream.CreatePartition, "create_partition:1"
	r.publish("orders", ddl)
	near0, near1 := r.work(task.Target("near").Lane(0)), r.work(task.Target("near").Lane(1))
	far0, far1 := r.work(task.Target("far").Lane(0)), r.work(task.Target("far").Lane(1))

	all, near := r.wait("orders", time.Minute), r.wait("orders", time.Minute, "near")
	r.eventually("the goal is known", all.told("target near has 5 events to apply on 2 lanes; target far has 5 events to apply on 2 lanes"))
	near0.apply(3)
	near1.apply(1)
	near.stillWaits(t, "lane 1 has a change of schema to apply")
	r.publish("orders", insert(1, "kites", 7, 1, 2)) // came later: not waited for
	near1.apply(1)
	if err := <-near.ended; err != nil {
		t.Errorf("wait for one target: %v", err)
	}
	far0.apply(3)
	all.stillWaits(t, "the other target has a lane to apply")
	far1.apply(2)
	if err := <-all.ended; err != nil {
		t.Errorf("wait for all targets: %v", err)
	}
}

// The goal is set when the bridge has read what the source holds, not before.
func TestWaitWaitsForTheBridge(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	w := r.wait("orders", time.Minute)
	r.eventually("no bridge is told", w.told("no bridge of source default holds task orders"))
	release := make(chan struct{})
	r.bridge(task, replicating(0), func(host.SyncRequest) host.BridgeAnswer {
		<-release
		return host.BridgeAnswer{}
	})
	lane0 := r.work(task.Target("standby").Lane(0))
	r.work(task.Target("standby").Lane(1))
	w.stillWaits(t, "the bridge has not read all")
	r.publish("orders", insert(0, "kites", 7, 1, 1))
	close(release)
	r.eventually("the event is waited for", w.told("has 1 events to apply on 1 lanes"))
	lane0.apply(1)
	if err := <-w.ended; err != nil {
		t.Errorf("wait: %v", err)
	}
}

func TestWaitEndsEarly(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(r *rig, task jetstream.TaskRef, b *bridge)
		code control.Code
		says string
	}{
		"paused": {func(r *rig, _ jetstream.TaskRef, _ *bridge) {
			if _, err := r.client.Pause(r.t.Context(), "orders"); err != nil {
				r.t.Error(err)
			}
		}, control.CodeState, "is paused"},
		"deleted": {func(r *rig, _ jetstream.TaskRef, b *bridge) {
			b.die()
			_ = b.lease.Release(r.t.Context())
			if _, err := r.client.Delete(r.t.Context(), "orders"); err != nil {
				r.t.Error(err)
			}
		}, "", ""}, // KS-C-STATE or KS-C-NOTFOUND
		"stopped_on_the_target": {func(r *rig, task jetstream.TaskRef, _ *bridge) {
			r.stop(task, "standby", jetstream.Stop{Database: "default", Collection: "kites", CollectionID: 7, Reason: "another schema"})
		}, control.CodeStopped, "default.kites is stopped: another schema"},
		"stopped_on_the_source": {func(_ *rig, _ jetstream.TaskRef, b *bridge) {
			b.change(func(st *jetstream.BridgeStatus) { st.Collections[0].Error = "a gap" })
		}, control.CodeStopped, "on the source: a gap"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newServed(t)
			task := r.create(spec("orders"))
			b := r.bridge(task, replicating(0), nil)
			r.publish("orders", insert(0, "kites", 7, 1, 1))
			w := r.wait("orders", time.Minute)
			r.eventually("it waits", w.told("has 1 events to apply"))
			tc.do(r, task, b)
			err := <-w.ended
			var e *control.Error
			if !errors.As(err, &e) || tc.code != "" && e.Code != tc.code || !strings.Contains(e.Message, tc.says) {
				t.Errorf("wait ended with %v", err)
			}
		})
	}
}

// What was passed over is below the floor: until it has been replayed the target does not have it.
func TestWaitForAReplay(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	r.bridge(task, replicating(0), nil)
	r.publish("orders", insert(0, "kites", 7, 1, 1))
	stops := r.stop(task, "standby", jetstream.Stop{Database: "default", Collection: "kites", CollectionID: 7, Reason: "x", Lanes: map[int]uint64{0: 1}, Retry: true})
	r.work(task.Target("standby").Lane(0)).apply(1)
	w := r.wait("orders", time.Minute)
	r.eventually("the replay is told", w.told("replays collections"))
	w.stillWaits(t, "the replay goes on")
	if err := stops.LaneDone(t.Context(), 7, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-w.ended; err != nil {
		t.Errorf("wait: %v", err)
	}
}

func TestWaitTimesOut(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	if err := <-r.wait("orders", 700*time.Millisecond).ended; code(err) != control.CodeTimeout || !strings.Contains(err.Error(), "no bridge") {
		t.Errorf("wait without a bridge: %v", err)
	}
	hang := make(chan struct{})
	defer close(hang)
	b := r.bridge(task, replicating(0), func(host.SyncRequest) host.BridgeAnswer { <-hang; return host.BridgeAnswer{} })
	if err := <-r.wait("orders", time.Second).ended; code(err) != control.CodeTimeout {
		t.Errorf("wait for a bridge that hangs: %v", err)
	}
	b.die()
	_ = b.lease.Release(t.Context())
	r.bridge(task, replicating(0), func(q host.SyncRequest) host.BridgeAnswer {
		time.Sleep(time.Duration(q.TimeoutMS) * time.Millisecond)
		return host.BridgeAnswer{Error: "channel ch0 is read up to 4/4/1 of 5"}
	})
	if err := <-r.wait("orders", 2*time.Second).ended; code(err) != control.CodeTimeout || !strings.Contains(err.Error(), "channel ch0 is read up to 4/4/1 of 5") {
		t.Errorf("wait for a bridge that can't read on: %v", err)
	}
	if err := <-r.wait("orders", time.Second, "standbye").ended; code(err) != control.CodeInvalid {
		t.Errorf("wait for a target that is not there: %v", err)
	}
	if err := <-r.wait("nothing", time.Second).ended; code(err) != control.CodeNotFound {
		t.Errorf("wait for a task that is not there: %v", err)
	}
}

// A control process that dies during a Wait is noticed, and another one asked.
func TestWaitOutlivesItsControl(t *testing.T) {
	t.Parallel() // takes 6 s
	r := newRig(t)
	cfg := r.config()
	r.serve(cfg)
	task := r.create(spec("orders"))
	var asked sync.WaitGroup
	asked.Add(1)
	first := true
	hang := make(chan struct{})
	defer close(hang)
	b := r.bridge(task, replicating(0), func(host.SyncRequest) host.BridgeAnswer {
		if first {
			first = false
			asked.Done()
			return host.BridgeAnswer{Error: "this answer is lost"}
		}
		return host.BridgeAnswer{}
	})
	_ = b
	w := r.wait("orders", time.Minute)
	asked.Wait()
	cfg.NC.Close() // as by kill -9: nothing is answered any more
	second := r.config()
	second.Holder = "control-2"
	r.serve(second)
	if err := <-w.ended; err != nil {
		t.Errorf("wait: %v", err)
	}
}

func TestWaitNoticesATaskMadeAnew(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	b := r.bridge(task, replicating(0), nil)
	r.publish("orders", insert(0, "kites", 7, 1, 1))
	w := r.wait("orders", time.Minute)
	r.eventually("it waits", w.told("has 1 events to apply"))
	b.die()
	_ = b.lease.Release(t.Context())
	if _, err := r.client.Delete(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	_, _ = r.client.Create(t.Context(), spec("orders"))
	if err := <-w.ended; code(err) != control.CodeState && code(err) != control.CodeNotFound {
		t.Errorf("wait: %v", err)
	}
}

func TestPosition(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	st := replicating(0)
	st.Channels = map[string]jetstream.ChannelStatus{"ch1": {Resume: "5/5/1", TS: tso(time.Second)}, "ch0": {Resume: "4//0", Error: "a gap"}}
	var q host.SyncRequest
	r.bridge(task, st, func(r host.SyncRequest) host.BridgeAnswer { q = r; return host.BridgeAnswer{} })
	last := r.publish("orders", insert(0, "kites", 7, 1, 1), insert(1, "kites", 7, 1, 1), insert(0, "kites", 7, 1, 2))
	r.work(task.Target("standby").Lane(0)).apply(1)
	a, err := r.client.Position(t.Context(), control.PositionRequest{Name: "orders", Sync: true, TimeoutMS: 4000})
	if err != nil {
		t.Fatal(err)
	}
	if q.TimeoutMS < 3000 || q.TimeoutMS > 4000 {
		t.Errorf("the bridge was given %d ms", q.TimeoutMS)
	}
	if len(a.Channels) != 2 || a.Channels[0].Channel != "ch0" || a.Channels[0].Error != "a gap" || a.Channels[1].Watermark.IsZero() {
		t.Errorf("channels = %+v", a.Channels)
	}
	lanes := a.Targets[0].Lanes
	if a.ID != task.ID || lanes[0].Wanted != last || lanes[0].Floor != last-2 || lanes[0].Pending != 1 || lanes[1].Wanted != last-1 || lanes[1].Pending != 1 {
		t.Errorf("position = %+v", a)
	}
	for _, ms := range []int64{-1, 3600001} {
		if _, err := r.client.Position(t.Context(), control.PositionRequest{Name: "orders", TimeoutMS: ms}); code(err) != control.CodeInvalid {
			t.Errorf("timeout_ms %d: %v", ms, err)
		}
	}
}

// Any NATS client may ask: without progress the first message is the answer.
func TestPositionForPlainClients(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	r.bridge(task, replicating(0), func(host.SyncRequest) host.BridgeAnswer {
		time.Sleep(1500 * time.Millisecond)
		return host.BridgeAnswer{Error: "no etcd"}
	})
	m, err := r.srv.Conn().Request("kitestream.task.position", []byte(`{"name":"orders","sync":true}`), 10*time.Second)
	if err != nil || m.Header.Get(control.HeaderProgress) != "" || !strings.Contains(string(m.Data), "KS-C-SOURCE") {
		t.Errorf("answer %+v, %v", m, err)
	}
}

func TestBridgeThatGoesWhileItIsAsked(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	hang := make(chan struct{})
	defer close(hang)
	asked := make(chan struct{}, 10)
	b := r.bridge(task, replicating(0), func(host.SyncRequest) host.BridgeAnswer { asked <- struct{}{}; <-hang; return host.BridgeAnswer{} })
	ended := make(chan error, 1)
	go func() {
		_, err := r.client.Position(t.Context(), control.PositionRequest{Name: "orders", Sync: true})
		ended <- err
	}()
	<-asked
	if err := b.lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if code(err) != control.CodeNoBridge {
			t.Errorf("position: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the answer of a bridge that is gone is still waited for")
	}
}
