package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/sync/errgroup"

	"kitestream/jetstream"
)

// source names a collection as the source has it. Its id tells it from an older one of the same name.
type source struct {
	Ref
	id int64
}

func sourceOf(e *jetstream.Event) source {
	return source{Ref{e.Database, e.Collection}, e.CollectionID}
}

// batch is what Apply knows of the events it was given.
type batch struct {
	h       *Handlers
	pending []source // in the order of their first rows
	folds   map[source]*fold

	mu     sync.Mutex // guards what is below: flush stops collections at the same time
	stops  []Stopped
	unmet  []Unmet
	passed map[source]bool // stopped; the rest of their events are passed over
}

func (h *Handlers) newBatch() *batch {
	return &batch{h: h, folds: map[source]*fold{}, passed: map[source]bool{}}
}

// take takes the next event in. Rows are only folded; before anything else, what has been folded and is concerned
// goes to the target. The error ends Apply.
func (b *batch) take(ctx context.Context, e *jetstream.Event) error {
	if b.over(sourceOf(e)) {
		return nil
	}
	if e.Kind.Rows() {
		return b.fold(ctx, e)
	}
	if e.Kind.ForBridges() {
		return nil
	}
	define, ok := b.h.table[e.Kind]
	if !ok {
		return b.stop(sourceOf(e), permanent(CodeEvent, fmt.Errorf("this version can't apply %s, event %s", e.Kind, e.ID)))
	}
	if err := b.flush(ctx, concernedBy(e)); err != nil {
		return err
	}
	if b.over(sourceOf(e)) {
		return nil
	}
	placed, err := b.h.placement.place(e)
	if err == nil && placed == nil {
		b.h.m.filteredEvents.WithLabelValues(b.h.o.Task, b.h.o.Target, string(e.Kind)).Inc()
		return nil
	}
	j := job{op: op(e.Kind), name: nameOf(e), optional: optional(e.Kind)}
	if err == nil {
		err = b.h.call(ctx, j, func(ctx context.Context) error { return define(ctx, placed) })
	}
	if b.h.placement.leftOver(e, err) {
		err = nil
	}
	if err == nil {
		b.h.m.events.WithLabelValues(b.h.o.Task, b.h.o.Target, string(e.Kind)).Inc()
		return nil
	}
	if j.optional {
		return b.goOn(e, err)
	}
	return b.stop(sourceOf(e), err)
}

// optional reports whether a target can go on without the event: no row depends on it.
func optional(k jetstream.Kind) bool { return k.Optional() || k == jetstream.Flush }

