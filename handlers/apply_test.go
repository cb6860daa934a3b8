package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

func newHandlers(t *testing.T, target handlers.Target, o handlers.Options) *handlers.Handlers {
	t.Helper()
	o.Task, o.Target = "task", "target"
	h, err := handlers.New(target, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func apply(t *testing.T, h *handlers.Handlers, batch ...*jetstream.Event) handlers.Result {
	t.Helper()
	return h.Apply(t.Context(), batch)
}

func mustApply(t *testing.T, h *handlers.Handlers, batch ...*jetstream.Event) {
	t.Helper()
	if res := apply(t, h, batch...); res.Err != nil || len(res.Stopped)+len(res.Unmet) > 0 {
		t.Fatalf("Apply = %+v", res)
	}
}

func refused(class handlers.Class, code string) error {
	return fmt.Errorf("call: %w", &handlers.Error{Class: class, Code: code, Err: errors.New("because")})
}

// failing fails n times and then asks the function.
func failing(n int, err error, then func() error) func() error {
	var mu sync.Mutex
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n >= 0 {
			return err
		}
		return then()
	}
}

func TestWhatPassesIsRetried(t *testing.T) {
	for class, least := range map[handlers.Class]time.Duration{
		handlers.Transient: 150 * time.Millisecond, handlers.Limited: 150 * time.Millisecond,
		handlers.Misconfigured: 30 * time.Second, handlers.Unclear: 150 * time.Millisecond,
	} {
		t.Run(string(class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t)
				target := m.fake()
				fail := failing(3, refused(class, "KS-X"), func() error { return nil })
				target.UpsertFunc = func(ctx context.Context, ref handlers.Ref, p string, r *rows.Rows) error {
					if err := fail(); err != nil {
						return err
					}
					return m.upsert(ctx, ref, p, r)
				}
				began := time.Now()
				var told []string
				h := newHandlers(t, target, handlers.Options{
					OnWait: func(err *handlers.Error, since time.Time) {
						told = append(told, fmt.Sprint(err.Code, " since ", since.Sub(began)))
					},
					OnResume: func() { told = append(told, "resumed") },
				})
				mustApply(t, h, eventsOf(t, "c", 1).insert("a", row{1, "v"}))
				want := []string{"KS-X since 0s", "KS-X since 0s", "KS-X since 0s", "resumed"}
				if !slices.Equal(told, want) {
					t.Errorf("told %q, want %q", told, want)
				}
				if took := time.Since(began); took < least {
					t.Errorf("took %s, want at least %s", took, least)
				}
				if m.at(testRef)[cell{"a", 1}] != "v" {
					t.Error("the row is not there")
				}
			})
		})
	}
}

// TestStoppedCollectionIsToldFromItsSuccessor has a new collection under the name of one that stopped.
func TestTimeoutHalvesCallsAndSuccessGrowsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		target := m.fake()
		var sizes []int
		slow := true
		target.UpsertFunc = func(ctx context.Context, ref handlers.Ref, p string, r *rows.Rows) error {
			sizes = append(sizes, r.Len())
			if slow && r.Len() > 10 {
				<-ctx.Done()
				return ctx.Err()
			}
			return m.upsert(ctx, ref, p, r)
		}
		var many []row
		want := map[cell]string{}
		for i := range int64(64) {
			many = append(many, row{i, "v"})
			want[cell{"a", i}] = "v"
		}
		h := newHandlers(t, target, handlers.Options{MaxRows: 64, Concurrency: 1, CallTimeout: time.Second})
		e := eventsOf(t, "c", 1).insert("a", many...)
		mustApply(t, h, e)
		if !slices.Equal(sizes[:4], []int{64, 32, 16, 8}) {
			t.Errorf("calls of %v rows", sizes)
		}
		if !maps.Equal(m.at(testRef), want) {
			t.Errorf("%d rows arrived of 64", len(m.at(testRef)))
		}
		slow = false
		for range 10 {
			mustApply(t, h, e)
		}
		if last := sizes[len(sizes)-1]; last != 64 {
			t.Errorf("the last call is of %d rows, want 64 again", last)
		}
	})
}

func TestTimeoutOfOneRowIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &fake{}
		n := 0
		target.DeleteFunc = func(ctx context.Context, _ handlers.Ref, _ string, keys rows.Keys) error {
			if n++; n < 20 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		mustApply(t, newHandlers(t, target, handlers.Options{}), eventsOf(t, "c", 1).remove("a", 1))
	})
}

func TestTooLargeIsCutWithoutWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		target := m.fake()
		target.UpsertFunc = func(ctx context.Context, ref handlers.Ref, p string, r *rows.Rows) error {
			if r.Size() > 120 {
				return refused(handlers.TooLarge, "KS-P-TOOLARGE")
			}
			return m.upsert(ctx, ref, p, r)
		}
		began := time.Now()
		h := newHandlers(t, target, handlers.Options{})
		var many []row
		for i := range int64(50) {
			many = append(many, row{i, "value"})
		}
		b := eventsOf(t, "c", 1)
		mustApply(t, h, b.insert("a", many...))
		if len(m.at(testRef)) != 50 || time.Since(began) > 0 {
			t.Errorf("%d rows arrived of 50, after %s", len(m.at(testRef)), time.Since(began))
		}
		res := apply(t, h, b.insert("a", row{99, strings.Repeat("x", 200)}))
		if res.Err != nil || len(res.Stopped) != 1 || res.Stopped[0].Code != handlers.CodeRowTooLarge {
			t.Errorf("Apply of a row that is too large = %+v", res)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lease time.Time
		var left []time.Duration
		target := &fake{}
		target.UpsertFunc = func(ctx context.Context, _ handlers.Ref, _ string, _ *rows.Rows) error {
			at, ok := ctx.Deadline()
			if !ok {
				t.Error("a call has no deadline")
			}
			left = append(left, time.Until(at))
			return nil
		}
		h := newHandlers(t, target, handlers.Options{CallTimeout: 10 * time.Second, Until: func() time.Time { return lease }})
		e := eventsOf(t, "c", 1).insert("a", row{1, "v"})
		for _, d := range []time.Duration{time.Minute, 3 * time.Second} {
			lease = time.Now().Add(d)
			mustApply(t, h, e)
		}
		if want := []time.Duration{10 * time.Second, 3 * time.Second}; !slices.Equal(left, want) {
			t.Errorf("calls had %v left, want %v", left, want)
		}
		for _, d := range []time.Duration{0, -time.Second} {
			lease = time.Now().Add(d)
			if res := apply(t, h, e); !errors.Is(res.Err, jetstream.ErrFenced) || len(res.Stopped) > 0 {
				t.Errorf("Apply with a lease that ended = %+v", res)
			}
		}
		if len(left) != 2 {
			t.Error("a call was made without a lease")
		}
	})
}

// TestLeaseEndsDuringRetries loses the lease while a call is made again and again.
func TestLeaseEndsDuringRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := time.Now().Add(3 * time.Second)
		target := &fake{UpsertFunc: func(context.Context, handlers.Ref, string, *rows.Rows) error {
			return refused(handlers.Transient, "KS-T-X")
		}}
		h := newHandlers(t, target, handlers.Options{Until: func() time.Time { return lease }})
		began := time.Now()
		res := apply(t, h, eventsOf(t, "c", 1).insert("a", row{1, "v"}))
		if !errors.Is(res.Err, jetstream.ErrFenced) || time.Since(began) > 9*time.Second {
			t.Errorf("Apply = %+v after %s", res, time.Since(began))
		}
	})
}

func TestEndOfContextEndsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resumed := 0
		down := true
		target := &fake{UpsertFunc: func(context.Context, handlers.Ref, string, *rows.Rows) error {
			if down {
				return refused(handlers.Misconfigured, "KS-M-X")
			}
			return nil
		}}
		h := newHandlers(t, target, handlers.Options{OnResume: func() { resumed++ }})
		why := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(15*time.Second, func() { cancel(why) })
		e := eventsOf(t, "c", 1).insert("a", row{1, "v"})
		if res := h.Apply(ctx, []*jetstream.Event{e}); !errors.Is(res.Err, why) {
			t.Errorf("Apply = %+v", res)
		}
		if resumed != 0 {
			t.Error("told of a resume, and the target is as bad as it was")
		}
		down = false
		mustApply(t, h, e)
		if resumed != 1 {
			t.Errorf("told %d times of a resume, want once", resumed)
		}
	})
}

func TestCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most, all := 0, 0, 0
		target := &fake{UpsertFunc: func(context.Context, handlers.Ref, string, *rows.Rows) error {
			mu.Lock()
			now++
			all++
			most = max(most, now)
			mu.Unlock()
			timer := time.NewTimer(time.Second)
			<-timer.C
			mu.Lock()
			now--
			mu.Unlock()
			return nil
		}}
		var batch []*jetstream.Event
		for c := range 3 {
			b := eventsOf(t, fmt.Sprint("c", c), int64(c))
			for p := range 4 {
				batch = append(batch, b.insert(fmt.Sprint("p", p), row{1, "v"}, row{2, "v"}))
			}
		}
		mustApply(t, newHandlers(t, target, handlers.Options{MaxRows: 1, Concurrency: 5}), batch...)
		if most != 5 || all != 24 {
			t.Errorf("%d calls, %d at once; want 24 and 5", all, most)
		}
	})
}

// TestDefinitionsStandInOrder has every kind of event, and looks at the order of calls.
func TestDefinitionsStandInOrder(t *testing.T) {
	var calls []string
	var mu sync.Mutex
	call := func(format string, args ...any) error {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, fmt.Sprintf(format, args...))
		return nil
	}
	target := &fake{
		UpsertFunc: func(_ context.Context, ref handlers.Ref, p string, r *rows.Rows) error {
			return call("upsert %s/%s %d", ref, p, r.Len())
		},
		DeleteFunc: func(_ context.Context, ref handlers.Ref, p string, keys rows.Keys) error {
			return call("delete %s/%s %d", ref, p, keys.Len())
		},
		CreateDatabaseFunc: func(_ context.Context, name string) error { return call("create %s", name) },
		DropDatabaseFunc:   func(_ context.Context, name string) error { return call("drop %s", name) },
		CreateCollectionFunc: func(_ context.Context, req *milvuspb.CreateCollectionRequest) error {
			return call("create %s.%s", req.DbName, req.CollectionName)
		},
		DropCollectionFunc:  func(_ context.Context, ref handlers.Ref) error { return call("drop %s", ref) },
		CreatePartitionFunc: func(_ context.Context, ref handlers.Ref, p string) error { return call("create %s/%s", ref, p) },
		DropPartitionFunc:   func(_ context.Context, ref handlers.Ref, p string) error { return call("drop %s/%s", ref, p) },
	}
	b, other := eventsOf(t, "c", 1), eventsOf(t, "d", 2)
	mustApply(t, newHandlers(t, target, handlers.Options{}),
		b.ofDatabase(jetstream.CreateDatabase),
		b.define(jetstream.CreateCollection, ""),
		b.insert("", row{1, "v"}),
		other.define(jetstream.CreateCollection, ""), // no reason to send what is pending of c
		b.insert("_default", row{2, "v"}),
		b.define(jetstream.CreatePartition, "p"),
		b.insert("p", row{1, "v"}), b.remove("", 2),
		other.insert("p", row{1, "v"}),
		b.define(jetstream.DropPartition, "p"),
		b.ofDatabase(jetstream.Fence),
		b.define(jetstream.DropCollection, ""),
		b.ofDatabase(jetstream.DropDatabase),
	)
	want := []string{
		"create db", "create db.c", "create db.d", "upsert db.c/_default 2", "create db.c/p", "delete db.c/ 1",
		"upsert db.c/p 1", "drop db.c/p", "drop db.c", "upsert db.d/p 1", "drop db",
	}
	if !slices.Equal(calls, want) {
		t.Errorf("calls\n%q\nwant\n%q", calls, want)
	}
}

// TestWaitersLeaveRoom has more calls that wait than may be under way: others must get through meanwhile.
// TestRowsOfDifferentFieldsGoApart has rows written before and after a change of the source's schema.
func TestOptionsAreChecked(t *testing.T) {
	_, err := handlers.New(&fake{}, handlers.Options{
		MaxRows: -1, MaxBytes: 1 << 30, Concurrency: -1, CallTimeout: -1, MinBackoff: time.Hour, SlowBackoff: -1, Patience: -1,
	})
	if err == nil || strings.Count(err.Error(), "\n") != 6 {
		t.Errorf("New = %v, want seven problems", err)
	}
}
