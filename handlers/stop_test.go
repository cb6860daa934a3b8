package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

func TestUnclearErrorsStopTheCollectionAfterPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		target := m.fake()
		target.UpsertFunc = func(ctx context.Context, ref handlers.Ref, p string, r *rows.Rows) error {
			if ref.Collection == "bad" {
				return errors.New("what?")
			}
			return m.upsert(ctx, ref, p, r)
		}
		h := newHandlers(t, target, handlers.Options{Patience: time.Minute})
		began := time.Now()
		res := apply(t, h, eventsOf(t, "bad", 7).insert("a", row{1, "v"}), eventsOf(t, "c", 1).insert("a", row{1, "v"}))
		if res.Err != nil || len(res.Stopped) != 1 || res.Stopped[0].CollectionID != 7 || res.Stopped[0].Code != handlers.CodeUnknown {
			t.Fatalf("Apply = %+v", res)
		}
		if took := time.Since(began); took < time.Minute || took > 70*time.Second {
			t.Errorf("took %s, want a minute and little more", took)
		}
		if m.at(testRef)[cell{"a", 1}] != "v" {
			t.Error("the other collection's row is not there")
		}
	})
}

func TestPermanentErrorStopsOnlyItsCollection(t *testing.T) {
	m := newMemory(t)
	target := m.fake()
	target.UpsertFunc = func(ctx context.Context, ref handlers.Ref, p string, r *rows.Rows) error {
		if ref.Collection == "bad" {
			return refused(handlers.Permanent, "KS-P-X")
		}
		return m.upsert(ctx, ref, p, r)
	}
	partitions := 0
	target.CreatePartitionFunc = func(context.Context, handlers.Ref, string) error { partitions++; return nil }
	good, bad := eventsOf(t, "c", 1), eventsOf(t, "bad", 2)
	res := apply(t, newHandlers(t, target, handlers.Options{}),
		bad.insert("a", row{1, "v"}), good.insert("a", row{1, "v1"}),
		bad.define(jetstream.CreatePartition, "p"), // flushes, finds out, and is passed over
		bad.insert("a", row{2, "v"}), good.insert("a", row{2, "v2"}), bad.remove("", 1))
	if res.Err != nil || len(res.Stopped) != 1 {
		t.Fatalf("Apply = %+v", res)
	}
	s := res.Stopped[0]
	if s.Database != "db" || s.Collection != "bad" || s.CollectionID != 2 || s.Code != "KS-P-X" ||
		s.Err.Error() != "KS-P-X: upsert db.bad: because" {
		t.Errorf("stopped %+v", s)
	}
	if partitions != 0 {
		t.Error("an event of the stopped collection was carried out")
	}
	want := map[cell]string{{"a", 1}: "v1", {"a", 2}: "v2"}
	if got := m.at(testRef); !maps.Equal(got, want) {
		t.Errorf("rows %v, want %v", got, want)
	}
}

func TestStoppedCollectionIsToldFromItsSuccessor(t *testing.T) {
	m := newMemory(t)
	target := m.fake()
	first := true
	target.UpsertFunc = func(ctx context.Context, ref handlers.Ref, p string, r *rows.Rows) error {
		if first {
			first = false
			return refused(handlers.Permanent, "KS-P-X")
		}
		return m.upsert(ctx, ref, p, r)
	}
	old, next := eventsOf(t, "c", 1), eventsOf(t, "c", 2)
	res := apply(t, newHandlers(t, target, handlers.Options{}),
		old.insert("a", row{1, "old"}), old.define(jetstream.DropCollection, ""),
		next.define(jetstream.CreateCollection, ""), next.insert("a", row{1, "new"}))
	if res.Err != nil || len(res.Stopped) != 1 || res.Stopped[0].CollectionID != 1 {
		t.Fatalf("Apply = %+v", res)
	}
	if got := m.at(testRef)[cell{"a", 1}]; got != "new" {
		t.Errorf("the new collection's row is %q", got)
	}
}

