package host

import (
	"context"
	"fmt"
	"sync"

	"kitestream/jetstream"
)

// replay makes good what a lane has passed over of a collection that had stopped and is to be tried again: its events
// from the first one passed over up to where the lane is now, read from the stream beside the lane's consumer. The lane
// itself stands still meanwhile, so that what comes after is applied after (Guarantee 3). It is done when all is
// applied; a holder that dies in between leaves the next one to begin again, which changes nothing (Guarantee 2).
type replay struct {
	collection int64
	name       string
	in         chan jetstream.Delivery
	cancel     context.CancelFunc
	parts      sync.WaitGroup
	done       chan struct{} // closed when all has been put into in
	err        error         // why reading ended; valid once done is closed
}

// beginReplay begins the replay of a collection that the lane is to try again. Nothing of the lane may be pending.
func (t *target) beginReplay(ctx context.Context, l *heldLane) {
	if l.replay != nil || len(l.pending) > 0 {
		return
	}
	until := l.lane.Floor()
	for _, stop := range t.stops.Turns() {
		from, behind := stop.Lanes[l.number]
		if !behind || until < stop.Barrier {
			continue
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := &replay{collection: stop.CollectionID, name: stop.Database + "." + stop.Collection, in: make(chan jetstream.Delivery, readAhead), done: make(chan struct{}), cancel: cancel}
		var filters []string
		for _, n := range stop.Names() {
			filters = append(filters, jetstream.CollectionSubjects(t.task.Spec.Name, l.number, n.Database, n.Collection)...)
		}
		r.parts.Go(func() {
			defer t.notify()
			defer close(r.done)
			r.err = jetstream.Scan(ctx, t.cfg.JS, t.task.Spec.Name, filters, from, func(e *jetstream.Event) error {
				return r.give(ctx, e, until, t.notify)
			})
		})
		l.replay = r
		t.log.Info("collection is tried again", "collection", r.name, "lane", l.number, "from", from, "until", until)
		return
	}
}

// give hands over an event of the collection that the lane has passed over.
func (r *replay) give(ctx context.Context, e *jetstream.Event, until uint64, wake func()) error {
	if e.CollectionID != r.collection || e.Seq > until || e.Kind == jetstream.Flush {
		return ctx.Err()
	}
	select {
	case r.in <- jetstream.Delivery{Event: e, Seq: e.Seq}:
		wake()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends the replay where it is.
func (r *replay) stop() {
	r.cancel()
	r.parts.Wait()
}

// settleReplay ends a replay that has come to its end, or whose collection has stopped again.
func (t *target) settleReplay(ctx context.Context, l *heldLane) error {
	r := l.replay
	if r == nil {
		return nil
	}
	if stop, ok := t.stops.Lookup(r.collection); ok && !stop.Retry {
		r.stop()
		l.replay, l.pending = nil, nil
		return nil
	}
	if len(l.pending) > 0 || !r.drained() {
		return nil
	}
	l.replay = nil
	r.stop()
	if r.err != nil {
		return fmt.Errorf("read again what lane %d passed over of %s: %w", l.number, r.name, r.err)
	}
	if err := t.stops.LaneDone(ctx, r.collection, l.number); err != nil {
		return fmt.Errorf("keep that lane %d has made good %s: %w", l.number, r.name, err)
	}
	t.log.Info("collection goes on", "collection", r.name, "lane", l.number)
	return nil
}

// drained reports whether everything that the replay has read was taken and no more comes.
func (r *replay) drained() bool {
	select {
	case <-r.done:
		return len(r.in) == 0
	default:
		return false
	}
}
