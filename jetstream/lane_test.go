package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
)

// publish puts events on the stream, as a bridge would, and gives their sequences.
func (r *rig) publish(events ...*jetstream.Event) []uint64 {
	r.t.Helper()
	acks := make([]natsjs.PubAckFuture, len(events))
	var err error
	for i, e := range events {
		if acks[i], err = r.js.PublishMsgAsync(e.Msg(ref().Name)); err != nil {
			r.t.Fatal(err)
		}
	}
	seqs := make([]uint64, len(events))
	for i, a := range acks {
		select {
		case ok := <-a.Ok():
			seqs[i] = ok.Sequence
		case err := <-a.Err():
			r.t.Fatal(err)
		}
	}
	return seqs
}

// rows are insert events of a lane.
func rows(lane, n int) []*jetstream.Event {
	events := make([]*jetstream.Event, n)
	for i := range events {
		events[i] = event(jetstream.Insert, lane)
	}
	return events
}

func event(kind jetstream.Kind, lane int) *jetstream.Event {
	return &jetstream.Event{
		ID: fmt.Sprintf("%s:%d:%d", kind, lane, rand.Uint64()), Kind: kind, Channel: "dml_0", Lane: lane, Database: "default",
		Collection: "c", CollectionID: 7, TS: 1 << 40, Source: "src", Rows: 1, RowSum: 1, Body: []byte("body"),
	}
}

func laneID(n int) jetstream.LaneID { return ref().Target("standby_1").Lane(n) }

func (r *rig) openLane(lane int, epoch uint64) *jetstream.Lane {
	r.t.Helper()
	return r.openLaneOn(r.js, jetstream.LaneConfig{ID: laneID(lane), Epoch: epoch})
}

func (r *rig) openLaneOn(js natsjs.JetStream, cfg jetstream.LaneConfig) *jetstream.Lane {
	r.t.Helper()
	l, err := jetstream.OpenLane(r.ctx, js, r.bucket(js, jetstream.BucketLanes), cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = l.Close(ctx)
	})
	return l
}

// take reads n events.
func (r *rig) take(l *jetstream.Lane, n int) []uint64 {
	r.t.Helper()
	seqs := make([]uint64, n)
	for i := range seqs {
		d, err := l.Next(r.ctx)
		if err != nil {
			r.t.Fatalf("event %d of %d: %v", i, n, err)
		}
		if d.Err != nil {
			r.t.Fatalf("event %d of %d: %v", i, n, d.Err)
		}
		seqs[i] = d.Seq
	}
	return seqs
}

func (r *rig) ack(l *jetstream.Lane, seq uint64) {
	r.t.Helper()
	if err := l.Ack(r.ctx, seq); err != nil {
		r.t.Fatal(err)
	}
	if got := l.Floor(); got != seq {
		r.t.Errorf("floor after ack of %d = %d", seq, got)
	}
}

func (r *rig) state(lane int) jetstream.LaneStatus {
	r.t.Helper()
	s, err := jetstream.LaneState(r.ctx, r.js, r.lanes, laneID(lane))
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// idle waits until the server knows that the lane has nothing left.
func (r *rig) idle(lane int, floor uint64) {
	r.t.Helper()
	r.until("nothing is pending", func() bool {
		s := r.state(lane)
		return s.Floor == floor && s.Pending == 0 && s.AckPending == 0
	})
}

func same(t testing.TB, what string, got, want []uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d sequences %v, want %d: %v", what, len(got), got, len(want), want)
	}
}

func TestLaneGivesItsEventsAndThoseOfAllInOrder(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	var want []uint64
	for range 200 {
		lane := rand.IntN(5) - 2 // NoLane, AllLanes, 0…2
		kind := jetstream.Insert
		switch lane {
		case jetstream.AllLanes:
			kind = jetstream.CreatePartition
		case jetstream.NoLane:
			kind = jetstream.Fence
		}
		seq := r.publish(event(kind, lane))[0]
		if lane == 1 || lane == jetstream.AllLanes {
			want = append(want, seq)
		}
	}
	l := r.openLane(1, 5)
	got := r.take(l, len(want))
	same(t, "lane 1", got, want)
	if _, ok := l.TryNext(); ok {
		t.Error("there is more")
	}
	r.ack(l, want[len(want)-1])
	r.idle(1, want[len(want)-1])
}

