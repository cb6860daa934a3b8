package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"kitestream/jetstream"
)

// Of a stream goes what is older than the task's history, what every target has applied, and what a bridge that begins anew does not
// look at: its records are written before, and say at least as much.

const (
	trimEvery   = time.Minute      // between looks at what may go
	pressedLook = 5 * time.Second  // between looks whether the stream is nearly full
	trimTimeout = 30 * time.Second // for one round of it
	keptAtLeast = 10 * time.Second // of history, however full the stream is
	nearlyFull  = 0.75             // of the bytes that the stream may have

	keepEvery = time.Minute // between records of what the stream need not tell any more, while it grows
	keepBytes = 128 << 20   // and after so many bytes, or an eighth of what the stream may have
	headroom  = 1 << 20     // bytes for the take-over of a stream that is full
)

// ensureStream makes the task's stream. One that is full has to take the event of a take-over.
func (b *Bridge) ensureStream(ctx context.Context) error {
	task := b.cfg.Task.Spec.Name
	most := b.cfg.Task.Spec.StreamBytes()
	held, err := jetstream.StreamHolds(ctx, b.cfg.JS, task)
	if err != nil && !errors.Is(err, jetstream.ErrStreamGone) {
		return err
	}
	if most > 0 {
		most = max(most, int64(held.Bytes)+headroom) //nolint:gosec // no stream has 2^63 bytes
	}
	return jetstream.EnsureStream(ctx, b.cfg.JS, task, jetstream.StreamConfig{MaxBytes: most})
}

// runTrim trims again and again until ctx ends.
func (b *Bridge) runTrim(ctx context.Context, saved *saver) error {
	if b.cfg.Needed == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	every := b.cfg.TrimEvery
	if every == 0 {
		every = pressedLook
	}
	look := time.NewTicker(every)
	defer look.Stop()
	last := time.Now()
	for {
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		within, cancel := context.WithTimeout(ctx, trimTimeout)
		due := b.cfg.TrimEvery > 0 || time.Since(last) >= trimEvery
		if due {
			last = time.Now()
		}
		if err := b.trim(within, saved, due); err != nil && ctx.Err() == nil {
			b.cfg.Log.Warn("stream not trimmed", keyError, err)
		}
		cancel()
	}
}

// trim removes what may go, if that is due or the stream is nearly full.
func (b *Bridge) trim(ctx context.Context, saved *saver, due bool) error {
	task := b.cfg.Task.Spec.Name
	held, err := jetstream.StreamHolds(ctx, b.cfg.JS, task)
	if err != nil {
		return err
	}
	pressed := b.pressed(held)
	if held.Last < held.First || !due && !pressed {
		return nil
	}
	before, err := b.old(ctx, held, pressed)
	if err != nil || before <= held.First {
		return err
	}
	needed, err := b.cfg.Needed(ctx)
	if err != nil {
		return err
	}
	if before = min(before, needed); before <= held.First {
		return nil
	}
	if before, err = b.spare(ctx, saved, before); err != nil || before <= held.First {
		return err
	}
	if err := jetstream.Trim(ctx, b.cfg.JS, task, before); err != nil {
		return err
	}
	b.cfg.Log.Debug("stream trimmed", "task", task, "from", held.First, "before", before)
	b.cfg.Metrics.trimmed.WithLabelValues(task).Add(float64(before - held.First))
	return nil
}

// pressed reports whether the stream will soon take no more.
func (b *Bridge) pressed(held jetstream.Held) bool {
	most := b.cfg.Task.Spec.StreamBytes()
	return most > 0 && float64(held.Bytes) > nearlyFull*float64(most)
}

// old is the first event that the history keeps. A stream that is nearly full gives up to half of its events, but not the youngest.
func (b *Bridge) old(ctx context.Context, held jetstream.Held, pressed bool) (uint64, error) {
	task, now := b.cfg.Task.Spec.Name, time.Now()
	before, err := jetstream.PublishedBefore(ctx, b.cfg.JS, task, now.Add(-b.cfg.Task.Spec.HistoryKept()))
	if err != nil || !pressed {
		return before, err
	}
	young, err := jetstream.PublishedBefore(ctx, b.cfg.JS, task, now.Add(-keptAtLeast))
	return max(before, min(young, held.First+(held.Last-held.First)/2+1)), err
}

