package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// The size of a batch: enough for several full calls at once, little enough that memory stays small and that a batch
// ends well inside a lease.
const (
	batchRows  = 20_000
	batchBytes = 32 << 20
)

// batch is what is applied at once: the next events of every lane in hand.
type batch struct {
	events []*jetstream.Event
	count  map[int]int              // per lane: how many of its pending deliveries are in the batch
	first  map[int64]map[int]uint64 // per collection and lane: its first event, where a stop would begin
}

// round applies one batch of what has come on the lanes in hand, and sees to barriers. It reports whether there was
// anything to do.
func (t *target) round(ctx context.Context) (worked bool, err error) {
	lanes := t.lanes()
	b := batch{count: map[int]int{}, first: map[int64]map[int]uint64{}}
	if worked, err = t.retryUnmet(ctx, lanes); err != nil && !fenced(err) {
		return false, err
	}
	for _, l := range lanes {
		if err := t.settleReplay(ctx, l); err != nil {
			return false, err
		}
		t.beginReplay(ctx, l)
		l.fill(t.past, batchRows/len(lanes), batchBytes/len(lanes))
		if err := t.take(ctx, l, &b); err != nil {
			return false, err
		}
	}
	if len(b.count) > 0 {
		if err := t.applyBatch(ctx, lanes, &b); err != nil && !fenced(err) {
			return false, err
		}
		worked = true
	}
	for _, l := range lanes {
		passed, err := t.atBarrier(ctx, l)
		if err != nil && !fenced(err) {
			return false, err
		}
		worked = worked || passed
	}
	return worked, nil
}

// take puts a lane's pending events into the batch, up to a barrier. What cannot be read is parked; events of
// collections that have stopped on this target are passed over, and where that began is kept.
func (t *target) take(ctx context.Context, l *heldLane, b *batch) error {
	for i := range l.pending {
		d := &l.pending[i]
		if d.Err != nil {
			if err := t.parkDelivery(ctx, d); err != nil {
				return err
			}
			b.count[l.number]++
			continue
		}
		e := d.Event
		if e == nil { // there was nothing left to do
			b.count[l.number]++
			continue
		}
		if l.isBarrier(d) {
			return nil
		}
		b.count[l.number]++
		if l.foreign(e) {
			continue
		}
		passed, err := t.passOver(ctx, l, e)
		if err != nil {
			return err
		}
		if !passed {
			b.add(l, e)
		}
	}
	return nil
}

func (b *batch) add(l *heldLane, e *jetstream.Event) {
	if b.first[e.CollectionID] == nil {
		b.first[e.CollectionID] = map[int]uint64{}
	}
	if _, ok := b.first[e.CollectionID][l.number]; !ok {
		b.first[e.CollectionID][l.number] = e.Seq
	}
	b.events = append(b.events, e)
}

// passOver passes an event over if its collection has stopped on this target, or does so now, and keeps where the lane began
// to. An event that is being replayed is one that the lane has passed over before.
func (t *target) passOver(ctx context.Context, l *heldLane, e *jetstream.Event) (passed bool, err error) {
	if e.CollectionID == 0 {
		return false, nil
	}
	if l.replay != nil {
		if passed, err = t.moved(ctx, e); passed || err != nil {
			return passed, err
		}
	}
	stop, stopped := t.stops.Lookup(e.CollectionID)
	if l.replay != nil || !stopped || !stop.Holds(l.number) {
		s := t.occupied(e)
		if s == nil {
			return false, nil
		}
		return true, t.stop(ctx, *s, map[int]uint64{l.number: e.Seq})
	}
	passed, err = t.touch(ctx, l, e)
	if passed {
		t.cfg.Metrics.passedOver.WithLabelValues(t.task.Spec.Name, t.spec.Name).Add(float64(max(1, e.Rows)))
	}
	return passed, err
}

// touch keeps where a lane began to pass a collection over, asking for what others have just kept of it.
func (t *target) touch(ctx context.Context, l *heldLane, e *jetstream.Event) (passed bool, err error) {
	stop, err := t.stops.Touch(ctx, e.CollectionID, l.number, e.Seq)
	if errors.Is(err, jetstream.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("keep where lane %d passed over %s.%s: %w", l.number, e.Database, e.Collection, err)
	}
	return stop.Holds(l.number), nil
}

