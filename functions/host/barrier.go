package host

import (
	"context"
	"fmt"

	"kitestream/handlers/milvus"
	"kitestream/jetstream"
)

// atBarrier sees to the drop that a lane has come to, if it has. All before it is acked, so the lane says that it is
// there. When all lanes of the task are, one holder carries the drop out, that of the lane that came last; then all go on.
func (t *target) atBarrier(ctx context.Context, l *heldLane) (passed bool, err error) {
	e := l.barrier()
	if e == nil {
		return false, nil
	}
	ctx, cancel := t.whileHeld(ctx, []*heldLane{l})
	defer cancel()
	if t.passes(e, l.number) && e.Kind == jetstream.DropPartition {
		if err := t.passOver(ctx, l, e); err != nil {
			return false, err
		}
	}
	state, err := t.barriers.Arrive(ctx, e.Seq, l.number, t.task.Spec.Lanes)
	if err != nil {
		return false, fmt.Errorf("wait at %s of %s.%s: %w", e.Kind, e.Database, e.Collection, err)
	}
	if state == jetstream.BarrierReady {
		if err := t.carryOut(ctx, l, e); err != nil {
			return false, err
		}
		state = jetstream.BarrierPassed
	}
	if state != jetstream.BarrierPassed {
		t.report.atBarrier(l, e)
		return false, nil
	}
	return true, t.ack(ctx, l, 1)
}

// carryOut drops what the event says and opens the barrier.
func (t *target) carryOut(ctx context.Context, l *heldLane, e *jetstream.Event) error {
	skip, err := t.settleStop(ctx, l, e)
	if err != nil {
		return err
	}
	if !skip {
		result := t.handlers.Apply(ctx, []*jetstream.Event{e})
		if result.Err != nil {
			return result.Err
		}
		for _, s := range result.Stopped {
			if err := t.stop(ctx, s, map[int]uint64{l.number: e.Seq}); err != nil {
				return err
			}
		}
	}
	if err := t.barriers.Done(ctx, e.Seq); err != nil {
		return fmt.Errorf("open the barrier of %s of %s.%s: %w", e.Kind, e.Database, e.Collection, err)
	}
	return nil
}

// settleStop decides on a drop in a collection that has stopped here: its partition's drop waits with the rest of it;
// its own drop ends the stop, and leaves alone a collection that was never ours.
func (t *target) settleStop(ctx context.Context, l *heldLane, e *jetstream.Event) (skip bool, err error) {
	if !t.passes(e, l.number) {
		return false, nil
	}
	if e.Kind != jetstream.DropCollection {
		return true, nil
	}
	stop, _ := t.stops.Lookup(e.CollectionID)
	if err := t.stops.Clear(ctx, e.CollectionID); err != nil {
		return false, fmt.Errorf("forget that %s.%s stopped: %w", e.Database, e.Collection, err)
	}
	return stop.Code == milvus.CodeSchema, nil
}
