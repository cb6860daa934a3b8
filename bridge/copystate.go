package bridge

import (
	"encoding/json"
	"fmt"
	"time"

	"kitestream/bridge/scan"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

// begun notes that existing rows follow, if the creation says so. Whatever had stopped the collection is mended by them.
func (c *ledgerCollection) begun(e *jetstream.Event) error {
	if e.Snapshot == 0 || c.Copy != nil && c.Copy.N >= e.Snapshot {
		return nil
	}
	var start copyStart
	if err := json.Unmarshal([]byte(e.Resume), &start); err != nil {
		return fmt.Errorf("event %s: what it says of its snapshot can't be read: %w", e.ID, err)
	}
	next := &ledgerCopy{N: e.Snapshot, Target: e.Target, Since: start.Since, Load: start.Load, Prune: start.Prune, Present: start.Present}
	switch {
	case e.Target == "" && (c.Copy == nil || start.Prune):
		next.Passed = start.Since
	case c.Copy != nil: // there are targets that have rows, and wait for what the queue has of their changes
		next.Passed = c.Copy.Passed
	}
	if e.Target == "" {
		c.Stopped = ""
	}
	c.Copy = next
	return nil
}

// ended notes that all existing rows are on the stream.
func (c *ledgerCollection) ended(e *jetstream.Event) {
	if c.copying() && c.Copy.N == e.Snapshot {
		done := *c.Copy
		done.Done = true
		c.Copy = &done
	}
}

// loadedForCopy reports whether what of the collection is loaded on the source is so for its copy, and no state to replicate.
func (c *ledgerCollection) loadedForCopy() bool { return c.copying() && c.Copy.Load }

// showCopy has the status say how far the copy of a collection is.
func (s *sequencer) showCopy(c *ledgerCollection, cs *jetstream.CollectionStatus) {
	if c.Copy == nil || c.Copy.Present {
		return
	}
	st := &jetstream.SnapshotStatus{Number: c.Copy.N, Target: c.Copy.Target, Done: c.Copy.Done, Rows: c.Copy.Rows}
	cs.Snapshot = st
	switch {
	case cs.State == "stopped":
	case c.copying():
		cs.State = "copying"
	case s.over(c):
		cs.State = "copied"
	}
	run := s.runs[c.ID]
	if run == nil || !c.copying() {
		return
	}
	st.Error = run.waits
	if run.all != unknown {
		st.Total = run.all
	}
	if took := time.Since(run.begun).Seconds(); took > 0 && run.rows > 0 {
		st.Rate = float64(run.rows) / took
		st.Seconds = max(0, float64(st.Total-st.Rows)/st.Rate)
	}
}

// rowKey is a key as rows have it.
func rowKey(k scan.Key) rows.Key {
	n, _ := k.Int()
	t, _ := k.Text()
	return rows.Key{Int: n, String: t}
}

func rowKeyOrNil(k scan.Key) *rows.Key {
	if k.IsZero() {
		return nil
	}
	key := rowKey(k)
	return &key
}

// scanKey is a key of the collection as the source's API has it.
func scanKey(k rows.Key, of *ledgerCollection) scan.Key {
	if of.Strings {
		return scan.StringKey(k.String)
	}
	return scan.IntKey(k.Int)
}

func appendKey(to rows.Keys, k scan.Key) rows.Keys {
	if t, ok := k.Text(); ok {
		to.Strings = append(to.Strings, t)
	} else if n, ok := k.Int(); ok {
		to.Ints = append(to.Ints, n)
	}
	return to
}