func TestDeliveryIsTheEventAndTheMessage(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	e := event(jetstream.Insert, 0)
	seq := r.publish(e)[0]
	d, err := r.openLane(0, 1).Next(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d.Event.ID != e.ID || d.Event.Seq != seq || d.Seq != seq || string(d.Body) != "body" || d.Subject != jetstream.Subject(ref().Name, e) {
		t.Errorf("delivery = %+v, event = %+v", d, d.Event)
	}
}

func TestMalformedEventsAreDelivered(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	newer := event(jetstream.Insert, 0).Msg(ref().Name)
	newer.Header.Set("ce-kitestreamversion", "99")
	bare := &nats.Msg{Subject: newer.Subject, Data: []byte("no headers")}
	for _, m := range []*nats.Msg{newer, bare} {
		if _, err := r.js.PublishMsg(r.ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	good := r.publish(event(jetstream.Insert, 0))[0]
	l := r.openLane(0, 1)
	for _, m := range []*nats.Msg{newer, bare} {
		d, err := l.Next(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if d.Event != nil || !errors.Is(d.Err, jetstream.ErrVersion) || d.Subject != m.Subject || string(d.Body) != string(m.Data) {
			t.Errorf("delivery = %+v", d)
		}
		r.ack(l, d.Seq)
	}
	same(t, "after them", r.take(l, 1), []uint64{good})
}

func TestLaneOfADeletedConsumerGoesOnFromTheRecord(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	seqs := r.publish(rows(0, 10)...)
	l := r.openLane(0, 1)
	r.take(l, 7)
	r.ack(l, seqs[5])
	if err := l.Close(r.ctx); err != nil {
		t.Fatal(err)
	}
	s, err := r.js.Stream(r.ctx, jetstream.StreamName(ref().Name))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range r.consumers() {
		if err := s.DeleteConsumer(r.ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := r.state(0), (jetstream.LaneStatus{Floor: seqs[5], Pending: 4}); got != want {
		t.Errorf("state = %+v, want %+v", got, want)
	}
	next := r.openLane(0, 2)
	same(t, "next holder", r.take(next, 4), seqs[6:])
}

func TestLanesOfATargetAddedLaterBeginAtTheFirstEvent(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	seqs := r.publish(rows(0, 10)...)
	if got, want := r.state(0), (jetstream.LaneStatus{Pending: 10}); got != want {
		t.Errorf("state of a lane that was never opened = %+v, want %+v", got, want)
	}
	l := r.openLane(0, 1)
	r.take(l, 10)
	r.ack(l, seqs[9])
	later := jetstream.LaneConfig{ID: ref().Target("standby").Lane(0), Epoch: 3}
	same(t, "target added later", r.take(r.openLaneOn(r.js, later), 10), seqs)
	if n := len(r.consumers()); n != 2 {
		t.Errorf("%d consumers, want 2: one target's lane swept another's", n)
	}
}

func TestOnlyTheLatestEpochHoldsALane(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	r.publish(rows(0, 10)...)
	open := func(epoch uint64) (*jetstream.Lane, error) {
		return jetstream.OpenLane(r.ctx, r.js, r.lanes, jetstream.LaneConfig{ID: laneID(0), Epoch: epoch})
	}
	var wg sync.WaitGroup
	lanes := make([]*jetstream.Lane, 12)
	for i := range lanes {
		wg.Go(func() {
			l, err := open(uint64(i + 1))
			if err != nil && !errors.Is(err, jetstream.ErrFenced) {
				t.Errorf("open = %v", err)
			}
			lanes[i] = l
		})
	}
	wg.Wait()
	for i, l := range lanes {
		if l == nil {
			continue
		}
		defer l.Close(r.ctx)
		if i == len(lanes)-1 {
			r.take(l, 10)
			r.ack(l, 10)
		} else if _, err := waitEnd(r.ctx, l); !errors.Is(err, jetstream.ErrFenced) {
			t.Errorf("epoch %d ended with %v, want ErrFenced", i+1, err)
		}
	}
	if _, err := open(11); !errors.Is(err, jetstream.ErrFenced) {
		t.Errorf("open under an old epoch = %v, want ErrFenced", err)
	}
	again := r.openLane(0, 12) // the same lease, opened again
	if again.Floor() != 10 {
		t.Errorf("floor = %d, want 10", again.Floor())
	}
	if _, err := waitEnd(r.ctx, lanes[11]); !errors.Is(err, jetstream.ErrFenced) {
		t.Errorf("the earlier Lane of the same lease ended with %v, want ErrFenced", err)
	}
	if n := r.consumers(); len(n) != 1 {
		t.Errorf("consumers left: %v", n)
	}
}

func TestAckIsForWhatWasHandedOut(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	seqs := r.publish(rows(0, 10)...)
	l := r.openLane(0, 1)
	r.take(l, 5)
	r.until("the rest is prefetched", func() bool { return r.state(0).AckPending == 10 })
	if err := l.Ack(r.ctx, seqs[5]); err == nil {
		t.Error("acked what was not handed out")
	}
	r.ack(l, seqs[4])
	if err := l.Ack(r.ctx, seqs[2]); err != nil || l.Floor() != seqs[4] {
		t.Errorf("ack of what is acked: %v, floor %d", err, l.Floor())
	}
}

func TestClosedLane(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	seqs := r.publish(rows(0, 3)...)
	l := r.openLane(0, 1)
	r.take(l, 2)
	r.ack(l, seqs[0])
	for range 2 {
		if err := l.Close(r.ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Next(r.ctx); !errors.Is(err, jetstream.ErrLaneClosed) {
		t.Errorf("next = %v", err)
	}
	if err := l.Ack(r.ctx, seqs[1]); !errors.Is(err, jetstream.ErrLaneClosed) {
		t.Errorf("ack = %v", err)
	}
}

func TestLaneOfADeletedTaskEnds(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	l := r.openLane(0, 1)
	if err := r.js.DeleteStream(r.ctx, jetstream.StreamName(ref().Name)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Next(r.ctx); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("next = %v, want ErrNotFound", err)
	}
	if _, err := jetstream.OpenLane(r.ctx, r.js, r.lanes, jetstream.LaneConfig{ID: laneID(0), Epoch: 2}); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("open = %v, want ErrNotFound", err)
	}
}

// A task that is deleted and created again begins from nothing, even if records of its earlier life stay.
func TestSecondLifeBeginsFromNothing(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	l := r.openLane(0, 1)
	r.ack(l, r.take(l, len(r.publish(rows(0, 5)...)))[4])
	if err := r.js.DeleteStream(r.ctx, jetstream.StreamName(ref().Name)); err != nil {
		t.Fatal(err)
	}
	r.stream(ref().Name)
	again := jetstream.TaskRef{Name: ref().Name, ID: "life2"}
	seqs := r.publish(rows(0, 3)...)
	same(t, "second life", r.take(r.openLaneOn(r.js, jetstream.LaneConfig{ID: again.Target("standby_1").Lane(0), Epoch: 2}), 3), seqs)
	if err := jetstream.ForgetTask(r.ctx, r.js, r.lanes, ref().Name); err != nil {
		t.Fatal(err)
	}
	if keys, err := r.lanes.Keys(r.ctx); !errors.Is(err, natsjs.ErrNoKeysFound) {
		t.Errorf("records that stay: %v, %v", keys, err)
	}
}

func TestIdleLaneIsPrompt(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	l := r.openLane(0, 1)
	var took []time.Duration
	for range 50 {
		got := make(chan time.Time, 1)
		go func() {
			r.take(l, 1)
			got <- time.Now()
		}()
		r.wait(time.Millisecond)
		start := time.Now()
		r.publish(event(jetstream.Insert, 0))
		took = append(took, (<-got).Sub(start))
	}
	slices.Sort(took)
	t.Logf("publish to hand-out: p50 %v, max %v", took[25], took[49])
	if took[25] > 20*time.Millisecond {
		t.Errorf("p50 = %v", took[25])
	}
}

func TestPrefetchIsBoundedByBytes(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	const size, n = 256 << 10, 100
	events := rows(0, n)
	for _, e := range events {
		e.Body = make([]byte, size)
	}
	seqs := r.publish(events...)
	l := r.openLaneOn(r.js, jetstream.LaneConfig{ID: laneID(0), Epoch: 1, PrefetchBytes: 4 << 20})
	most := 0
	for range 100 {
		r.wait(2 * time.Millisecond)
		most = max(most, r.state(0).AckPending)
	}
	if limit := (4<<20 + 2*(5<<20)/4) / size; most > limit {
		t.Errorf("%d events of %d bytes were prefetched, want at most %d", most, size, limit)
	}
	same(t, "all", r.take(l, n), seqs)
	r.ack(l, seqs[n-1])
}
