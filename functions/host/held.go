package host

import (
	"context"
	"sync"
	"time"

	"kitestream/jetstream"
)

// heldLane is one lane in this process's hands: its lease is renewed and its events are read ahead until it is let go.
type heldLane struct {
	number int
	target string
	lease  *jetstream.Lease
	lane   *jetstream.Lane
	in     chan jetstream.Delivery
	ended  chan struct{} // closed when reading has ended: the lane was lost, or let go
	stop   context.CancelFunc
	parts  sync.WaitGroup

	pending []jetstream.Delivery // taken from in, or from replay, and not acked; in order
	replay  *replay              // what was passed over is being made good; nil: nothing is
}

// readAhead is how many events may wait in a lane's channel; the lane itself bounds their bytes.
const readAhead = 256

// openLane begins to renew the lease, and reads from the lane's checkpoint on. wake is called when something has come.
func (t *target) openLane(ctx context.Context, number int, lease *jetstream.Lease, wake func()) (*heldLane, error) {
	l := &heldLane{number: number, target: t.spec.Name, lease: lease, in: make(chan jetstream.Delivery, readAhead), ended: make(chan struct{})}
	ctx = context.WithoutCancel(ctx) // what is in flight when the process is told to stop is to be settled
	renew, stopRenew := context.WithCancel(ctx)
	over, stopOver := lease.Context(ctx)
	l.stop = func() { stopOver(); stopRenew() }
	l.parts.Go(func() {
		_ = lease.Run(renew) // its end shows in over
		wake()
	})
	var err error
	l.lane, err = jetstream.OpenLane(over, t.cfg.JS, t.cfg.Buckets.Lanes, jetstream.LaneConfig{ID: t.id.Lane(number), Epoch: lease.Epoch(), Log: t.log})
	if err != nil {
		l.letGo(ctx)
		return nil, err
	}
	l.parts.Go(func() {
		defer wake()
		defer close(l.ended)
		l.read(over, wake)
	})
	return l, nil
}

// read hands over the lane's events until ctx ends or another worker has the lane.
func (l *heldLane) read(ctx context.Context, wake func()) {
	for {
		d, err := l.lane.Next(ctx)
		if err != nil {
			return // fenced, or over: settleMembers sees it
		}
		select {
		case l.in <- d:
			wake()
		case <-ctx.Done():
			return
		}
	}
}

// lost reports whether the lane is no longer ours.
func (l *heldLane) lost() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// fill takes what has come into pending, as it is to be applied now, up to a number of rows and bytes, and up to a barrier.
func (l *heldLane) fill(past *jetstream.Past, rows, bytes int) {
	from := l.in
	if l.replay != nil {
		from = l.replay.in
	}
	take := func(d *jetstream.Delivery) {
		if d.Event != nil {
			rows -= d.Event.Rows
			bytes -= len(d.Event.Body)
		} else {
			rows-- // so that a batch ends
		}
	}
	for i := range l.pending {
		take(&l.pending[i])
	}
	for rows > 0 && bytes > 0 && !l.endsInBarrier() {
		select {
		case d := <-from:
			if d.Event != nil {
				if now, left := past.Now(d.Event); left {
					d.Event = now
				} else {
					d.Event = nil // there is nothing left to do but to ack it
				}
			}
			l.pending = append(l.pending, d)
			take(&d)
		default:
			return
		}
	}
}

func (l *heldLane) endsInBarrier() bool {
	n := len(l.pending)
	return n > 0 && l.isBarrier(&l.pending[n-1])
}

// isBarrier reports whether the lane has to wait at the event. What another target alone is told is passed over.
func (l *heldLane) isBarrier(d *jetstream.Delivery) bool {
	return d.Event != nil && d.Event.Kind.Barrier() && !l.foreign(d.Event)
}

// foreign reports whether the event is for another target alone.
func (l *heldLane) foreign(e *jetstream.Event) bool { return e.Target != "" && e.Target != l.target }

// barrier is the drop that the lane has come to, all before it being acked; else nil.
func (l *heldLane) barrier() *jetstream.Event {
	if len(l.pending) > 0 && l.isBarrier(&l.pending[0]) {
		return l.pending[0].Event
	}
	return nil
}

// letGo stops reading, keeps the checkpoint and frees the lease, in that order.
func (l *heldLane) letGo(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	lost := l.lease.Deadline().Before(time.Now())
	if l.replay != nil {
		l.replay.stop()
	}
	l.stop()
	l.parts.Wait()
	if l.lane != nil {
		_ = l.lane.Close(ctx) // the floor is the consumer's
	}
	if !lost {
		_ = l.lease.Release(ctx) // one that can't be released expires
	}
}
