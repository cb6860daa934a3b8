package bridge

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"kitestream/bridge/catalog"
	"kitestream/bridge/scan"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

// Existing rows are copied beside the live changes, after the watermark method of DBLog (Andreakis and Papapanagiotou, 2020),
// with the source's own timestamps for watermarks. A page of rows is read that the source held at some time between low and
// high. It goes onto the stream when every channel of the collection has come to high: less those rows whose keys a live
// change after low named, for the change is newer or its row was read with it. So a row of the copy never comes after a
// newer change, and what no change named is as it was at low.

// ledgerCopy is a copy of a collection's existing rows. It never changes: another takes its place.
type ledgerCopy struct {
	N      int    `json:"n"`                // which copy of the collection it is, from 1
	Target string `json:"target,omitempty"` // the only target that it is for; empty: it is for all
	Since  uint64 `json:"since"`            // source timestamp: all later changes are in what is read of the queue
	Passed uint64 `json:"passed"`           // source timestamp: all rows up to here are passed over in the queue, a copy having them
	Prune  bool   `json:"prune,omitempty"`  // rows of the target that the source does not have go
	Load   bool   `json:"load,omitempty"`   // the collection is loaded for it, and released after
	Done   bool   `json:"done,omitempty"`
	// Present: the targets have had the rows already, and none is copied.
	Present bool `json:"present,omitempty"`

	Place copyPlace `json:"place,omitzero"`
	Rows  int64     `json:"rows,omitempty"` // read so far
}

// copyPlace is where a copy goes on. Partitions are copied in the order of their ids; the zero value is before all.
type copyPlace struct {
	Partition int64    `json:"partition"` // all up to it are copied, and it too unless Within
	Within    bool     `json:"within,omitempty"`
	After     scan.Key `json:"after,omitzero"` // the last key that is copied of it, if Within
}

// copying reports whether there are existing rows still to come.
func (c *ledgerCollection) copying() bool { return c.Copy != nil && !c.Copy.Done }

// copyRun is what a bridge remembers of a collection of which rows are being read.
type copyRun struct {
	open    []*reading         // in the order in which they were asked
	touched map[touched]uint64 // what live changes named, and when last
	waits   string             // why the last reading failed
	retry   time.Time          // when to ask again

	next     copyPlace // where the copy goes on behind all that is open
	ended    bool      // nothing is left to be read
	released bool      // what was loaded for it is released again
	begun    time.Time
	rows     int64 // published in this run
	all      int64 // rows of the collection when the run began; unknown: not asked yet
}

// The bounds of copies.
const (
	copyRows  = 5000      // rows of a page
	copyAhead = 4         // pages of one collection that are read and not yet published
	copyReads = 4         // questions to the source at once
	copyKeys  = 1_000_000 // keys of live changes that a run remembers; beyond, what is open is read again
	copyRetry = 2 * time.Second
	unknown   = -1
)

// copies moves every copy as far as it goes.
func (s *sequencer) copies(ctx context.Context) (moved bool, err error) {
	for {
		select {
		case r := <-s.answers:
			s.reads--
			r.answered, moved = true, true
			s.progress.dirty()
			continue
		default:
		}
		break
	}
	if s.toCopy == 0 && len(s.runs) == 0 { // every turn comes by here
		return moved, nil
	}
	for _, id := range slices.Sorted(maps.Keys(s.ledger.collections)) {
		col := s.ledger.collections[id]
		if col.Stopped != "" || !col.copying() && s.runs[id] == nil {
			s.endRun(id, errStoppedMeanwhile)
			continue
		}
		ok, err := s.copy(ctx, col)
		if err != nil {
			return false, err
		}
		moved = moved || ok
	}
	for id := range s.runs {
		if s.ledger.collections[id] == nil {
			s.endRun(id, errStoppedMeanwhile)
		}
	}
	s.countCopies()
	return moved, nil
}

// countCopies has Sync know of how many collections existing rows are still to come.
func (s *sequencer) countCopies() {
	n := 0
	for _, col := range s.ledger.collections {
		if col.copying() && col.Stopped == "" {
			n++
		}
	}
	s.toCopy = n
	s.progress.copying(n)
	s.metrics.copying.WithLabelValues(s.task.Name).Set(float64(n))
}