// spare gives the first event that has to stay so that a bridge that begins anew knows where to go on, what fences others off, and what it
// has given each lane. It asks nothing of a sequencer that waits for room on the stream, or there would never be any.
func (b *Bridge) spare(ctx context.Context, saved *saver, before uint64) (uint64, error) {
	task := b.cfg.Task.Spec.Name
	if !b.learned {
		within, cancel := context.WithTimeout(ctx, pressedLook)
		err := b.learnSums(within)
		cancel()
		if err != nil && within.Err() == nil {
			return 0, err
		}
		b.learned = err == nil
	}
	before = min(before, saved.kept.Load()+1)
	fence, err := jetstream.LastFence(ctx, b.cfg.JS, task)
	if err != nil {
		return 0, fmt.Errorf("read the last take-over of task %s: %w", task, err)
	}
	before = min(before, fence)
	for name, at := range saved.points() {
		e, err := jetstream.LastEvent(ctx, b.cfg.JS, task, jetstream.ChannelSubjects(task, name))
		if errors.Is(err, jetstream.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read the last event of channel %s: %w", name, err)
		}
		last, err := ParseResume(e.Resume)
		if err != nil {
			return 0, fmt.Errorf("event %s: %w", e.ID, err)
		}
		if last.TS >= at.TS { // it says how far into its window the stream is
			before = min(before, e.Seq)
		}
	}
	return before, nil
}

// learnSums has the sequencer know how many rows each lane was given of each collection, which only the last event on the stream may tell.
// It is asked beside the sequencer: of many collections that takes a while, once in a bridge's life.
func (b *Bridge) learnSums(ctx context.Context) error {
	type unknown struct {
		col  ledgerCollection
		lane int
	}
	var all []unknown
	err := b.order(ctx, func(_ context.Context, s *sequencer) error {
		for _, col := range s.ledger.collections {
			for lane := range s.task.Lanes {
				if _, known := s.sums[sumKey{col.ID, lane}]; !known && !col.Unmade {
					all = append(all, unknown{*col, lane})
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	sums := map[sumKey]uint64{}
	for _, u := range all {
		if sums[sumKey{u.col.ID, u.lane}], err = b.rowSum(ctx, &u.col, u.lane); err != nil {
			return fmt.Errorf("read how many rows of %s lane %d was given: %w", u.col.qualified(), u.lane, err)
		}
	}
	return b.order(ctx, func(_ context.Context, s *sequencer) error {
		for key, n := range sums {
			if _, known := s.sums[key]; !known && s.ledger.collections[key.collection] != nil {
				s.sums[key] = n
			}
		}
		s.learned, s.keptAt = true, time.Time{} // to be written now
		return nil
	})
}

// restoreSums is learnSums for a bridge whose stream may be full at once, when its sequencer could not be asked any more.
func (b *Bridge) restoreSums(ctx context.Context, s *sequencer) (err error) {
	if len(s.ledger.collections) > 0 && s.task.StreamBytes() == 0 {
		return nil
	}
	for _, col := range s.ledger.collections {
		for lane := range s.task.Lanes {
			if s.sums[sumKey{col.ID, lane}], err = b.rowSum(ctx, col, lane); err != nil {
				return fmt.Errorf("read how many rows of %s lane %d was given: %w", col.qualified(), lane, err)
			}
		}
	}
	s.learned, b.learned = true, true
	return nil
}

// keepDue reports whether so much has been published since keep that it is to be done again.
func (s *sequencer) keepDue() bool {
	most := int64(keepBytes)
	if all := s.task.StreamBytes(); all > 0 {
		most = min(most, all/8)
	}
	return s.keptAt.IsZero() || s.handed > most || s.handed > 0 && time.Since(s.keptAt) >= s.keepEvery
}

// keep has all written that a bridge otherwise finds on the stream, so that what the stream holds so far may go.
func (s *sequencer) keep(ctx context.Context, saved *saver) error {
	if s.handed > 0 {
		if err := s.hand(ctx, jetstream.FenceAgain(s.epoch, s.holder, time.Now().UnixNano())); err != nil {
			return err
		}
	}
	s.handed, s.keptAt = 0, time.Now()
	for key, n := range s.sums {
		col := s.ledger.collections[key.collection]
		if col == nil || col.Sums[key.lane] == n {
			continue
		}
		sums := maps.Clone(col.Sums) // what is being written has the other
		if sums == nil {
			sums = map[int]uint64{}
		}
		sums[key.lane] = n
		col.Sums = sums
	}
	if s.side != nil && s.side.last != "" {
		at := s.side.last
		s.ledger.side = &at
	}
	s.progress.dirty()
	saved.save(s, s.learned)
	return nil
}
