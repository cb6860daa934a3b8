package control_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kitestream/functions/control"
	"kitestream/functions/host"
	"kitestream/jetstream"
)

// standby is a task with one target, whose bridge and worker are there, that has applied everything and was found equal.
type standby struct {
	*rig
	ref    jetstream.TaskRef
	bridge *bridge
	lanes  []*worker
	synced func(n int) host.BridgeAnswer // answers the n-th Sync, from 1; nil: all is on the stream
}

func newStandby(t *testing.T) *standby {
	t.Helper()
	r := newServed(t)
	s := &standby{rig: r, ref: r.create(spec("orders"))}
	n := 0
	s.bridge = r.bridge(s.ref, jetstream.BridgeStatus{WatermarkTS: tso(0), Collections: []jetstream.CollectionStatus{{ID: 1, Database: "default", Collection: "a"}}},
		func(host.SyncRequest) host.BridgeAnswer {
			if n++; s.synced == nil {
				return host.BridgeAnswer{}
			}
			return s.synced(n)
		})
	r.publish("orders", insert(0, "a", 1, 5, 5), insert(1, "a", 1, 7, 7))
	for lane := range 2 {
		s.lanes = append(s.lanes, r.work(s.ref.Target("standby").Lane(lane)))
		s.lanes[lane].apply(1)
	}
	s.verdict("equal")
	return s
}

func (s *standby) verdict(v string) {
	s.t.Helper()
	err := jetstream.PutVerdict(s.t.Context(), s.buckets.Status, s.ref.Target("standby"), jetstream.Verdict{At: time.Now().UTC(), Verdict: v, Why: "a row", Worker: "w"})
	if err != nil {
		s.t.Fatal(err)
	}
}

// lettingGo has the workers let go of their lanes when the task is paused, as workers do.
func (s *standby) lettingGo() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s.t.Context().Err() == nil && s.state() != control.Paused {
			time.Sleep(20 * time.Millisecond)
		}
		for _, w := range s.lanes {
			_ = w.lease.Release(s.t.Context())
		}
	}()
	s.t.Cleanup(func() { <-done })
}

func (s *standby) state() control.State {
	list, err := s.client.List(s.t.Context())
	if err != nil || len(list.Tasks) == 0 {
		return ""
	}
	i := slices.IndexFunc(list.Tasks, func(t control.Summary) bool { return t.Name == "orders" })
	return list.Tasks[i].State
}

func (s *standby) promote(change func(*control.PromoteRequest)) (*control.PromoteAnswer, error) {
	r := control.PromoteRequest{Name: "orders", Target: "standby", TimeoutMS: 20_000}
	if change != nil {
		change(&r)
	}
	return s.client.Promote(s.t.Context(), r, func(string) {})
}

// goesOn wants the task to be as it was before.
func (s *standby) goesOn() {
	s.t.Helper()
	task, err := jetstream.NewTasks(s.js, s.buckets.Tasks, nil).Get(s.t.Context(), "orders")
	if err != nil || task.State != jetstream.TaskRunning || task.Promoted != nil {
		s.t.Errorf("the task is %+v, %v", task, err)
	}
}