func TestUnreadableEventStopsItsCollectionAfterWhatCameBefore(t *testing.T) {
	for name, spoil := range map[string]func(b *events) *jetstream.Event{
		"insert": func(b *events) *jetstream.Event { e := b.insert("a", row{2, "v"}); e.Body = e.Body[:9]; return e },
		"delete": func(b *events) *jetstream.Event { e := b.remove("a", 2); e.Body = []byte{0xff}; return e },
		"no key": func(b *events) *jetstream.Event { e := b.insert("a"); e.Body = nil; return e },
		"delete in a partition without a name": func(b *events) *jetstream.Event {
			e := b.remove("", 2)
			e.PartitionID = 5
			return e
		},
		"create": func(b *events) *jetstream.Event {
			e := b.define(jetstream.CreateCollection, "")
			e.Body = []byte{0xff}
			return e
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, b := newMemory(t), eventsOf(t, "c", 1)
			res := apply(t, newHandlers(t, m.fake(), handlers.Options{}), b.insert("a", row{1, "v"}), spoil(b), b.insert("a", row{3, "v"}))
			if res.Err != nil || len(res.Stopped) != 1 || res.Stopped[0].Code != handlers.CodeEvent {
				t.Fatalf("Apply = %+v", res)
			}
			if want := (map[cell]string{{"a", 1}: "v"}); !maps.Equal(m.at(testRef), want) {
				t.Errorf("rows %v, want %v", m.at(testRef), want)
			}
		})
	}
}

func TestDatabaseEventStopsNothingElse(t *testing.T) {
	m := newMemory(t)
	target := m.fake()
	target.DropDatabaseFunc = func(context.Context, string) error { return refused(handlers.Permanent, "KS-P-X") }
	created := 0
	target.CreateDatabaseFunc = func(context.Context, string) error { created++; return nil }
	b := eventsOf(t, "c", 1)
	res := apply(t, newHandlers(t, target, handlers.Options{}), b.ofDatabase(jetstream.DropDatabase),
		b.ofDatabase(jetstream.CreateDatabase), b.insert("a", row{1, "v"}))
	if res.Err != nil || len(res.Stopped) != 1 || res.Stopped[0].Collection != "" || len(m.at(testRef)) != 1 || created != 1 {
		t.Errorf("Apply = %+v, rows %v, database created %d times", res, m.at(testRef), created)
	}
}

func TestShapeIsRetriedAndCanStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &fake{}
		fail := failing(2, refused(handlers.Transient, "KS-T-X"), func() error { return refused(handlers.Permanent, "KS-P-NOCOLLECTION") })
		target.ShapeFunc = func(context.Context, handlers.Ref) (handlers.Shape, error) { return handlers.Shape{}, fail() }
		b := eventsOf(t, "c", 1)
		res := apply(t, newHandlers(t, target, handlers.Options{}), b.insert("a", row{1, "v"}), b.insert("a", row{2, "v"}))
		if res.Err != nil || len(res.Stopped) != 1 || res.Stopped[0].Code != "KS-P-NOCOLLECTION" {
			t.Errorf("Apply = %+v", res)
		}
	})
}

func TestWaitersLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var done time.Duration
		target := &fake{UpsertFunc: func(_ context.Context, ref handlers.Ref, _ string, _ *rows.Rows) error {
			if ref.Collection == "good" {
				done = time.Since(began)
				return nil
			}
			return errors.New("what?")
		}}
		var batch []*jetstream.Event
		for c := range 8 {
			batch = append(batch, eventsOf(t, fmt.Sprint("bad", c), int64(c)).insert("a", row{1, "v"}))
		}
		batch = append(batch, eventsOf(t, "good", 99).insert("a", row{1, "v"}))
		res := apply(t, newHandlers(t, target, handlers.Options{Concurrency: 2}), batch...)
		if res.Err != nil || len(res.Stopped) != 8 || done > time.Second {
			t.Errorf("Apply = %+v; the good collection was written after %s", res, done)
		}
	})
}

func TestRowsOfDifferentFieldsGoApart(t *testing.T) {
	var mu sync.Mutex
	var got [][]string
	target := &fake{UpsertFunc: func(_ context.Context, _ handlers.Ref, _ string, r *rows.Rows) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Fields())
		return nil
	}}
	b := eventsOf(t, "c", 1)
	short := b.insert("a", row{1, "v"}, row{2, "v"})
	body, err := rows.ParseInsert(short.Body)
	if err != nil {
		t.Fatal(err)
	}
	body.Rows = body.Rows.Without("v")
	short.Body = body.Append(nil)
	mustApply(t, newHandlers(t, target, handlers.Options{}), short, b.insert("a", row{3, "v"}), b.insert("a", row{4, "v"}))
	if len(got) != 2 || len(got[0]) != 1 || len(got[1]) != 2 {
		t.Errorf("calls with fields %q", got)
	}
}
