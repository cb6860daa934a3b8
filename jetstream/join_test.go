package jetstream_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
)

// TestLaneBeginsWhereItIsTold has lanes that nobody has held begin behind a sequence, once.
func TestLaneBeginsWhereItIsTold(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	seqs := r.publish(slices.Concat(rows(0, 3), rows(1, 1))...)
	if err := jetstream.BeginLane(r.ctx, r.js, r.lanes, laneID(0), seqs[1]); err != nil {
		t.Fatal(err)
	}
	if st := r.state(0); st.Floor != seqs[1] || st.Pending != 1 || st.Consumer != "" {
		t.Errorf("before anybody has opened it: %+v", st)
	}
	if err := jetstream.BeginLane(r.ctx, r.js, r.lanes, laneID(0), 0); !errors.Is(err, jetstream.ErrExists) {
		t.Errorf("begun again: %v", err)
	}
	l := r.openLane(0, 1)
	if got := r.take(l, 1); got[0] != seqs[2] {
		t.Errorf("it is given %v of %v", got, seqs)
	}
	r.ack(l, seqs[2])
	if err := l.Close(r.ctx); err != nil {
		t.Fatal(err)
	}
	if got := r.openLane(0, 2).Floor(); got != seqs[2] {
		t.Errorf("it goes on behind %d, want %d", got, seqs[2])
	}
}

// TestTargetIsForgotten removes all of one target, and nothing of one whose name begins as its does.
func TestTargetIsForgotten(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	seqs := r.publish(rows(0, 2)...)
	l := r.openLane(0, 1)
	r.take(l, 1)
	r.ack(l, seqs[0])
	other := jetstream.LaneID{Target: ref().Target("standby")}
	kept := r.openLaneOn(r.js, jetstream.LaneConfig{ID: other, Epoch: 1})
	r.take(kept, 1)
	r.ack(kept, seqs[0])
	for range 2 { // it can be asked for again
		if err := jetstream.ForgetTarget(r.ctx, r.js, []natsjs.KeyValue{r.lanes, r.status}, laneID(0).Target); err != nil {
			t.Fatal(err)
		}
	}
	if st := r.state(0); st.Floor != 0 || st.Pending != 2 {
		t.Errorf("it is known still: %+v", st)
	}
	if err := l.Ack(r.ctx, seqs[1]); !errors.Is(err, jetstream.ErrFenced) {
		t.Errorf("who still had the lane acks: %v", err)
	}
	st, err := jetstream.LaneState(r.ctx, r.js, r.lanes, other)
	if err != nil || st.Floor != seqs[0] || st.Consumer == "" {
		t.Errorf("the other target is at %+v, %v", st, err)
	}
	s, err := r.js.Stream(r.ctx, jetstream.StreamName(ref().Name))
	if err != nil {
		t.Fatal(err)
	}
	for name := range s.ConsumerNames(r.ctx).Name() {
		if strings.HasPrefix(name, "standby_1") {
			t.Errorf("consumer %s is left", name)
		}
	}
}