// endRun gives up what is being read of a collection.
func (s *sequencer) endRun(id int64, why error) {
	if run := s.runs[id]; run != nil {
		delete(s.runs, id)
		delete(s.blocked, blockedCopy(id))
		run.giveUp(why)
	}
}

// giveUp lets go of all readings that are open; who waits for one is told why.
func (run *copyRun) giveUp(why error) {
	for _, r := range run.open {
		if r.done != nil {
			r.done(0, why)
		}
	}
	run.open = nil
	clear(run.touched)
}

func blockedCopy(id int64) string { return fmt.Sprintf("copy of collection %d", id) }

// runOf is what is remembered of the collection's readings from now on.
func (s *sequencer) runOf(col *ledgerCollection) *copyRun {
	run := s.runs[col.ID]
	if run == nil {
		run = &copyRun{touched: map[touched]uint64{}, begun: time.Now(), all: unknown}
		s.runs[col.ID] = run
		s.rewindRun(col, run)
	}
	return run
}

// rewindRun has a run go on where the ledger says.
func (s *sequencer) rewindRun(col *ledgerCollection, run *copyRun) {
	run.next, run.ended = copyPlace{}, true
	if col.copying() {
		run.next, run.ended = col.Copy.Place, false
	}
}

// copy publishes what has been read of a collection and may be published, and asks for more.
func (s *sequencer) copy(ctx context.Context, col *ledgerCollection) (moved bool, err error) {
	if s.runs[col.ID] == nil && (!s.allReached(col, col.Copy.Since+1) || !s.caughtUp(col)) {
		return false, nil // what was passed over before is in no page that is asked for then
	}
	run := s.runOf(col)
	for len(run.open) > 0 && run.open[0].answered {
		r := run.open[0]
		if r.err != nil {
			s.failed(col, run, r.err)
			break
		}
		if !s.allReached(col, r.high+1) {
			break
		}
		published, err := s.publishReading(ctx, col, run, r)
		if err != nil {
			return moved, err
		}
		if !published {
			break
		}
		run.open, moved = run.open[1:], true
	}
	if moved {
		run.forget()
	}
	if len(run.open) == 0 {
		s.rewindRun(col, run) // which goes on behind what has just been published
	}
	if col.Stopped != "" {
		return true, nil
	}
	if len(run.touched) > copyKeys {
		s.failed(col, run, errTooManyKeys)
	}
	s.askMore(col, run)
	if !run.ended || len(run.open) > 0 {
		return moved, nil
	}
	if !col.copying() { // a repair's
		s.endRun(col.ID, nil)
		return moved, nil
	}
	return true, s.finishCopy(ctx, col)
}

// caughtUp reports whether every channel of the collection is past what was on the stream when the bridge began: of that the bridge
// does not know which keys it named.
func (s *sequencer) caughtUp(col *ledgerCollection) bool {
	for _, name := range col.Channels {
		if c := s.channels[name]; c != nil && c.done != nil {
			return false
		}
	}
	return true
}

// failed has all that is open of the copy asked for again, after a while; a repair is told.
func (s *sequencer) failed(col *ledgerCollection, run *copyRun, why error) {
	run.waits, run.retry = why.Error(), time.Now().Add(copyRetry)
	s.blocked[blockedCopy(col.ID)] = fmt.Sprintf("copy of %s: %v", col.qualified(), why)
	s.log.Warn("existing rows could not be read; they are asked for again", keyCollection, col.qualified(), keyError, why)
	s.stale = true
	run.giveUp(why)
	s.rewindRun(col, run)
}

// forget lets go of keys that no open reading is older than.
func (run *copyRun) forget() {
	low := uint64(math.MaxUint64)
	for _, r := range run.open {
		low = min(low, r.low)
	}
	maps.DeleteFunc(run.touched, func(_ touched, ts uint64) bool { return ts <= low })
}

// touched is a key that a live change named, in one partition or in all of them.
type touched struct {
	partition int64
	key       rows.Key
}

