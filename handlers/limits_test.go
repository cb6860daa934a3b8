package handlers_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

// rowsOf is n rows with values of size bytes.
func rowsOf(n, size int) []row {
	out := make([]row, n)
	for i := range out {
		out[i] = row{int64(i), strings.Repeat("x", size)}
	}
	return out
}

// TestCallsAreCut looks at what one call carries at most.
func TestCallsAreCut(t *testing.T) {
	var mu sync.Mutex
	var upserts, bytes, deletes []int
	target := &fake{
		UpsertFunc: func(_ context.Context, _ handlers.Ref, _ string, r *rows.Rows) error {
			mu.Lock()
			defer mu.Unlock()
			upserts, bytes = append(upserts, r.Len()), append(bytes, r.Size())
			return nil
		},
		DeleteFunc: func(_ context.Context, _ handlers.Ref, _ string, keys rows.Keys) error {
			mu.Lock()
			defer mu.Unlock()
			deletes = append(deletes, keys.Len())
			return nil
		},
	}
	b := eventsOf(t, "c", 1)
	all := b.insert("a", rowsOf(100, 50)...)
	keys := make([]int64, 100)
	for i := range keys {
		keys[i] = int64(i)
	}
	mustApply(t, newHandlers(t, target, handlers.Options{MaxRows: 30}), all)
	mustApply(t, newHandlers(t, target, handlers.Options{MaxRows: 30}), b.remove("a", keys...))
	slices.Sort(upserts)
	slices.Sort(deletes)
	if want := []int{10, 30, 30, 30}; !slices.Equal(upserts, want) || !slices.Equal(deletes, want) {
		t.Errorf("upserts of %v rows and deletes of %v keys, want %v", upserts, deletes, want)
	}
	upserts, bytes, deletes = nil, nil, nil
	const most, overhead = 1000, 100 // the fields' names and lengths come on top
	mustApply(t, newHandlers(t, target, handlers.Options{MaxBytes: most}), all)
	mustApply(t, newHandlers(t, target, handlers.Options{MaxBytes: most}), b.remove("a", keys...))
	if len(bytes) < 2 || slices.Max(bytes) > most+overhead || slices.Max(bytes) < most/2 {
		t.Errorf("upserts of %v bytes, want about %d", bytes, most)
	}
	if len(deletes) != 2 {
		t.Errorf("deletes of %v keys, want two", deletes)
	}
	upserts = nil
	mustApply(t, newHandlers(t, target, handlers.Options{MaxBytes: 1}), b.insert("a", rowsOf(3, 50)...))
	if want := []int{1, 1, 1}; !slices.Equal(upserts, want) {
		t.Errorf("upserts of %v rows, want %v: a row is never cut", upserts, want)
	}
}

// TestOnePartitionIsWrittenBySeveralCallsAtOnce has rows for four calls.
func TestOnePartitionIsWrittenBySeveralCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &fake{UpsertFunc: func(context.Context, handlers.Ref, string, *rows.Rows) error {
			<-time.After(time.Second)
			return nil
		}}
		began := time.Now()
		mustApply(t, newHandlers(t, target, handlers.Options{MaxRows: 10}), eventsOf(t, "c", 1).insert("a", rowsOf(40, 1)...))
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %s, want as long as one call", took)
		}
	})
}

func TestTooLargeIsHalved(t *testing.T) {
	var sizes []int
	target := &fake{UpsertFunc: func(_ context.Context, _ handlers.Ref, _ string, r *rows.Rows) error {
		sizes = append(sizes, r.Len())
		if r.Len() > 20 {
			return refused(handlers.TooLarge, "KS-P-TOOLARGE")
		}
		return nil
	}}
	mustApply(t, newHandlers(t, target, handlers.Options{Concurrency: 1}), eventsOf(t, "c", 1).insert("a", rowsOf(64, 1)...))
	if want := []int{64, 32, 16, 16, 16, 16}; !slices.Equal(sizes, want) {
		t.Errorf("calls of %v rows, want %v", sizes, want)
	}
}

// TestEndOfContextIsNoErrorOfTheTarget ends the context while a call is under way.
func TestEndOfContextIsNoErrorOfTheTarget(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	target := &fake{UpsertFunc: func(ctx context.Context, _ handlers.Ref, _ string, _ *rows.Rows) error {
		cancel()
		return ctx.Err()
	}}
	h := newHandlers(t, target, handlers.Options{OnWait: func(*handlers.Error, time.Time) { told++ }})
	res := h.Apply(ctx, []*jetstream.Event{eventsOf(t, "c", 1).insert("a", row{1, "v"})})
	if res.Err == nil || told != 0 {
		t.Errorf("Apply = %+v, told of %d errors", res, told)
	}
}

// TestPartitionKeyFoldsDeletes leaves a delete out whose row is upserted after it.
func TestPartitionKeyFoldsDeletes(t *testing.T) {
	m := newMemory(t)
	target := m.fake()
	target.ShapeFunc = func(context.Context, handlers.Ref) (handlers.Shape, error) {
		return handlers.Shape{Key: "id", PartitionKey: true}, nil
	}
	b := eventsOf(t, "c", 1)
	mustApply(t, newHandlers(t, target, handlers.Options{}), b.remove("", 1), b.insert("_default_3", row{1, "v"}))
	if m.calls != 1 {
		t.Errorf("%d calls, want 1", m.calls)
	}
}