// goOn goes on without an event that the target refused. A setting is kept as unmet; a flush is over, as its moment is.
// Any other error ends Apply, and is returned.
func (b *batch) goOn(e *jetstream.Event, err error) error {
	var refused *Error
	if !errors.As(err, &refused) {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.Kind.Optional() {
		b.unmet = append(b.unmet, Unmet{Event: e, Code: refused.Code, Err: err})
	}
	b.h.m.unmet.WithLabelValues(b.h.o.Task, b.h.o.Target, string(e.Kind)).Inc()
	b.h.o.Log.Info("target goes on without a setting", slog.String(keyDatabase, e.Database),
		slog.String(keyCollection, e.Collection), slog.String(keyKind, string(e.Kind)), slog.String(keyCode, refused.Code),
		slog.Any(keyError, err))
	return nil
}

// fold adds the event to those of its collection.
func (b *batch) fold(ctx context.Context, e *jetstream.Event) error {
	s := sourceOf(e)
	f := b.folds[s]
	if f == nil {
		var shape Shape
		err := b.h.call(ctx, job{op: opShape, name: s.String()}, func(ctx context.Context) (err error) {
			shape, err = b.h.target.Shape(ctx, b.h.placement.refOf(s.Ref))
			return err
		})
		if err != nil {
			return b.stop(s, err)
		}
		f = newFold(shape, b.h.placement.ruleOf(s.Ref))
		b.folds[s], b.pending = f, append(b.pending, s)
	}
	if err := f.add(e); err != nil {
		// What came before is good, and goes out at the end of the batch.
		return b.stop(s, permanent(CodeEvent, err))
	}
	return nil
}

// concern says whether a collection has to be flushed.
type concern func(Ref) bool

func everything(Ref) bool { return true }

// concernedBy is the collection that the event is about, or all those of its database.
func concernedBy(e *jetstream.Event) concern {
	return func(r Ref) bool {
		return r.Database == e.Database && (e.Collection == "" || r.Collection == e.Collection)
	}
}

// flush sends what has been folded of some collections, at the same time. The error ends Apply.
func (b *batch) flush(ctx context.Context, which concern) error {
	group, ctx := errgroup.WithContext(ctx)
	var rest []source
	for _, s := range b.pending {
		if !which(s.Ref) {
			rest = append(rest, s)
			continue
		}
		f := b.folds[s]
		delete(b.folds, s)
		group.Go(func() error {
			err := b.h.send(ctx, b.h.placement.refOf(s.Ref), f)
			if err == nil {
				b.h.count(f)
				b.h.failing(s, f)
			}
			return b.stop(s, err)
		})
	}
	b.pending = rest
	return group.Wait()
}

// send sends one collection's fold: first the deletes, then the upserts (see fold).
func (h *Handlers) send(ctx context.Context, ref Ref, f *fold) error {
	deletes, ctxD := errgroup.WithContext(ctx)
	for _, d := range f.deletions() {
		for _, keys := range h.o.cutKeys(d.keys) {
			deletes.Go(func() error { return h.remove(ctxD, ref, d.partition, keys) })
		}
	}
	if err := deletes.Wait(); err != nil {
		return err
	}
	upserts, ctxU := errgroup.WithContext(ctx)
	for _, u := range f.upsertions() {
		for _, refs := range h.cut(u) {
			upserts.Go(func() error { return h.upsert(ctxU, ref, u, refs) })
		}
	}
	return upserts.Wait()
}

// count counts what the fold was made of as applied or left out (guarantee 5).
func (h *Handlers) count(f *fold) {
	for kind, t := range f.counts {
		h.m.events.WithLabelValues(h.o.Task, h.o.Target, string(kind)).Add(float64(t.events))
		h.m.rows.WithLabelValues(h.o.Task, h.o.Target, string(kind)).Add(float64(t.rows))
		if t.rowsLeft == 0 {
			continue
		}
		h.m.filteredEvents.WithLabelValues(h.o.Task, h.o.Target, string(kind)).Add(float64(t.eventsLeft))
		h.m.filteredRows.WithLabelValues(h.o.Task, h.o.Target, string(kind)).Add(float64(t.rowsLeft))
		h.m.ruleFailures.WithLabelValues(h.o.Task, h.o.Target).Add(float64(t.failed))
	}
}

// stop stops the collection if err is that of a refused call. Any other error ends Apply, and is returned.
func (b *batch) stop(s source, err error) error {
	var refused *Error
	if !errors.As(err, &refused) {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.passed[s] {
		return nil
	}
	// An event about a database stops nothing: see Stopped.
	b.passed[s] = s.Collection != ""
	b.stops = append(b.stops, Stopped{
		Database: s.Database, Collection: s.Collection, CollectionID: s.id, Code: refused.Code, Err: err,
	})
	b.h.m.stops.WithLabelValues(b.h.o.Task, b.h.o.Target).Inc()
	b.h.o.Log.Info("collection stopped on target", slog.String(keyDatabase, s.Database),
		slog.String(keyCollection, s.Collection), slog.String(keyCode, refused.Code), slog.Any(keyError, err))
	return nil
}

// over reports whether the collection has been stopped.
func (b *batch) over(s source) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.passed[s]
}

// result is what became of the batch, which ended with err.
func (b *batch) result(err error) Result {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Result{Err: err, Stopped: b.stops, Unmet: b.unmet}
}
