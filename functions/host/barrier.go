package host

import (
	"context"
	"errors"
	"fmt"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/jetstream"
)

// atBarrier sees to the drop, rename or flush that a lane has come to, if it has. All before it is acked, so the lane says that it is
// there. When all lanes of the task are, one holder carries it out, that of the lane that came last; then all go on.
func (t *target) atBarrier(ctx context.Context, l *heldLane) (went bool, err error) {
	e := l.barrier()
	if e == nil {
		return false, nil
	}
	ctx, cancel := t.whileHeld(ctx, []*heldLane{l})
	defer cancel()
	if l.replay != nil {
		return t.atReplayedBarrier(ctx, l, e)
	}
	state, err := t.barriers.Arrive(ctx, e.Seq, l.number, t.task.Spec.Lanes)
	if err != nil {
		return false, fmt.Errorf("wait at %s of %s: %w", e.Kind, e.Name(), err)
	}
	switch state {
	case jetstream.BarrierWaiting:
		t.report.atBarrier(l, e)
		return false, nil
	case jetstream.BarrierReady:
		if err := t.carryOut(ctx, l, e); err != nil {
			return false, err
		}
		if err := t.barriers.Done(ctx, e.Seq); err != nil {
			return false, fmt.Errorf("open the barrier of %s of %s: %w", e.Kind, e.Name(), err)
		}
	}
	t.passed(e)
	return true, t.ack(ctx, l, 1)
}

// passed forgets what another worker may have changed at the barrier.
func (t *target) passed(e *jetstream.Event) {
	switch e.Kind {
	case jetstream.RenameCollection, jetstream.DropCollection, jetstream.DropDatabase:
		t.handlers.Forget()
	}
}

// carryOut does what the event says, or has all lanes pass it over, or stops its collection on all of them.
func (t *target) carryOut(ctx context.Context, l *heldLane, e *jetstream.Event) error {
	switch e.Kind {
	case jetstream.DropCollection:
		ended, ours, err := t.endStop(ctx, l, e)
		if err != nil || !ours {
			return err
		}
		e = ended
	case jetstream.DropPartition, jetstream.RenameCollection, jetstream.DropAlias:
		if passed, err := t.stops.PassOver(ctx, e, t.task.Spec.Lanes); err != nil || passed {
			return err
		}
	case jetstream.Flush:
		if _, stopped := t.stops.Lookup(e.CollectionID); stopped {
			return nil // there is nothing to flush, nor when it is replayed
		}
	}
	stopped, err := t.applyBarrier(ctx, e)
	if err != nil || !stopped {
		return err
	}
	_, err = t.stops.PassOver(ctx, e, t.task.Spec.Lanes) // each lane remembers it, also those that will see no event of it
	return err
}

// applyBarrier carries the event out on the target. It reports whether that stopped the collection.
func (t *target) applyBarrier(ctx context.Context, e *jetstream.Event) (stopped bool, err error) {
	result := t.handlers.Apply(ctx, []*jetstream.Event{e})
	if result.Err != nil {
		return false, result.Err
	}
	lanes := map[int]uint64{}
	for n := range t.task.Spec.Lanes {
		lanes[n] = e.Seq
	}
	for _, s := range result.Stopped {
		return true, t.stop(ctx, s, lanes)
	}
	if err := t.keepUnmet(ctx, []*jetstream.Event{e}, result); err != nil {
		return false, err
	}
	return false, t.unmets.Defined(ctx, e)
}

// atReplayedBarrier is atBarrier for what a collection's lanes passed over and are replaying now.
func (t *target) atReplayedBarrier(ctx context.Context, l *heldLane, e *jetstream.Event) (went bool, err error) {
	stop, err := t.stops.Arrive(ctx, e.CollectionID, l.number, e.Seq)
	if err != nil {
		return false, fmt.Errorf("wait at %s of %s: %w", e.Kind, e.Name(), err)
	}
	switch stop.At(e.Seq, l.number) {
	case jetstream.BarrierWaiting:
		t.report.atBarrier(l, e)
		return false, nil
	case jetstream.BarrierReady:
		moved, err := t.moved(ctx, e)
		if err != nil {
			return false, err
		}
		if !moved {
			if stopped, err := t.applyBarrier(ctx, e); err != nil || stopped {
				return stopped, err
			}
		}
		if err := t.stops.CarriedOut(ctx, e); err != nil {
			return false, err
		}
	}
	t.passed(e)
	return true, t.ack(ctx, l, 1)
}

// endStop forgets that a collection has stopped, for it is being dropped, and gives the drop with the name that the target
// knows. One that stopped because the target had another of its name is not ours to drop there.
func (t *target) endStop(ctx context.Context, l *heldLane, e *jetstream.Event) (ended *jetstream.Event, ours bool, err error) {
	stop, err := t.stops.Touch(ctx, e.CollectionID, l.number, e.Seq) // asks the bucket, not only the local copy
	if errors.Is(err, jetstream.ErrNotFound) {
		return e, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("look whether %s has stopped: %w", e.Name(), err)
	}
	if err := t.stops.Clear(ctx, e.CollectionID); err != nil {
		return nil, false, fmt.Errorf("forget that %s stopped: %w", e.Name(), err)
	}
	there := *e
	name := stop.OnTarget()
	there.Database, there.Collection = name.Database, name.Collection
	return &there, onTarget(stop), t.unmets.Defined(ctx, e)
}

// onTarget reports whether the target has the stopped collection: where another one has its place, it has not.
func onTarget(stop jetstream.Stop) bool {
	return stop.Code != milvus.CodeSchema && stop.Code != handlers.CodeOccupied
}

// occupied says which stopped collection has the place where the event is to create one: the source has renamed it meanwhile, which the
// target was not told, or it is to be made there first, under the name that it had then. Nil when there is none.
func (t *target) occupied(e *jetstream.Event) *handlers.Stopped {
	if e.Kind != jetstream.CreateCollection {
		return nil
	}
	place := t.task.Spec.Place(e.Name())
	for _, stop := range t.stops.List() {
		if stop.CollectionID == e.CollectionID || stop.OnTarget() == stop.Name() || stop.Code == milvus.CodeSchema || t.task.Spec.Place(stop.OnTarget()) != place {
			continue
		}
		return &handlers.Stopped{Database: e.Database, Collection: e.Collection, CollectionID: e.CollectionID, Code: handlers.CodeOccupied,
			Err: fmt.Errorf("%s, which has stopped, has its place on the target as %s still: mend that one, then resume the task", stop.Name(), place)}
	}
	return nil
}
