package control_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"kitestream/functions/control"
	"kitestream/jetstream"
)

// replicating is a bridge's status with one collection and so many rows published on each lane.
func replicating(watermark time.Duration, rows ...uint64) jetstream.BridgeStatus {
	c := jetstream.CollectionStatus{ID: 7, Database: "default", Collection: "kites", Rows: map[int]uint64{}}
	for lane, n := range rows {
		c.Rows[lane] = n
	}
	return jetstream.BridgeStatus{WatermarkTS: tso(watermark), Seq: 1, Collections: []jetstream.CollectionStatus{c}}
}

func (r *rig) view(name string) *control.View {
	r.t.Helper()
	v, err := r.client.Get(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// lag is a collection's lag as text: seconds to the second, and rows.
func lag(l control.Lag) string {
	s, n := "-", "-"
	if l.Seconds != nil {
		s = fmt.Sprint(math.Floor(*l.Seconds))
	}
	if l.Rows != nil {
		n = fmt.Sprint(*l.Rows)
	}
	return s + "s " + n + " rows"
}

func TestLag(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	b := r.bridge(task, replicating(300*time.Millisecond, 30, 5), nil)
	first, second := r.work(task.Target("standby").Lane(0)), r.work(task.Target("standby").Lane(1))
	want := func(when, wantLag string) {
		t.Helper()
		b.change(func(st *jetstream.BridgeStatus) { st.WatermarkTS = tso(300 * time.Millisecond) })
		v := r.view("orders")
		target := v.Targets[0]
		if v.State != control.Running || target.State != control.Running || v.Why != "" {
			t.Errorf("%s: task is %s (%s), target %s (%s)", when, v.State, v.Why, target.State, target.Why)
		}
		if got := lag(target.Collections[0].Lag); got != wantLag {
			t.Errorf("%s: lag of the collection is %s, want %s", when, got, wantLag)
		}
		if got := lag(target.Lag); got != wantLag {
			t.Errorf("%s: lag of the target is %s, want %s", when, got, wantLag)
		}
	}

	want("nothing is there", "0s 0 rows")
	r.publish("orders", insert(0, "kites", 7, 10, 10), insert(1, "kites", 7, 5, 5), insert(0, "kites", 7, 20, 30))
	want("nothing is applied", "10s 35 rows")
	first.apply(1)
	want("lane 0 has one event", "10s 25 rows")
	second.apply(1)
	want("lane 1 has all", "10s 20 rows")
	first.apply(1)
	want("all is applied", "0s 0 rows")

	// An hour of silence, and then one row: the lag is the row's age, not the hour.
	e := insert(0, "kites", 7, 1, 31)
	e.TS = tso(1100 * time.Millisecond)
	r.publish("orders", e)
	want("one fresh row", "1s 1 rows")
	first.apply(1)
	want("and that is applied", "0s 0 rows")
}

// After a restart nobody has said anything yet: the stream tells it all.
func TestLagNeedsNoStatus(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	r.publish("orders", insert(0, "kites", 7, 10, 10), insert(0, "kites", 7, 20, 30), insert(0, "other", 8, 4, 4), insert(1, "kites", 7, 5, 5))
	r.work(task.Target("standby").Lane(0)).apply(1)
	r.work(task.Target("standby").Lane(1)).apply(1)
	st := replicating(100 * time.Millisecond)
	st.Collections[0].Rows = nil // as of a bridge that has published nothing since it started
	st.Collections = append(st.Collections, jetstream.CollectionStatus{ID: 8, Database: "default", Collection: "other", Rows: map[int]uint64{0: 0}})
	r.bridge(task, st, nil)
	// The worker was killed before it could say that it had applied the first event.
	r.laneStatus(task.Target("standby").Lane(0), jetstream.LaneStatusRecord{State: "running", Rows: map[int64]uint64{7: 3}})
	got := r.view("orders").Targets[0].Collections
	if lag(got[0].Lag) != "10s 20 rows" || lag(got[1].Lag) != "10s 4 rows" {
		t.Errorf("lags are %s and %s", lag(got[0].Lag), lag(got[1].Lag))
	}
}

// A name that was dropped and made again: its old rows are not the new one's lag.
func TestLagOfARecreatedCollection(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	r.publish("orders", insert(0, "kites", 6, 100, 100), insert(0, "kites", 7, 2, 2), insert(0, "kites", 7, 3, 5))
	r.work(task.Target("standby").Lane(0))
	r.work(task.Target("standby").Lane(1))
	r.bridge(task, replicating(0, 5, 0), nil)
	if got := r.view("orders").Targets[0].Collections[0]; lag(got.Lag) != "10s 5 rows" {
		t.Errorf("lag is %s", lag(got.Lag))
	}
}

func TestBridgeBehindItsSource(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	b := r.bridge(task, replicating(time.Minute), nil)
	r.work(task.Target("standby").Lane(0))
	r.work(task.Target("standby").Lane(1))
	if got := r.view("orders"); lag(got.Targets[0].Lag) != "60s 0 rows" || got.Bridge.Watermark.IsZero() {
		t.Errorf("lag %s with watermark %v", lag(got.Targets[0].Lag), got.Bridge.Watermark)
	}
	b.change(func(st *jetstream.BridgeStatus) { st.WatermarkTS = 0 })
	if got := r.view("orders"); got.Targets[0].Text != "unknown" {
		t.Errorf("lag without a watermark is %+v", got.Targets[0].Lag)
	}
	b.change(func(st *jetstream.BridgeStatus) { st.Collections = nil })
	if got := r.view("orders"); lag(got.Targets[0].Lag) != "0s 0 rows" {
		t.Errorf("lag without a collection is %s", lag(got.Targets[0].Lag))
	}
}

// Guarantee 5: whatever keeps a task from going on is told, with since when and what to do.
func TestNoSilence(t *testing.T) {
	since := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	for name, tc := range map[string]struct {
		set   func(r *rig, task jetstream.TaskRef, b *bridge)
		state control.State
		why   string
	}{
		"all_is_well": {func(*rig, jetstream.TaskRef, *bridge) {}, control.Running, ""},
		"bridge_waits": {func(_ *rig, _ jetstream.TaskRef, b *bridge) {
			b.change(func(st *jetstream.BridgeStatus) { st.State, st.Error, st.Since = "waiting", "etcd is gone", since })
		}, control.Waiting, "etcd is gone"},
		"bridge_died": {func(r *rig, _ jetstream.TaskRef, b *bridge) {
			b.die()
			_ = b.lease.Release(r.t.Context())
		}, control.Waiting, "no bridge holds the task"},
		"target_down": {func(r *rig, task jetstream.TaskRef, _ *bridge) {
			r.laneStatus(task.Target("standby").Lane(1), jetstream.LaneStatusRecord{State: "waiting", Error: "connection refused", Code: "KS-H-DOWN", Since: since})
		}, control.Waiting, "target standby: connection refused"},
		"collection_stopped": {func(r *rig, task jetstream.TaskRef, _ *bridge) {
			r.stop(task, "standby", jetstream.Stop{Database: "default", Collection: "kites", CollectionID: 7, Reason: "another schema", Code: "KS-H-SCHEMA", Since: since})
		}, control.Stopped, "another schema"},
		"one_of_two_stopped": {func(r *rig, task jetstream.TaskRef, b *bridge) {
			b.change(func(st *jetstream.BridgeStatus) {
				st.Collections = append(st.Collections, jetstream.CollectionStatus{ID: 8, Database: "default", Collection: "other"})
			})
			r.stop(task, "standby", jetstream.Stop{Database: "default", Collection: "kites", CollectionID: 7, Reason: "another schema", Code: "KS-H-SCHEMA", Since: since})
		}, control.Running, "1 of 2 collections"},
		"stopped_on_the_source": {func(_ *rig, _ jetstream.TaskRef, b *bridge) {
			b.change(func(st *jetstream.BridgeStatus) { st.Collections[0].Error = "messages 5 to 9 are gone" })
		}, control.Stopped, "messages 5 to 9 are gone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newServed(t)
			task := r.create(spec("orders"))
			b := r.bridge(task, replicating(0), nil)
			r.work(task.Target("standby").Lane(0))
			r.work(task.Target("standby").Lane(1))
			tc.set(r, task, b)
			v := r.view("orders")
			if v.State != tc.state || !strings.Contains(v.Why, tc.why) || tc.why == "" && v.Why != "" {
				t.Errorf("task is %s: %q, want %s: %q", v.State, v.Why, tc.state, tc.why)
			}
			if v.State == control.Stopped && v.Do == "" || v.State == control.Waiting && v.Since.IsZero() {
				t.Errorf("task is %s: do %q since %v", v.State, v.Do, v.Since)
			}
		})
	}
}

func (r *rig) stop(task jetstream.TaskRef, target string, stop jetstream.Stop) *jetstream.Stops {
	r.t.Helper()
	stops, err := jetstream.OpenStops(r.t.Context(), r.js, r.buckets.Lanes, task.Target(target))
	if err != nil {
		r.t.Fatal(err)
	}
	if err := stops.Put(r.t.Context(), stop); err != nil {
		r.t.Fatal(err)
	}
	return stops
}

func TestNoWorkerAndDeadBridge(t *testing.T) {
	t.Parallel() // takes 5 s
	r := newServed(t)
	task := r.create(spec("orders"))
	b := r.bridge(task, replicating(0), nil)
	r.work(task.Target("standby").Lane(1))
	v := r.view("orders")
	if v.State != control.Waiting || !strings.Contains(v.Why, "no worker holds lane 0") || v.Do == "" {
		t.Errorf("task is %s: %q", v.State, v.Why)
	}
	b.die() // its lease is renewed on: a process that hangs
	r.eventually("a bridge that gives no sign is noticed", func() bool {
		v := r.view("orders")
		return v.State == control.Waiting && strings.Contains(v.Why, "held by bridge-1, gives no sign") && !v.Since.IsZero()
	})
}

func TestResumeTriesStoppedCollectionsAgain(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders", "near", "far"))
	stopped := jetstream.Stop{Database: "default", Collection: "kites", CollectionID: 7, Reason: "x", Since: time.Now(), Lanes: map[int]uint64{0: 3}}
	r.stop(task, "near", stopped)
	r.stop(task, "far", stopped)
	got, err := r.client.Resume(t.Context(), "orders") // it is running
	if err != nil || got.Retried != 2 {
		t.Errorf("resume = %+v, %v", got, err)
	}
	for _, target := range []string{"near", "far"} {
		s, err := jetstream.OpenStops(t.Context(), r.js, r.buckets.Lanes, task.Target(target))
		if err != nil || len(s.List()) != 1 || !s.List()[0].Retry {
			t.Errorf("stops of %s are %+v, %v", target, s.List(), err)
		}
	}
	if _, err := r.client.Resume(t.Context(), "orders"); code(err) != control.CodeState {
		t.Errorf("second resume: %v", err)
	}
}

func TestLagMetrics(t *testing.T) {
	r := newServed(t)
	task := r.create(spec("orders"))
	b := r.bridge(task, replicating(0, 10), nil)
	w := r.work(task.Target("standby").Lane(0))
	r.work(task.Target("standby").Lane(1))
	r.publish("orders", insert(0, "kites", 7, 10, 10))
	has := func(line string) func() bool {
		return func() bool {
			families, err := r.metrics.Gather()
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, f := range families {
				b.WriteString(f.String())
				b.WriteByte('\n')
			}
			return strings.Contains(strings.Join(strings.Fields(b.String()), ""), line)
		}
	}
	rows := func(n int) string {
		return fmt.Sprintf(`label:{name:"collection"value:"default.kites"}label:{name:"target"value:"standby"}label:{name:"task"value:"orders"}gauge:{value:%d}`, n)
	}
	r.eventually("10 rows of lag are exported", has(rows(10)))
	w.apply(1)
	r.eventually("no lag is exported", has(rows(0)))
	if n, err := testutil.GatherAndCount(r.metrics, "kitestream_lag_seconds", "kitestream_lag_rows", "kitestream_lane_pending_events"); err != nil || n != 4 {
		t.Errorf("%d series of lag, %v", n, err)
	}
	b.change(func(st *jetstream.BridgeStatus) {
		st.Collections[0].Snapshot = &jetstream.SnapshotStatus{Number: 1, Rows: 40, Total: 100, Rate: 5, Seconds: 12}
	})
	r.eventually("how far the copy is is exported", has(rows(40)))
	want := map[string]float64{"kitestream_snapshot_rows": 40, "kitestream_snapshot_rows_expected": 100, "kitestream_snapshot_rows_per_second": 5, "kitestream_snapshot_seconds_left": 12}
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if v, ok := want[f.GetName()]; ok && f.GetMetric()[0].GetGauge().GetValue() == v {
			delete(want, f.GetName())
		}
	}
	if len(want) > 0 {
		t.Errorf("not exported, or with another value: %v", want)
	}
	if problems, err := testutil.GatherAndLint(r.metrics); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}
