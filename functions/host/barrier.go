package host

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"kitestream/handlers/milvus"
	"kitestream/jetstream"
)

// atBarrier sees to the drop that a lane has come to, if it has. All before it is acked, so the lane says that it is
// there. When all lanes of the task are, one holder carries the drop out, that of the lane that came last; then all go on.
func (t *target) atBarrier(ctx context.Context, l *heldLane) (went bool, err error) {
	e := l.barrier()
	if e == nil {
		return false, nil
	}
	ctx, cancel := t.whileHeld(ctx, []*heldLane{l})
	defer cancel()
	barriers := t.barriers
	if l.replay != nil {
		barriers = jetstream.NewBarriers(t.cfg.JS, t.cfg.Buckets.Lanes, t.replayID(e.CollectionID))
	}
	state, err := barriers.Arrive(ctx, e.Seq, l.number, t.task.Spec.Lanes)
	if err != nil {
		return false, fmt.Errorf("wait at %s of %s.%s: %w", e.Kind, e.Database, e.Collection, err)
	}
	if state == jetstream.BarrierWaiting {
		t.report.atBarrier(l, e)
		return false, nil
	}
	var passed bool
	if e.Kind == jetstream.DropPartition && l.replay == nil {
		// What another lane has kept of a stop, it kept before it arrived here: all pass the drop over, or none.
		if passed, err = t.touch(ctx, l, e); err != nil {
			return false, err
		}
	}
	if state == jetstream.BarrierReady {
		if err := t.carryOut(ctx, l, e, passed); err != nil {
			return false, err
		}
		if err := barriers.Done(ctx, e.Seq); err != nil {
			return false, fmt.Errorf("open the barrier of %s of %s.%s: %w", e.Kind, e.Database, e.Collection, err)
		}
	}
	return true, t.ack(ctx, l, 1)
}

// replayID is under which lanes wait for one another while they make a collection good.
func (t *target) replayID(collection int64) jetstream.TargetID {
	return t.task.Ref().Target(t.spec.Name + "=" + strconv.FormatInt(collection, 10))
}

// carryOut drops what the event says, unless it is to be passed over.
func (t *target) carryOut(ctx context.Context, l *heldLane, e *jetstream.Event, passed bool) error {
	if passed {
		return nil
	}
	if e.Kind == jetstream.DropCollection {
		if ours, err := t.endStop(ctx, l, e); err != nil || !ours {
			return err
		}
	}
	result := t.handlers.Apply(ctx, []*jetstream.Event{e})
	if result.Err != nil {
		return result.Err
	}
	for _, s := range result.Stopped {
		if err := t.stop(ctx, s, map[int]uint64{l.number: e.Seq}); err != nil {
			return err
		}
	}
	return nil
}

// endStop forgets that a collection has stopped, for it is being dropped. One that stopped because the target had
// another of its name is not ours to drop there.
func (t *target) endStop(ctx context.Context, l *heldLane, e *jetstream.Event) (ours bool, err error) {
	stop, err := t.stops.Touch(ctx, e.CollectionID, l.number, e.Seq) // asks the bucket, not only the local copy
	if errors.Is(err, jetstream.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether %s.%s has stopped: %w", e.Database, e.Collection, err)
	}
	if err := t.stops.Clear(ctx, e.CollectionID); err != nil {
		return false, fmt.Errorf("forget that %s.%s stopped: %w", e.Database, e.Collection, err)
	}
	return stop.Code != milvus.CodeSchema, nil
}
