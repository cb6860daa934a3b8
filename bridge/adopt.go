package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// A collection whose creation is not going to be read from the queue is adopted: it is published as it is now, and its
// existing rows are copied.

// copyStart is what the creation that begins a copy says of it, in Event.Resume.
type copyStart struct {
	Since uint64 `json:"since,string"`
	Load  bool   `json:"load,omitempty"`
	Prune bool   `json:"prune,omitempty"`
	// Present: the targets have the existing rows already, so none is copied.
	Present bool `json:"present,omitempty"`
}

// adopts reports whether the collection is adopted if the queue does not tell it from its beginning.
func (s *sequencer) adopts(col *catalog.Collection) bool {
	return s.task.Snapshot != jetstream.SnapshotNever && (s.api != nil || s.present(col))
}

// onlyAdopts reports whether the collection is not to be replayed from its beginning.
func (s *sequencer) onlyAdopts(col *catalog.Collection) bool {
	return s.task.Snapshot == jetstream.SnapshotOnly || s.present(col)
}

// clockSkew is how far the clocks of a source and of whoever made a task may differ.
const clockSkew = time.Minute

// present reports whether the targets have the collection's existing rows already, by what the task says. Of one that was made since
// the task was, they have nothing.
func (s *sequencer) present(col *catalog.Collection) bool {
	return s.task.Snapshot == jetstream.SnapshotPresent && jetstream.Physical(col.Created).Before(s.created.Add(-clockSkew))
}

var errNotReplayed = errors.New("the task does not replay it")

// missed deals with a collection whose creation is not going to be read. It is adopted, or stopped.
func (s *sequencer) missed(ctx context.Context, v *catalog.View, col *catalog.Collection, why error) (wait string, err error) {
	var taken *takenError
	if errors.As(why, &taken) || !s.adopts(col) {
		if s.api == nil && s.task.Snapshot != jetstream.SnapshotNever {
			why = fmt.Errorf("%w; nor does the bridge know the source's API, by which they could be copied: set KITESTREAM_SOURCE_MILVUS_URI", why)
		}
		s.stopUnmade(v, col, why)
		return "", nil
	}
	wait, err = s.adopt(ctx, v, col)
	if errors.As(err, &taken) {
		s.stopUnmade(v, col, taken)
		return "", nil
	}
	return wait, err
}

// adopt publishes a collection as it is, and begins to copy its rows. The error may be a *takenError.
func (s *sequencer) adopt(ctx context.Context, v *catalog.View, col *catalog.Collection) (wait string, err error) {
	name, db := nameOf(v, col.ID)
	if wait, err := s.ensureDatabase(ctx, v, db, db.Created); wait != "" || err != nil {
		return wait, err
	}
	wait, err = s.vacate(ctx, v, naming{id: col.ID, name: name, databaseID: db.ID, ts: col.Created, path: []int64{col.ID}})
	if wait != "" || err != nil {
		return wait, err
	}
	start, wait, err := s.beginAdoption(ctx, col)
	if wait != "" || err != nil {
		return wait, err
	}
	// What was dropped before reading began is told by nobody any more: etcd is asked after.
	now, err := s.viewSynced(ctx)
	if err != nil {
		return waitForCatalogue(err), nil
	}
	if again, db := nameOf(now, col.ID); db == nil || again != name || now.Collections[col.ID].State != catalog.Created {
		s.lookAgain()
		return fmt.Sprintf("%s was renamed or dropped just now", name), nil
	}
	col = now.Collections[col.ID]
	start.Load, start.Prune = !start.Present && s.task.SnapshotLoad && col.Load == nil, slices.Contains(s.existing, name)
	s.log.Info("collection adopted", keyCollection, name, "since", start.Since)
	return "", s.publishAdoption(ctx, &jetstream.Event{Database: db.Name, DatabaseID: db.ID, Collection: col.Name, Snapshot: 1}, col, start)
}

