package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// A target that joins a running task is told alone what the stream has told the others: first everything but rows, at one place
// of the stream, behind which it follows like any other. Then it is given copies of the existing rows.

// WelcomeRequest asks that a target be told everything, which is about to join the task.
type WelcomeRequest struct {
	Target string `json:"target"`
	// Prune names collections of the source that the target has already: rows of them that the source does not have go.
	Prune []jetstream.QualifiedName `json:"prune,omitempty"`
}

// Welcome publishes for one target everything that it needs to join, and begins to copy existing rows for it; Sync waits for
// their end. It returns the sequence behind which the target is to read the stream. Safe for concurrent use.
func (b *Bridge) Welcome(ctx context.Context, req WelcomeRequest) (uint64, error) {
	return b.published(ctx, func(ctx context.Context, s *sequencer, done func(uint64, error)) error {
		var behind uint64 // the publisher's to write, also when nobody waits for the answer any more
		s.pub.Mark(func(seq uint64) { behind = seq })
		if err := s.welcome(ctx, req); err != nil {
			return err
		}
		s.pub.Mark(func(uint64) { done(behind, nil) })
		return nil
	})
}

func (s *sequencer) welcome(ctx context.Context, req WelcomeRequest) error {
	v, err := s.viewSynced(ctx)
	if err != nil {
		return fmt.Errorf("the source's etcd does not answer: %w", err)
	}
	var cols []*ledgerCollection
	for _, id := range slices.Sorted(maps.Keys(s.ledger.collections)) {
		col := s.ledger.collections[id]
		switch seen := v.Collections[id]; {
		case col.Unmade:
		case seen == nil || seen.State != catalog.Created:
			return fmt.Errorf("collection %s is being dropped on the source: try again in a moment", col.qualified())
		default:
			cols = append(cols, col)
		}
	}
	copies, err := s.copiesFor(ctx, req, v, cols)
	if err != nil {
		return err
	}
	if err := s.tellDatabases(ctx, req.Target); err != nil {
		return err
	}
	for _, col := range cols {
		r := restating{s: s, col: col, target: req.Target}
		if c, ok := copies[col.ID]; ok {
			err = s.publishAdoption(ctx, c.event, c.seen, c.start)
		} else {
			err = r.create(ctx, v.Collections[col.ID])
		}
		if err != nil {
			return err
		}
		if err := r.rest(ctx); err != nil {
			return err
		}
	}
	if err := s.tellAccess(ctx, req.Target); err != nil {
		return err
	}
	s.log.Info("target is told everything", "target", req.Target, "collections", len(cols), "copies", len(copies))
	return nil
}

// copyFor is a copy that is about to begin.
type copyFor struct {
	event *jetstream.Event
	seen  *catalog.Collection
	start copyStart
}

// copiesFor makes ready to copy the rows of collections for one target. One of which a copy is under way is copied anew for all:
// there is only one of each collection at a time.
func (s *sequencer) copiesFor(ctx context.Context, req WelcomeRequest, v *catalog.View, cols []*ledgerCollection) (map[int64]copyFor, error) {
	if s.task.Snapshot == jetstream.SnapshotPresent {
		return nil, nil
	}
	if s.api == nil {
		return nil, errNoAPI
	}
	out := map[int64]copyFor{}
	for _, col := range cols {
		if col.Stopped != "" { // to be copied anew for all of them, when somebody has seen to it
			continue
		}
		seen := v.Collections[col.ID]
		start, wait, err := s.beginCopy(ctx, seen)
		if wait != "" {
			err = errors.New(wait)
		}
		if err != nil {
			return nil, err
		}
		start.Load = s.task.SnapshotLoad && seen.Load == nil
		start.Prune = slices.Contains(req.Prune, col.qualified())
		e := &jetstream.Event{Database: col.Database, DatabaseID: col.DatabaseID, Collection: col.Name, Snapshot: 1, Target: req.Target}
		if c := col.Copy; c != nil {
			e.Snapshot = c.N + 1
			if col.copying() {
				e.Target, start.Prune = "", start.Prune || c.Prune
			}
		}
		out[col.ID] = copyFor{e, seen, start}
	}
	return out, nil
}

func (s *sequencer) tellDatabases(ctx context.Context, target string) error {
	for _, id := range slices.Sorted(maps.Keys(s.ledger.databases)) {
		db := s.ledger.databases[id]
		r := restating{s: s, col: &ledgerCollection{DatabaseID: id, Database: db.Name}, target: target}
		if id != defaultDatabaseID {
			if err := r.publish(ctx, jetstream.CreateDatabase, id, &milvuspb.CreateDatabaseRequest{DbName: db.Name}); err != nil {
				return err
			}
		}
		if set := altering(nil, db.Properties).set; len(set) > 0 {
			if err := r.publish(ctx, jetstream.AlterDatabase, id, &milvuspb.AlterDatabaseRequest{DbName: db.Name, Properties: set}); err != nil {
				return err
			}
		}
	}
	return nil
}

// tellAccess tells a target of users and roles. Of passwords etcd has hashes only, so they are as for any target at first.
func (s *sequencer) tellAccess(ctx context.Context, target string) error {
	empty, has := newLedgerAccess(), &s.ledger.access
	for _, e := range empty.leading(&catalog.Access{Users: has.users, Roles: has.roles, Members: has.members, Grants: has.grants}) {
		if err := (restating{s: s, col: &ledgerCollection{}, target: target}).publish(ctx, e.kind, 0, e.body); err != nil {
			return err
		}
	}
	return nil
}
