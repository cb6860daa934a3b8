package control_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	sourcebridge "kitestream/bridge"
	"kitestream/functions/control"
	"kitestream/functions/host"
	"kitestream/jetstream"
)

// welcomer answers as the bridge of a task that tells targets everything.
func (r *rig) welcomer(task string, answer func(sourcebridge.WelcomeRequest) host.BridgeAnswer) {
	r.t.Helper()
	nc := r.srv.Conn()
	sub, err := nc.Subscribe(host.WelcomeSubject(task), func(m *nats.Msg) {
		var req sourcebridge.WelcomeRequest
		if err := json.Unmarshal(m.Data, &req); err != nil {
			r.t.Error(err)
		}
		raw, err := json.Marshal(answer(req))
		if err != nil {
			r.t.Error(err)
		}
		_ = m.Respond(raw)
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := nc.Flush(); err != nil {
		r.t.Fatal(err)
	}
}

func another() jetstream.TargetSpec {
	return jetstream.TargetSpec{Name: "second", URI: "http://127.0.0.1:19531"}
}

func (r *rig) add(task string) (*control.TargetAnswer, error) {
	return r.client.AddTarget(r.t.Context(), control.AddTargetRequest{Name: task, Target: another()})
}

func (r *rig) takeOut(task, target string) error {
	_, err := r.client.RemoveTarget(r.t.Context(), control.RemoveTargetRequest{Name: task, Target: target})
	return err
}

func (r *rig) targets(task string) (names []string) {
	r.t.Helper()
	v, err := r.client.Get(r.t.Context(), task)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, t := range v.Targets {
		names = append(names, t.Name)
	}
	return names
}

// TestTargetJoinsAndLeaves has a target join behind what the bridge says, leave while a worker has it, and join again: it knows nothing
// of what it had before.
func TestTargetJoinsAndLeaves(t *testing.T) {
	r := newServed(t)
	ref := r.create(spec("orders"))
	behind := r.publish("orders", insert(0, "a", 1, 5, 5), insert(0, "a", 1, 5, 10))
	r.welcomer("orders", func(q sourcebridge.WelcomeRequest) host.BridgeAnswer {
		if q.Target != "second" || len(q.Prune) != 0 {
			t.Errorf("asked %+v", q)
		}
		return host.BridgeAnswer{Seq: behind}
	})
	a, err := r.add("orders")
	if err != nil || !slices.Equal(a.Task.Targets, []string{"standby", "second"}) {
		t.Fatalf("added: %+v, %v", a, err)
	}
	next := r.publish("orders", insert(0, "a", 1, 5, 15))
	id := ref.Target("second").Lane(0)
	w := r.work(id)
	if d, err := w.lane.Next(t.Context()); err != nil || d.Seq <= behind || d.Event == nil || d.Event.RowSum != 15 {
		t.Fatalf("it is given %+v, %v; it was to begin behind %d", d, err, behind)
	} else if err := w.lane.Ack(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if _, err := r.add("orders"); code(err) != control.CodeInvalid {
		t.Errorf("added again: %v", err)
	}

	left := make(chan error, 1)
	go func() { left <- r.takeOut("orders", "second") }()
	r.eventually("the record has it no more", func() bool { return slices.Equal(r.targets("orders"), []string{"standby"}) })
	if _, err := r.add("orders"); code(err) != control.CodeHeld {
		t.Errorf("added while it is being removed: %v", err)
	}
	select {
	case err := <-left:
		t.Fatalf("removed while a worker has it: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := w.lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	s, err := r.js.Stream(t.Context(), jetstream.StreamName("orders"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range s.ConsumerNames(t.Context()).Name() {
		t.Errorf("consumer %s is left", name)
	}
	if _, err := r.add("orders"); err != nil {
		t.Fatal(err)
	}
	st, err := jetstream.LaneState(t.Context(), r.js, r.buckets.Lanes, id)
	if err != nil || st.Floor != behind || st.Pending != 1 {
		t.Errorf("it joined again at %+v, %v", st, err)
	}
}

// TestWhatCantJoinOrLeave is told why, and nothing is changed.
func TestWhatCantJoinOrLeave(t *testing.T) {
	r := newServed(t)
	ref := r.create(spec("orders"))
	add := func(s jetstream.TargetSpec) error {
		_, err := r.client.AddTarget(t.Context(), control.AddTargetRequest{Name: "orders", Target: s})
		return err
	}
	for what, err := range map[string]error{
		string(control.CodeNoBridge): add(another()),
		string(control.CodeInvalid):  errors.Join(add(jetstream.TargetSpec{Name: "second"}), add(jetstream.TargetSpec{Name: "standby", URI: "h:1"}), r.takeOut("orders", "nobody")),
		string(control.CodeState):    r.takeOut("orders", "standby"),
		string(control.CodeNotFound): r.takeOut("none", "standby"),
	} {
		for _, one := range parts(err) {
			if string(code(one)) != what {
				t.Errorf("want %s: %v", what, one)
			}
		}
	}
	r.welcomer("orders", func(sourcebridge.WelcomeRequest) host.BridgeAnswer { return host.BridgeAnswer{Error: "no API"} })
	if err := add(another()); code(err) != control.CodeSource {
		t.Errorf("with a bridge that can't copy: %v", err)
	}
	r.hold(ref.Target("second").Lane(1).LeaseKey(), "sleeper")
	if err := add(another()); code(err) != control.CodeHeld {
		t.Errorf("with a worker that has not let go: %v", err)
	}
	if got := r.targets("orders"); !slices.Equal(got, []string{"standby"}) {
		t.Errorf("the targets are %v", got)
	}
}

// TestTargetReplaysWhereNothingIsCopied has a target join a task that copies nothing: it is given the stream from its beginning, as long as
// the stream holds that.
func TestTargetReplaysWhereNothingIsCopied(t *testing.T) {
	r := newServed(t)
	never := spec("orders")
	never.Snapshot = jetstream.SnapshotNever
	ref := r.create(never)
	last := r.publish("orders", insert(0, "a", 1, 5, 5), insert(1, "a", 1, 5, 5))
	if _, err := r.add("orders"); err != nil {
		t.Fatal(err)
	}
	st, err := jetstream.LaneState(t.Context(), r.js, r.buckets.Lanes, ref.Target("second").Lane(0))
	if err != nil || st.Floor != 0 || st.Pending == 0 {
		t.Errorf("it joined at %+v, %v", st, err)
	}
	if err := r.takeOut("orders", "second"); err != nil {
		t.Fatal(err)
	}
	s, err := r.js.Stream(t.Context(), jetstream.StreamName("orders"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMsg(t.Context(), 1); err != nil || last < 2 {
		t.Fatal(err)
	}
	if _, err := r.add("orders"); code(err) != control.CodeState {
		t.Errorf("without the beginning: %v", err)
	}
}

// parts are the errors of a joined one.
func parts(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}