func (t *target) parkDelivery(ctx context.Context, d *jetstream.Delivery) error {
	t.cfg.Metrics.parked.WithLabelValues(t.task.Spec.Name, t.spec.Name).Inc()
	t.log.Error("event parked", "seq", d.Seq, "error", d.Err)
	p := jetstream.Parked{Task: t.task.Spec.Name, Target: t.spec.Name, Code: "KS-E-UNREADABLE", Reason: d.Err.Error(),
		Subject: d.Subject, Header: d.Header, Body: d.Body, Seq: d.Seq}
	if err := jetstream.Park(ctx, t.cfg.JS, p); err != nil {
		return fmt.Errorf("park event %d: %w", d.Seq, err)
	}
	return nil
}

// applyBatch applies the batch, keeps what stopped or was refused, and acks: in that order (Guarantee 1).
func (t *target) applyBatch(ctx context.Context, lanes []*heldLane, b *batch) error {
	ctx, cancel := t.whileHeld(ctx, lanes)
	defer cancel()
	if len(b.events) > 0 {
		result := t.handlers.Apply(ctx, b.events)
		if result.Err != nil {
			return result.Err
		}
		for _, s := range result.Stopped {
			if err := t.stop(ctx, s, b.first[s.CollectionID]); err != nil {
				return err
			}
		}
		if err := t.keepUnmet(ctx, b.events, result); err != nil {
			return err
		}
	}
	for _, l := range lanes {
		if err := t.ack(ctx, l, b.count[l.number]); err != nil {
			return err
		}
	}
	return nil
}

// ack acks the first n pending events of a lane: the target has them.
func (t *target) ack(ctx context.Context, l *heldLane, n int) error {
	if n == 0 {
		return nil
	}
	if seq := l.pending[n-1].Seq; l.replay == nil {
		if err := l.lane.Ack(ctx, seq); err != nil {
			return fmt.Errorf("ack lane %d up to %d: %w", l.number, seq, err)
		}
	}
	t.report.applied(l, l.pending[:n])
	l.pending = l.pending[n:]
	return nil
}

// stop keeps that a collection has stopped on this target, before anything of it is acked (Guarantee 6).
func (t *target) stop(ctx context.Context, s handlers.Stopped, lanes map[int]uint64) error {
	if s.CollectionID == 0 { // a database: everything in it would fail too, so the target waits
		return fmt.Errorf("database %s: %w", s.Database, s.Err)
	}
	t.log.Error("collection stopped", "collection", s.Database+"."+s.Collection, "code", s.Code, "error", s.Err)
	t.cfg.Metrics.stopped.WithLabelValues(t.task.Spec.Name, t.spec.Name).Inc()
	err := t.stops.Put(ctx, jetstream.Stop{
		Database: s.Database, Collection: s.Collection, CollectionID: s.CollectionID,
		Code: s.Code, Reason: s.Err.Error(), Since: time.Now().UTC(), Lanes: lanes,
	})
	if err != nil {
		return fmt.Errorf("keep that collection %s.%s stopped: %w", s.Database, s.Collection, err)
	}
	return nil
}

// whileHeld is a context that ends with the first of the lanes' leases, or when a lane is to leave and takes too long.
// It does not end with ctx: a graceful stop lets the batch end.
func (t *target) whileHeld(ctx context.Context, lanes []*heldLane) (context.Context, context.CancelFunc) {
	ctx, cut := context.WithCancel(context.WithoutCancel(ctx))
	cancels := []context.CancelFunc{cut}
	for _, l := range lanes {
		held, cancel := l.lease.Context(ctx)
		ctx, cancels = held, append(cancels, cancel)
	}
	t.mu.Lock()
	t.cut = cut
	t.mu.Unlock()
	return ctx, func() {
		t.mu.Lock()
		t.cut = nil
		t.mu.Unlock()
		for _, cancel := range cancels {
			cancel()
		}
	}
}