// touch remembers the keys of a live change.
func (s *sequencer) touch(col *ledgerCollection, b *batch, ts uint64) {
	run := s.runs[col.ID]
	if run == nil || len(run.open) == 0 {
		return
	}
	partition := b.head.PartitionID
	if col.Keyed {
		partition = allPartitions
	}
	for i := range b.keys.Len() {
		t := touched{partition, b.keys.At(i)}
		run.touched[t] = max(run.touched[t], ts)
	}
}

// newer is when a live change last named the key of a row in a partition, as far as is remembered.
func (run *copyRun) newer(partition int64, k rows.Key) uint64 {
	return max(run.touched[touched{partition, k}], run.touched[touched{allPartitions, k}])
}

// askMore asks for the next page, if there is one and the one before has been answered.
func (s *sequencer) askMore(col *ledgerCollection, run *copyRun) {
	if run.ended || time.Now().Before(run.retry) || len(run.open) >= copyAhead || s.reads >= copyReads {
		return
	}
	if n := len(run.open); n > 0 {
		last := run.open[n-1]
		if !last.answered || last.err != nil || last.release {
			return
		}
		run.next = last.behind()
	}
	v := s.meta.View()
	seen := v.Collections[col.ID]
	name, db := nameOf(v, col.ID)
	if seen == nil || db == nil || seen.State != catalog.Created {
		return // it is being dropped
	}
	r := &reading{collection: col.ID, low: s.low(col), load: col.Copy.Load, count: run.all == unknown}
	var more bool
	if r.partition, r.page.After, more = run.next.behind(col, seen); !more {
		if run.ended = !col.Copy.Load || run.released; run.ended || len(run.open) > 0 {
			return
		}
		r.release = true
	}
	r.page.Limit = s.pageRows()
	run.open = append(run.open, r)
	s.ask(r, name.Database, name.Collection)
}

// behind is what a copy goes on with: a partition, and the key behind which; false when there is nothing left.
func (p copyPlace) behind(col *ledgerCollection, seen *catalog.Collection) (copyPartition, scan.Key, bool) {
	if col.Keyed { // its partitions have no names of their own; all of them together are number 1
		return copyPartition{id: 1}, p.After, p.Partition == 0 || p.Within
	}
	for _, id := range slices.Sorted(maps.Keys(seen.Partitions)) {
		switch part := seen.Partitions[id]; {
		case part.State != catalog.Created || id < p.Partition || id == p.Partition && !p.Within:
		case id == p.Partition:
			return copyPartition{id, part.Name}, p.After, true
		default:
			return copyPartition{id, part.Name}, scan.Key{}, true
		}
	}
	return copyPartition{}, scan.Key{}, false
}

// behind is where a copy goes on when the page is published.
func (r *reading) behind() copyPlace {
	return copyPlace{Partition: r.partition.id, Within: !r.rows.Done, After: r.rows.Last}
}

// low is a source timestamp up to which everything has been published of the collection, or was passed over before its
// copy began, and after which every change is still to come, so that its keys will be known.
func (s *sequencer) low(col *ledgerCollection) uint64 {
	var ts uint64
	if col.Copy != nil {
		ts = col.Copy.Since
	}
	for _, name := range col.Channels {
		if c := s.channels[name]; c != nil {
			ts = max(ts, c.resume.TS)
			if c.head != nil {
				ts = max(ts, c.head.to.TS)
			}
		}
	}
	return ts
}

// pageRows is how many rows a page has at most.
func (s *sequencer) pageRows() int {
	if s.rate != nil {
		return min(copyRows, s.rate.Burst())
	}
	return copyRows
}

// finishCopy ends a copy of which everything is published.
func (s *sequencer) finishCopy(ctx context.Context, col *ledgerCollection) error {
	s.endRun(col.ID, nil)
	s.log.Info("existing rows copied", keyCollection, col.qualified(), "rows", col.Copy.Rows, "snapshot", col.Copy.N)
	s.lookAgain()
	return s.publishSchema(ctx, &jetstream.Event{
		ID: fmt.Sprintf("%s:%d", schemaID(jetstream.EndSnapshot, col.ID), col.Copy.N), Kind: jetstream.EndSnapshot, TS: max(s.now(), col.Copy.Since),
		Database: col.Database, DatabaseID: col.DatabaseID, Collection: col.Name, CollectionID: col.ID, Snapshot: col.Copy.N,
	})
}