func (s *sequencer) beginAdoption(ctx context.Context, col *catalog.Collection) (start copyStart, wait string, err error) {
	if !s.present(col) {
		return s.beginCopy(ctx, col)
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	wait, err = s.readFromNow(ctx, col)
	return copyStart{Present: true}, wait, err
}

// beginCopy has the collection's channels read, from their end where they are not, and returns a time after which every
// change of the collection will be seen. The time is asked for last: what was passed over is older.
func (s *sequencer) beginCopy(ctx context.Context, col *catalog.Collection) (start copyStart, wait string, err error) {
	within, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	if wait, err := s.readFromNow(within, col); wait != "" || err != nil {
		return start, wait, err
	}
	if start.Since, err = s.api.Now(within); err != nil {
		return start, fmt.Sprintf("the source's API does not answer: %v", err), nil
	}
	return start, "", nil
}

func (s *sequencer) readFromNow(ctx context.Context, col *catalog.Collection) (wait string, err error) {
	for _, name := range col.Channels {
		if wait, err := s.openAtEnd(ctx, name); wait != "" || err != nil {
			return wait, err
		}
	}
	s.foreign.remove(col.ID)
	return "", nil
}

// openAtEnd begins to read a channel with its last message, if it is not being read.
func (s *sequencer) openAtEnd(ctx context.Context, name string) (wait string, err error) {
	was := s.channels[name]
	if was != nil && was.unproven() {
		return fmt.Sprintf("channel %s has to show what it still holds", name), nil
	}
	if was != nil && was.gap == nil {
		return "", nil
	}
	last, err := s.queue.Last(ctx, name)
	if err != nil {
		return fmt.Sprintf("the end of channel %s can't be read: %v", name, err), nil
	}
	at := Resume{Start: last}
	if was != nil && last != "" { // later than all that the stream has of the channel
		at = Resume{Start: last, Tick: last, TS: was.resume.TS + 1}
	}
	if err := s.open(ctx, name, at); err != nil {
		return "", err
	}
	s.channels[name].atEnd = true
	return "", nil
}

// proven says what has to be waited for until it is known that the queue holds the beginning of a collection on all its channels:
// one that is adopted for a gap is so before anything of it is published.
func (s *sequencer) proven(ctx context.Context, col *catalog.Collection) (wait string, err error) {
	if !s.adopts(col) {
		return "", nil
	}
	if err := s.openChannels(ctx, col); err != nil {
		return "", err
	}
	for _, name := range col.Channels {
		if c := s.channels[name]; c != nil && c.unproven() {
			return fmt.Sprintf("channel %s has to show what it still holds", name), nil
		}
	}
	return "", nil
}

// open begins to read a channel.
func (s *sequencer) open(ctx context.Context, name string, at Resume) error {
	c := newChannel(name, at)
	s.channels[name] = c
	delete(s.blocked, name)
	s.progress.opened(name, c.resume)
	if err := s.opened(ctx); err != nil {
		return err
	}
	s.log.Info("channel opened", keyChannel, name, "at", c.resume.String())
	s.start(c)
	return nil
}

// publishAdoption publishes the creation that begins a copy. What of the event names the collection, the copy and its target is given.
func (s *sequencer) publishAdoption(ctx context.Context, e *jetstream.Event, col *catalog.Collection, start copyStart) error {
	req, err := CreateRequest(&catalog.Database{Name: e.Database}, col)
	if err != nil {
		return err
	}
	req.CollectionName = e.Collection
	if c := s.ledger.collections[col.ID]; c != nil { // what has been altered since is published from there on
		req.Properties = altering(nil, c.Properties).set
	}
	text, err := json.Marshal(start)
	if err != nil {
		return err
	}
	if e.Body, err = proto.Marshal(req); err != nil {
		return err
	}
	e.Kind, e.CollectionID, e.Channels, e.Resume = jetstream.CreateCollection, col.ID, col.Channels, string(text)
	e.ID = fmt.Sprintf("%s:snapshot:%d", schemaID(e.Kind, col.ID), e.Snapshot)
	e.TS = max(s.now(), start.Since)
	if err := s.publishSchema(ctx, e); err != nil {
		return err
	}
	s.endRun(col.ID, errStoppedMeanwhile)
	s.countCopies()
	s.lookAgain()
	if start.Present {
		return s.finishCopy(ctx, s.ledger.collections[col.ID])
	}
	return nil
}

// resnapshot has the rows of a collection copied anew, whatever has become of it.
func (s *sequencer) resnapshot(ctx context.Context, name jetstream.QualifiedName) error {
	if s.api == nil {
		return errNoAPI
	}
	col := s.named(name)
	if col == nil {
		return fmt.Errorf("the task follows no collection %s; `task get` shows those that it does", name)
	}
	v, err := s.viewSynced(ctx)
	if err != nil {
		return fmt.Errorf("the source's etcd does not answer: %w", err)
	}
	seen := v.Collections[col.ID]
	if seen == nil || seen.State != catalog.Created {
		return fmt.Errorf("the source has no collection %s any more", name)
	}
	if col.Unmade {
		return s.readopt(ctx, v, col, seen)
	}
	start, wait, err := s.beginCopy(ctx, seen)
	if wait != "" {
		err = errors.New(wait)
	}
	if err != nil {
		return err
	}
	n := 1
	if col.Copy != nil {
		n = col.Copy.N + 1
	}
	start.Load, start.Prune = s.task.SnapshotLoad && seen.Load == nil, true
	s.log.Info("collection is copied anew", keyCollection, name, "snapshot", n)
	err = s.publishAdoption(ctx, &jetstream.Event{Database: col.Database, DatabaseID: col.DatabaseID, Collection: col.Name, Snapshot: n}, seen, start)
	if err != nil {
		return err
	}
	return s.dropMissed(ctx, v, col)
}

// readopt adopts a collection that had been stopped before anything of it was published.
func (s *sequencer) readopt(ctx context.Context, v *catalog.View, was *ledgerCollection, seen *catalog.Collection) error {
	if !s.task.Selects(was.Database, was.Name) {
		return fmt.Errorf("the task does not select %s any more", was.qualified())
	}
	s.forget(was)
	wait, err := s.adopt(ctx, v, seen)
	if wait != "" {
		err = errors.New(wait)
	}
	if err != nil {
		s.ledger.collections[was.ID] = was
	}
	return err
}

// dropMissed publishes the drop of partitions that went while nothing was read.
func (s *sequencer) dropMissed(ctx context.Context, v *catalog.View, col *ledgerCollection) error {
	var ids []int64
	for id := range col.Partitions {
		if v.PartitionGone(col.ID, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		if err := s.publishDropPartition(ctx, col, id, s.now()); err != nil {
			return err
		}
	}
	return nil
}

// named is the collection that was published under the name, or nil.
func (s *sequencer) named(n jetstream.QualifiedName) *ledgerCollection {
	for _, c := range s.ledger.collections {
		if c.qualified() == n {
			return c
		}
	}
	return nil
}

// errNoAPI says that rows can't be read from the source.
var errNoAPI = errors.New("the bridge does not know the source's API: set KITESTREAM_SOURCE_MILVUS_URI for the bridges")

// over reports whether nothing more of the collection is published: it is stopped, or copied and not to be followed.
func (s *sequencer) over(col *ledgerCollection) bool { return col.Stopped != "" || s.parted(col) }

// parted reports whether the collection has been copied and is not to be followed: what becomes of it on the source, its drop
// too, is none of the targets' business any more.
func (s *sequencer) parted(col *ledgerCollection) bool {
	return s.task.Snapshot == jetstream.SnapshotOnly && col.Copy != nil && col.Copy.Done
}
