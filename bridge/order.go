package bridge

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/time/rate"

	"kitestream/bridge/catalog"
	"kitestream/bridge/scan"
	"kitestream/jetstream"
)

// order is something that others want the sequencer to do.
type order struct {
	do   func(ctx context.Context, s *sequencer) error
	done chan error // has room for one
}

// order has the sequencer do something, and waits until it has.
func (b *Bridge) order(ctx context.Context, do func(ctx context.Context, s *sequencer) error) error {
	o := order{do: do, done: make(chan error, 1)}
	select {
	case b.orders <- o:
	case <-ctx.Done():
		return fmt.Errorf("wait for the bridge of task %s: %w", b.cfg.Task.Spec.Name, ctx.Err())
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the bridge of task %s: %w", b.cfg.Task.Spec.Name, ctx.Err())
	}
}

// Resnapshot has the existing rows of a collection copied anew, and returns when that has begun; Sync waits for its end. It
// heals what had stopped the collection on the source's side, such as a gap in the queue: rows that were deleted meanwhile go
// on the targets. Of the collection's names it is the one that `task get` shows. Safe for concurrent use.
func (b *Bridge) Resnapshot(ctx context.Context, name jetstream.QualifiedName) error {
	return b.order(ctx, func(ctx context.Context, s *sequencer) error { return s.resnapshot(ctx, name) })
}

// RepairRequest names rows that are to be published as the source has them.
type RepairRequest struct {
	CollectionID int64      `json:"collection_id"`
	Partition    string     `json:"partition,omitempty"` // empty: of a collection that has a partition key
	Keys         []scan.Key `json:"keys"`                // 1 to 1,000
}

// maxRepair is how many keys a RepairRequest may have.
const maxRepair = 1000

// Repair publishes the rows of some keys as the source has them now: as inserts, or, of keys that it does not have, as
// deletions. It returns the stream's sequence behind which they are. Safe for concurrent use.
func (b *Bridge) Repair(ctx context.Context, req RepairRequest) (seq uint64, err error) {
	if len(req.Keys) == 0 || len(req.Keys) > maxRepair {
		return 0, fmt.Errorf("repair of collection %d: %d keys; it takes 1 to %d at once", req.CollectionID, len(req.Keys), maxRepair)
	}
	return b.published(ctx, func(_ context.Context, s *sequencer, done func(uint64, error)) error { return s.repair(req, done) })
}

// published has the sequencer do something, and waits until what that publishes is on the stream: done is told, once, unless
// there is an error.
func (b *Bridge) published(ctx context.Context, do func(ctx context.Context, s *sequencer, done func(uint64, error)) error) (seq uint64, err error) {
	type result struct {
		seq uint64
		err error
	}
	end := make(chan result, 1)
	err = b.order(ctx, func(ctx context.Context, s *sequencer) error {
		return do(ctx, s, func(seq uint64, err error) { end <- result{seq, err} })
	})
	if err != nil {
		return 0, err
	}
	select {
	case r := <-end:
		return r.seq, r.err
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the bridge of task %s to publish: %w", b.cfg.Task.Spec.Name, ctx.Err())
	}
}

// errBusy says that a repair has to come again.
var errBusy = errors.New("the collection's existing rows are being copied: repair it when that has ended")

// errBegins says that a repair has to come again.
var errBegins = errors.New("the bridge has just begun: try again in a moment")

// repair asks for the rows; done is told what came of it, once.
func (s *sequencer) repair(req RepairRequest, done func(uint64, error)) error {
	col := s.ledger.collections[req.CollectionID]
	v := s.meta.View()
	name, db := nameOf(v, req.CollectionID)
	switch {
	case s.api == nil:
		return errNoAPI
	case col == nil || db == nil || s.over(col):
		return fmt.Errorf("repair of collection %d: the task does not follow it", req.CollectionID)
	case col.copying():
		return errBusy
	case !s.caughtUp(col):
		return errBegins
	}
	r := &reading{collection: col.ID, keys: req.Keys, low: s.low(col), done: done}
	if !col.Keyed {
		part := partitionOf(v.Collections[col.ID], req.Partition)
		if part.name == "" {
			return fmt.Errorf("repair of %s: the source has no partition %q", name, req.Partition)
		}
		r.partition = part
	}
	for _, k := range req.Keys {
		if _, text := k.Text(); text != col.Strings || k.IsZero() {
			return fmt.Errorf("repair of %s: key %s is not of its primary key's type", name, k)
		}
	}
	run := s.runOf(col)
	run.open = append(run.open, r)
	s.ask(r, name.Database, name.Collection)
	return nil
}

func partitionOf(c *catalog.Collection, name string) copyPartition {
	for id, p := range c.Partitions {
		if p.Name == name && p.State == catalog.Created {
			return copyPartition{id, name}
		}
	}
	return copyPartition{}
}

// limiter lets so many rows a second pass, at most those of a second at once; nil for 0.
func limiter(perSecond int) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), perSecond)
}
