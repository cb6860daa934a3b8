package bridge

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"kitestream/bridge/catalog"
)

// A collection may be one that the task should follow although its creation can't be published: it was renamed into the
// selection, the queue no longer holds its beginning, or it would land where another one does. It is in the ledger as
// stopped then, also when no row of it comes, and leaves it when the source drops it (Guarantee 5).

// unmade takes such a collection into the ledger, and those out again that are gone.
func (s *sequencer) unmade(ctx context.Context, v *catalog.View) (waiting int, err error) {
	for _, id := range slices.Sorted(s.collectionIDs()) {
		if col := s.ledger.collections[id]; col.Unmade {
			s.followUnmade(v, col)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(v.Collections)) {
		col := v.Collections[id]
		if !s.expects(v, id) {
			continue
		}
		why := s.lost(v, col)
		if why == nil {
			waiting++
			continue
		}
		wait, err := s.missed(ctx, v, col, why)
		if err != nil {
			return 0, err
		}
		s.waits(fmt.Sprintf("collection %d", id), wait)
		if wait != "" {
			waiting++
		}
	}
	return waiting, nil
}

// waits notes what something waits for, or that it no longer does.
func (s *sequencer) waits(what, why string) {
	if s.blocked[what] == why {
		return
	}
	if s.stale = true; why == "" {
		delete(s.blocked, what)
	} else {
		s.blocked[what] = why
	}
}

func (s *sequencer) followUnmade(v *catalog.View, col *ledgerCollection) {
	if dropped(v, col.ID) {
		s.forget(col)
		return
	}
	if n, db := nameOf(v, col.ID); db != nil && n != col.qualified() {
		col.Database, col.Name, col.DatabaseID = n.Database, n.Collection, db.ID
		s.stale = true
		s.progress.dirty()
	}
}

// forget takes a collection out of the ledger of which the targets are to hear nothing more.
func (s *sequencer) forget(col *ledgerCollection) {
	delete(s.ledger.collections, col.ID)
	maps.DeleteFunc(s.ledger.aliases, func(_ catalog.AliasKey, id int64) bool { return id == col.ID })
	s.stale = true
	s.progress.dirty()
}

// lost says why the collection's creation is not going to be read, or nothing. It is enough that one channel is past it:
// what the channel held of the collection was passed over.
func (s *sequencer) lost(v *catalog.View, col *catalog.Collection) error {
	name, _ := nameOf(v, col.ID)
	if s.onlyAdopts(col) {
		return errNotReplayed
	}
	for _, ch := range col.Channels {
		c := s.channels[ch]
		switch {
		case c == nil:
			if _, err := s.queue.FromMilvus(col.Starts[ch]); err != nil {
				return fmt.Errorf("%s has no start on channel %s that can be read: %w", name, ch, err)
			}
		case c.gap != nil:
			return c.gap
		case s.past(c, col):
			if old := s.ledger.at(s.task, name, col.ID); old != nil && old.qualified() != name {
				return &takenError{name: name, by: old.qualified(), place: s.task.Place(name)}
			}
			return fmt.Errorf("%s was not selected when its creation was read; its existing rows need a snapshot", name)
		}
	}
	return nil
}

// past reports whether the channel has been read beyond the collection's creation, whose message is the collection's start.
func (s *sequencer) past(c *channel, col *catalog.Collection) bool {
	begin, err := s.queue.FromMilvus(col.Starts[c.name])
	if err != nil {
		return false
	}
	n, err := s.queue.Compare(c.resume.Start, begin)
	return err == nil && n > 0
}

// stopUnmade takes a collection into the ledger that was not published, as stopped.
func (s *sequencer) stopUnmade(v *catalog.View, col *catalog.Collection, why error) {
	name, db := nameOf(v, col.ID)
	made := &ledgerCollection{ID: col.ID, DatabaseID: db.ID, Database: name.Database, Name: name.Collection,
		Channels: col.Channels, Partitions: map[int64]string{}, Unmade: true}
	s.ledger.collections[col.ID] = made
	s.foreign.remove(col.ID)
	s.stop(made, why)
}

func (s *sequencer) collectionIDs() iter.Seq[int64] { return maps.Keys(s.ledger.collections) }
