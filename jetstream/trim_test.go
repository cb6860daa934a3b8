package jetstream_test

import (
	"errors"
	"testing"
	"time"

	"kitestream/jetstream"
)

// TestNeeded: needed is what a target has not applied, what a stopped collection has passed over, what a target reads that nobody holds
// yet. What nobody needs goes, and the lanes go on.
func TestNeeded(t *testing.T) {
	r := newRig(t)
	task := &jetstream.Task{ID: ref().ID, Spec: jetstream.TaskSpec{Name: ref().Name, Lanes: 2, Targets: []jetstream.TargetSpec{{Name: "standby_1"}}}}
	needed := func(want uint64) {
		t.Helper()
		if got, err := jetstream.Needed(r.ctx, r.js, r.lanes, task); err != nil || got != want {
			t.Errorf("needed from %d on, %v; want %d", got, err, want)
		}
	}
	if _, err := jetstream.Needed(r.ctx, r.js, r.lanes, task); !errors.Is(err, jetstream.ErrStreamGone) {
		t.Errorf("without a stream: %v", err)
	}
	r.stream(ref().Name)
	needed(1)
	first := r.publish(append(rows(0, 5), rows(1, 5)...)...)
	needed(1) // nobody has opened a lane
	lanes := []*jetstream.Lane{r.openLane(0, 1), r.openLane(1, 1)}
	r.take(lanes[0], 5)
	r.ack(lanes[0], first[4])
	r.take(lanes[1], 3)
	r.ack(lanes[1], first[6])
	needed(first[7])
	r.ack(lanes[1], first[7])
	r.take(lanes[1], 2)
	r.ack(lanes[1], first[9])
	r.idle(1, first[9])
	needed(first[9] + 1) // lane 0 is behind in numbers, and has nothing left

	stops := r.openStops()
	must(t, stops.Put(r.ctx, stop(7, map[int]uint64{1: first[5]})))
	needed(first[5])
	must(t, stops.Clear(r.ctx, 7))
	task.Spec.Targets = append(task.Spec.Targets, jetstream.TargetSpec{Name: "second"})
	needed(1)
	for lane := range 2 {
		must(t, jetstream.BeginLane(r.ctx, r.js, r.lanes, ref().Target("second").Lane(lane), first[6]))
	}
	needed(first[6] + 1)
	task.Spec.Targets = task.Spec.Targets[:1]

	must(t, jetstream.Trim(r.ctx, r.js, ref().Name, first[9]+1))
	held, err := jetstream.StreamHolds(r.ctx, r.js, ref().Name)
	if err != nil || held.First != first[9]+1 || held.Last != first[9] {
		t.Errorf("after trimming all the stream holds %+v, %v", held, err)
	}
	needed(first[9] + 1)
	more := r.publish(rows(0, 2)...)
	same(t, "after trimming", r.take(lanes[0], 2), more)
	needed(more[0])
}

// TestPublishedBefore finds the first event that is young enough, and the ends.
func TestPublishedBefore(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	old := r.publish(rows(0, 2)...)
	time.Sleep(20 * time.Millisecond)
	between := time.Now()
	young := r.publish(rows(0, 2)...)
	for want, moment := range map[uint64]time.Time{old[0]: between.Add(-time.Hour), young[0]: between, young[1] + 1: between.Add(time.Hour)} {
		if got, err := jetstream.PublishedBefore(r.ctx, r.js, ref().Name, moment); err != nil || got != want {
			t.Errorf("first of %v: %d, %v; want %d", moment, got, err, want)
		}
	}
}