// TestPromotion: the task ends for good, says so, and goes on when that is taken back.
func TestPromotion(t *testing.T) {
	s := newStandby(t)
	s.lettingGo()
	a, err := s.promote(nil)
	if err != nil || !a.Done || a.Loss != nil || len(a.InWay) != 0 || a.URI != "http://127.0.0.1:19530" {
		t.Fatalf("promote = %+v, %v", a, err)
	}
	if a.Task.State != control.Paused || !strings.Contains(a.Task.Why, "standby was promoted") || !strings.Contains(strings.Join(a.Left, "\n"), "point clients to http://127.0.0.1:19530") {
		t.Errorf("promote = %+v", a)
	}
	if again, err := s.promote(nil); err != nil || !again.Done {
		t.Errorf("promoted again = %+v, %v", again, err)
	}
	v, err := s.client.Get(t.Context(), "orders")
	if err != nil || v.Promoted == nil || !v.Promoted.Done || v.Promoted.Target != "standby" || !strings.Contains(v.Targets[0].Why, "was promoted") {
		t.Errorf("get = %+v, %v", v, err)
	}
	for what, err := range map[string]error{
		"resume":  second(s.client.Resume(t.Context(), "orders")),
		"add":     second(s.add("orders")),
		"rewind":  second(s.client.Rewind(t.Context(), control.RewindRequest{Name: "orders", Target: "standby", To: "1"})),
		"another": second(s.promote(func(r *control.PromoteRequest) { r.Target = "x" })),
	} {
		if c := code(err); c != control.CodeState && c != control.CodeInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	undone, err := s.client.Promote(t.Context(), control.PromoteRequest{Name: "orders", Undo: true}, func(string) {})
	if err != nil || undone.Target != "standby" || undone.Done {
		t.Errorf("undo = %+v, %v", undone, err)
	}
	s.goesOn()
	if _, err := s.client.Promote(t.Context(), control.PromoteRequest{Name: "orders", Undo: true}, func(string) {}); code(err) != control.CodeState {
		t.Errorf("undone again: %v", err)
	}
}

// TestPromotionIsRefused for everything that is in the way at once, and nothing is changed; a dry run says the same, and what would be lost.
func TestPromotionIsRefused(t *testing.T) {
	s := newStandby(t)
	s.verdict("different")
	s.publish("orders", insert(0, "a", 1, 4, 9))
	s.bridge.change(func(st *jetstream.BridgeStatus) {
		st.Collections[0].Snapshot = &jetstream.SnapshotStatus{Number: 1, Rows: 5, Total: 10}
	})
	_, err := s.promote(func(r *control.PromoteRequest) { r.MaxLagMS = 1000 })
	var e *control.Error
	if !errors.As(err, &e) || e.Code != control.CodeNotReady {
		t.Fatalf("promote = %v", err)
	}
	for _, want := range []string{"lag: it is 10", "1s is allowed", `verified: the last comparison with its source ended with "different": a row`,
		"snapshot: default.a: existing rows are being copied: 5 of about 10", "what would be lost now: 4 rows that are not applied, of the last 10"} {
		if !strings.Contains(e.Message, want) {
			t.Errorf("%q is not in %q", want, e.Message)
		}
	}
	a, err := s.promote(func(r *control.PromoteRequest) { r.MaxLagMS, r.DryRun = 1000, true })
	if err != nil || a.Done || len(a.InWay) != 3 || a.Loss == nil || a.Loss.Rows != 4 || a.Loss.Unread {
		t.Errorf("dry run = %+v, %v", a, err)
	}
	s.goesOn()
	for _, r := range []control.PromoteRequest{
		{Name: "orders", Target: "x"}, {Name: "orders"}, {Name: "orders", Target: "standby", MaxLagMS: -1}, {Name: "orders", Target: "standby", TimeoutMS: 1 << 40},
		{Name: "orders", Target: "standby", Undo: true}, {Name: "orders", Target: "standby", Reverse: &jetstream.TaskSpec{Name: "orders"}},
		{Name: "orders", Target: "standby", Reverse: &jetstream.TaskSpec{Name: "back", Snapshot: "auto"}},
	} {
		if _, err := s.client.Promote(t.Context(), r, func(string) {}); code(err) != control.CodeInvalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, err := s.client.Pause(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.promote(func(r *control.PromoteRequest) { r.Force = true }); code(err) != control.CodeState {
		t.Errorf("promote of a paused task: %v", err)
	}
}

// TestForcedPromotion has nobody read the source and nobody apply: it says what is lost.
func TestForcedPromotion(t *testing.T) {
	s := newStandby(t)
	s.lettingGo()
	s.publish("orders", insert(0, "a", 1, 4, 9), insert(1, "a", 1, 2, 9))
	s.bridge.die()
	if err := s.bridge.lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.promote(nil); code(err) != control.CodeNotReady || !strings.Contains(err.Error(), "no bridge could read") {
		t.Errorf("not forced: %v", err)
	}
	a, err := s.promote(func(r *control.PromoteRequest) { r.Force, r.TimeoutMS = true, 4000 })
	if err != nil || !a.Done || len(a.InWay) == 0 || a.Loss == nil || a.Loss.Rows != 6 || !a.Loss.Unread || a.Loss.Seconds < 9 || a.Loss.Seconds > 60 {
		t.Errorf("forced: %+v, loss %v, %v", a, a.Loss, err)
	}
}

// TestPromotionRollsBack when the source is still written to, and when a worker does not let go.
func TestPromotionRollsBack(t *testing.T) {
	s := newStandby(t)
	s.synced = func(n int) host.BridgeAnswer {
		if n == 2 {
			s.publish("orders", insert(0, "a", 1, 1, 6))
		}
		return host.BridgeAnswer{}
	}
	if _, err := s.promote(func(r *control.PromoteRequest) { r.TimeoutMS = 2000 }); code(err) != control.CodeTimeout || !strings.Contains(err.Error(), "the task goes on") {
		t.Errorf("workers do not let go: %v", err)
	}
	s.goesOn()
	s.synced = func(n int) host.BridgeAnswer {
		if n == 3 { // the second of this try
			s.publish("orders", insert(0, "a", 1, 1, 6))
		}
		return host.BridgeAnswer{}
	}
	s.lettingGo()
	if _, err := s.promote(nil); code(err) != control.CodeNotReady || !strings.Contains(err.Error(), "still written to") {
		t.Errorf("still written to: %v", err)
	}
	s.goesOn()
}

func back() *jetstream.TaskSpec {
	s := spec("back", "primary")
	s.Source = "standby"
	return &s
}

// TestReverse: the task in the other direction has begun when the promotion is done; one that can't begin has nothing changed, nor is
// there one afterwards.
func TestReverse(t *testing.T) {
	s := newStandby(t)
	_, err := s.promote(func(r *control.PromoteRequest) { r.Reverse = back() })
	if code(err) != control.CodeNotReady || !strings.Contains(err.Error(), "no bridge of source standby is running") {
		t.Errorf("no bridge for the way back: %v", err)
	}
	respond(s.rig, host.ResolveSubject("standby"), func(jetstream.TaskSpec) host.ResolveAnswer {
		return host.ResolveAnswer{Matched: []jetstream.QualifiedName{{Database: "default", Collection: "a"}}}
	})
	respond(s.rig, host.DescribeSubject("standby"), func(host.DescribeRequest) host.DescribeAnswer { return host.DescribeAnswer{} })
	s.lettingGo()
	_, err = s.promote(func(r *control.PromoteRequest) { r.Reverse, r.TimeoutMS = back(), 3000 })
	if code(err) != control.CodeTimeout || !strings.Contains(err.Error(), "has not begun in time") {
		t.Errorf("nobody holds the way back: %v", err)
	}
	s.goesOn()
	if _, err := s.client.Get(t.Context(), "back"); code(err) != control.CodeNotFound {
		t.Errorf("the way back is still there: %v", err)
	}
	held := make(chan jetstream.TaskRef, 1)
	go func() { // the bridge of the way back comes when that is there
		for t.Context().Err() == nil {
			if v, err := s.client.Get(t.Context(), "back"); err == nil {
				held <- jetstream.TaskRef{Name: "back", ID: v.ID}
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	ended := make(chan error, 1)
	var a *control.PromoteAnswer
	go func() {
		var err error
		a, err = s.promote(func(r *control.PromoteRequest) { r.Reverse, r.Force = back(), true }) // its workers have gone by now
		ended <- err
	}()
	var way jetstream.TaskRef
	select {
	case way = <-held:
	case err := <-ended:
		t.Fatalf("promote = %+v, %v", a, err)
	}
	b := s.rig.bridge(way, jetstream.BridgeStatus{}, nil)
	time.Sleep(300 * time.Millisecond)
	select {
	case err := <-ended:
		t.Fatalf("promoted before the way back follows anything: %v", err)
	default:
	}
	b.change(func(st *jetstream.BridgeStatus) {
		st.Collections = []jetstream.CollectionStatus{{ID: 1, Database: "default", Collection: "a"}}
	})
	if err := <-ended; err != nil || !a.Done || a.Reverse == nil || a.Reverse.Name != "back" {
		t.Fatalf("promote = %+v, %v", a, err)
	}
	if _, err := s.client.Promote(t.Context(), control.PromoteRequest{Name: "orders", Undo: true}, func(string) {}); code(err) != control.CodeState {
		t.Errorf("undone while the way back is there: %v", err)
	}
}

// TestAbandonedPromotion: a control process that was killed leaves one behind, and another rolls it back, the way back first.
func TestAbandonedPromotion(t *testing.T) {
	r := newRig(t)
	tasks := jetstream.NewTasks(r.js, r.buckets.Tasks, nil)
	if _, err := tasks.Create(t.Context(), spec("orders")); err != nil {
		t.Fatal(err)
	}
	way, err := tasks.CreateAs(t.Context(), *back(), "of-the-promotion")
	if err != nil {
		t.Fatal(err)
	}
	ref := way.Ref()
	_, err = tasks.Update(t.Context(), "orders", func(t *jetstream.Task) error {
		t.State, t.Promoted = jetstream.TaskPaused, &jetstream.Promotion{ID: "1", Target: "standby", At: time.Now(), Reverse: &ref}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	lease := r.hold(jetstream.BridgeLease("back"), "bridge-1")
	r.serve(r.config())
	time.Sleep(500 * time.Millisecond)
	if task, err := tasks.Get(t.Context(), "orders"); err != nil || task.State != jetstream.TaskPaused {
		t.Errorf("goes on while the way back is held: %+v, %v", task, err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.eventually("the task goes on", func() bool {
		task, err := tasks.Get(t.Context(), "orders")
		return err == nil && task.State == jetstream.TaskRunning && task.Promoted == nil
	})
	if _, err := tasks.Get(t.Context(), "back"); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("the way back: %v", err)
	}
}
