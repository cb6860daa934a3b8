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
	lease  *jetstream.Lease
	lane   *jetstream.Lane
	in     chan jetstream.Delivery
	over   context.Context // ends when the lease is lost or the lane let go
	stop   context.CancelFunc
	parts  sync.WaitGroup

	pending []jetstream.Delivery // taken from in and not acked, in order
}

// readAhead is how many events may wait in a lane's channel; the lane itself bounds their bytes.
const readAhead = 256

// openLane begins to renew the lease, and reads from the lane's checkpoint on. wake is called when something has come.
func (t *target) openLane(ctx context.Context, number int, lease *jetstream.Lease, wake func()) (*heldLane, error) {
	l := &heldLane{number: number, lease: lease, in: make(chan jetstream.Delivery, readAhead)}
	ctx = context.WithoutCancel(ctx) // what is in flight when the process is told to stop is to be settled
	renew, stopRenew := context.WithCancel(ctx)
	over, stopOver := lease.Context(ctx)
	l.over, l.stop = over, func() { stopOver(); stopRenew() }
	l.parts.Go(func() {
		_ = lease.Run(renew) // its end shows in l.over
		wake()
	})
	var err error
	l.lane, err = jetstream.OpenLane(l.over, t.cfg.JS, t.cfg.Buckets.Lanes, jetstream.LaneConfig{ID: t.id.Lane(number), Epoch: lease.Epoch(), Log: t.log})
	if err != nil {
		l.letGo(ctx)
		return nil, err
	}
	l.parts.Go(func() { l.read(wake) })
	return l, nil
}

// read hands over the lane's events until the lane is let go.
func (l *heldLane) read(wake func()) {
	defer wake()
	for {
		d, err := l.lane.Next(l.over)
		if err != nil {
			l.stop() // fenced, or over: settleMembers sees it
			return
		}
		select {
		case l.in <- d:
			wake()
		case <-l.over.Done():
			return
		}
	}
}

// fill takes what has come into pending, up to a number of rows and bytes, and up to a barrier.
func (l *heldLane) fill(rows, bytes int) {
	for i := range l.pending {
		if e := l.pending[i].Event; e != nil {
			rows -= e.Rows
			bytes -= len(e.Body)
		}
	}
	for rows > 0 && bytes > 0 {
		if n := len(l.pending); n > 0 && l.pending[n-1].Event != nil && l.pending[n-1].Event.Kind.Barrier() {
			return
		}
		select {
		case d := <-l.in:
			l.pending = append(l.pending, d)
			if d.Event != nil {
				rows -= d.Event.Rows
				bytes -= len(d.Event.Body)
			}
		default:
			return
		}
	}
}

// barrier is the drop that the lane has come to, all before it being acked; else nil.
func (l *heldLane) barrier() *jetstream.Event {
	if len(l.pending) > 0 && l.pending[0].Event != nil && l.pending[0].Event.Kind.Barrier() {
		return l.pending[0].Event
	}
	return nil
}

// letGo stops reading, keeps the checkpoint and frees the lease, in that order.
func (l *heldLane) letGo(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	lost := l.lease.Deadline().Before(time.Now())
	l.stop()
	l.parts.Wait()
	if l.lane != nil {
		_ = l.lane.Close(ctx) // the floor is the consumer's
	}
	if !lost {
		_ = l.lease.Release(ctx) // one that can't be released expires
	}
}
