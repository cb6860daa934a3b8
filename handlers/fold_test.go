package handlers_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"kitestream/handlers"
	"kitestream/jetstream"
)

var testRef = handlers.Ref{Database: "db", Collection: "c"}

// change is a change of the model: an upsert of rows into a partition, or a delete of keys.
type change struct {
	partition string // of a delete, empty: all
	rows      []row  // of a delete, only the keys count
	remove    bool
}

// naive applies the changes one by one, as the source did.
func naive(state map[cell]string, changes []change, partitionKey bool) {
	for _, c := range changes {
		p := c.partition
		if partitionKey {
			p = ""
		}
		for _, r := range c.rows {
			if p == "" {
				maps.DeleteFunc(state, func(at cell, _ string) bool { return at.key == r.key })
			}
			delete(state, cell{p, r.key})
			if !c.remove {
				state[cell{p, r.key}] = r.value
			}
		}
	}
}

func eventOf(b *events, c change) *jetstream.Event {
	if !c.remove {
		return b.insert(c.partition, c.rows...)
	}
	keys := make([]int64, len(c.rows))
	for i, r := range c.rows {
		keys[i] = r.key
	}
	return b.remove(c.partition, keys...)
}

// checkFold applies the changes to targets that hold those of start, once and twice, and compares with naive.
func checkFold(t *testing.T, start map[cell]string, changes []change, o handlers.Options, partitionKey bool) {
	t.Helper()
	want := maps.Clone(start)
	naive(want, changes, partitionKey)
	m := newMemory(t)
	maps.Copy(m.at(testRef), start)
	target := m.fake()
	target.ShapeFunc = func(context.Context, handlers.Ref) (handlers.Shape, error) {
		return handlers.Shape{Key: "id", PartitionKey: partitionKey}, nil
	}
	h, err := handlers.New(target, o)
	if err != nil {
		t.Fatal(err)
	}
	b := eventsOf(t, "c", 1)
	var batch []*jetstream.Event
	for _, c := range changes {
		batch = append(batch, eventOf(b, c))
	}
	for _, again := range []bool{false, true} {
		if res := h.Apply(t.Context(), batch); res.Err != nil || len(res.Stopped) > 0 {
			t.Fatalf("Apply = %+v", res)
		}
		if got := m.at(testRef); !maps.Equal(got, want) {
			t.Fatalf("changes %+v\nfrom %v\ngive %v (second time: %v)\nwant %v", changes, start, got, again, want)
		}
	}
}

func sharedMetrics(t *testing.T) *handlers.Metrics {
	t.Helper()
	m, err := handlers.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestFoldEverySequence takes every sequence of up to four changes of one key over two partitions.
func TestFoldEverySequence(t *testing.T) {
	one := func(v string) []row { return []row{{1, v}} }
	o := handlers.Options{Metrics: sharedMetrics(t)} // making them anew takes longer than the test
	ops := []change{{rows: one(""), remove: true}}
	for _, p := range []string{"a", "b"} {
		ops = append(ops, change{partition: p, rows: one("v1")}, change{partition: p, rows: one("v2")},
			change{partition: p, rows: one(""), remove: true})
	}
	starts := []map[cell]string{{}, {{"a", 1}: "v0"}, {{"a", 1}: "v0", {"b", 1}: "v0"}}
	n := 0
	var walk func(changes []change)
	walk = func(changes []change) {
		for _, start := range starts {
			checkFold(t, start, changes, o, false)
			n++
		}
		checkFold(t, map[cell]string{{"", 1}: "v0"}, changes, o, true)
		n++
		if len(changes) == 4 {
			return
		}
		for _, op := range ops {
			walk(append(changes[:len(changes):len(changes)], op))
		}
	}
	walk(nil)
	t.Logf("%d sequences", n)
}

// TestFoldRandom takes many keys, several rows an event, the same key more than once in one event, and small calls.
func TestFoldRandom(t *testing.T) {
	metrics := sharedMetrics(t)
	for seed := range uint64(300) {
		t.Run(fmt.Sprintf("seed_%d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			partitions := []string{"a", "b", "_default"}
			start := map[cell]string{}
			partitionKey := r.IntN(3) == 0
			var changes []change
			for i := range r.IntN(40) {
				c := change{partition: partitions[r.IntN(len(partitions))], remove: r.IntN(2) == 0}
				if c.remove && r.IntN(3) == 0 {
					c.partition = ""
				}
				for range r.IntN(8) {
					c.rows = append(c.rows, row{r.Int64N(12) - 3, fmt.Sprintf("v%d", i)})
				}
				changes = append(changes, c)
			}
			for k := range int64(9) {
				p := partitions[r.IntN(len(partitions))]
				if partitionKey {
					p = ""
				}
				start[cell{p, k}] = "v"
			}
			o := handlers.Options{MaxRows: 1 + r.IntN(6), Concurrency: 1 + r.IntN(4), Metrics: metrics}
			if r.IntN(2) == 0 {
				o.MaxBytes = 1 + r.IntN(40)
			}
			checkFold(t, start, changes, o, partitionKey)
		})
	}
}

// TestFoldSendsLittle counts calls: a backlog of small writes becomes few big ones.
func TestFoldSendsLittle(t *testing.T) {
	b := eventsOf(t, "c", 1)
	var many []*jetstream.Event
	for i := range int64(100) {
		many = append(many, b.remove("a", i%10), b.insert("a", row{i % 10, "v"}))
	}
	for name, tc := range map[string]struct {
		events []*jetstream.Event
		calls  int
	}{
		"delete_then_upsert_in_one_partition": {[]*jetstream.Event{b.remove("a", 1), b.insert("a", row{1, "v"})}, 1},
		"delete_everywhere_then_upsert":       {[]*jetstream.Event{b.remove("", 1), b.insert("a", row{1, "v"})}, 2},
		"upsert_then_delete":                  {[]*jetstream.Event{b.insert("a", row{1, "v"}), b.remove("a", 1)}, 1},
		"upsert_then_delete_everywhere":       {[]*jetstream.Event{b.insert("a", row{1, "v"}), b.remove("", 1)}, 1},
		"delete_twice":                        {[]*jetstream.Event{b.remove("", 1), b.remove("a", 1)}, 1},
		"two_partitions":                      {[]*jetstream.Event{b.insert("a", row{1, "v"}), b.insert("b", row{1, "v"})}, 2},
		"backlog":                             {many, 1},
		"no_rows":                             {[]*jetstream.Event{b.insert("a"), b.remove("")}, 0},
		"nothing":                             {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t)
			h, err := handlers.New(m.fake(), handlers.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if res := h.Apply(t.Context(), tc.events); res.Err != nil || len(res.Stopped) > 0 {
				t.Fatalf("Apply = %+v", res)
			}
			if m.calls != tc.calls {
				t.Errorf("%d calls, want %d", m.calls, tc.calls)
			}
		})
	}
}
