//go:build servers

package verify_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/bridge"
	"kitestream/functions/verify"
	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/test/servers"
)

// source is the collection there.
func (w *world) source() handlers.Ref { return handlers.Ref{Database: w.db, Collection: orders} }

// TestRowsOnTheirWayAreNoDifference: the target gets rows while it is waited for, some of them late, some never at rest.
func TestRowsOnTheirWayAreNoDifference(t *testing.T) {
	w := newWorld(t)
	s := w.schema(schemapb.DataType_Int64)
	w.create(s)
	w.both(defaultPartition, rows(s, 1, from(0, 500)...))

	w.upsert(w.src, w.source(), "", rows(s, 2, from(10, 20)...)) // not there yet
	w.remove(w.src, w.source(), "", "id in [40, 41]")
	w.upsert(w.src, w.source(), "", rows(s, 1, 900, 901))
	w.onWait = func(n int) {
		if n == 2 { // it has come when what was found is looked at again
			w.upsert(w.dst, w.place(orders), "", rows(s, 2, from(10, 20)...))
			w.remove(w.dst, w.place(orders), "", "id in [40, 41]")
			w.upsert(w.dst, w.place(orders), "", rows(s, 1, 900, 901))
		}
	}
	r := w.run()
	w.is(r, verify.Equal)
	if c := r.Collections[0]; c.Looked != 24 || c.Unsettled != 0 {
		t.Errorf("looked again at %d rows, %d unsettled", c.Looked, c.Unsettled)
	}

	w.onWait = func(n int) { w.upsert(w.src, w.source(), "", rows(s, 10+n, 77)) } // it never comes to rest
	r = w.run()
	w.is(r, verify.Unknown)
	if c := r.Collections[0]; c.Unsettled != 1 || c.Found() != 0 || len(c.Why) == 0 {
		t.Errorf("unsettled: %+v", c)
	}
	w.remove(w.dst, w.place(orders), "", "id in [3]") // and beside it something is wrong
	r = w.run()
	w.is(r, verify.Different)
	if c := r.Collections[0]; c.Unsettled != 1 || c.Missing != 1 || c.Found() != 1 {
		t.Errorf("unsettled and missing: %+v", c)
	}
	w.onWait = nil
	cause := errors.New("the task is paused")
	cfg := w.config()
	cfg.Wait = w.failing(cause)
	if _, err := verify.Run(t.Context(), cfg); !errors.Is(err, cause) {
		t.Errorf("run = %v, want what the wait failed with", err)
	}
}

// TestManyDifferences has more than are kept at once, and more than are printed.
func TestManyDifferences(t *testing.T) {
	w := newWorld(t)
	s := w.schema(schemapb.DataType_Int64)
	w.create(s)
	const n = 12_000
	for at := 0; at < n; at += 4000 {
		w.upsert(w.src, w.source(), "", rows(s, 1, from(at, 4000)...))
	}
	w.upsert(w.dst, w.place(orders), "", rows(s, 1, from(n, 5)...))
	printed := func(c *verify.Config) { c.MaxDifferences = 7 }
	r := w.run(printed)
	w.is(r, verify.Different)
	if c := r.Collections[0]; c.Missing != n || c.Extra != 5 || len(c.Differences) != 7 || c.SourceRows != n || c.TargetRows != 5 {
		t.Errorf("%d missing, %d extra, %d printed of %d and %d rows", c.Missing, c.Extra, len(c.Differences), c.SourceRows, c.TargetRows)
	}
	r = w.run(printed, w.repairing)
	w.is(r, verify.Equal)
	if c := r.Collections[0]; c.Repaired != n+5 || len(c.Differences) != 7 {
		t.Errorf("%d repaired, %d printed", c.Repaired, len(c.Differences))
	}
	w.is(w.run(), verify.Equal)
	sample := func(c *verify.Config) { c.Sample, c.Seed = 10, 42 }
	first, again := w.run(sample), w.run(sample)
	w.is(first, verify.Equal)
	if a, b := first.Rows(), again.Rows(); a != b || a < n/50 || a > n/4 || first.Sample == nil || first.Sample.Seed != 42 {
		t.Errorf("a sample of 10 %% of %d rows has %d, then %d", n, a, b)
	}
}

// TestMappedAndFiltered has a task that replicates some of the rows, fields and partitions to another place.
func TestMappedAndFiltered(t *testing.T) {
	w := newWorld(t)
	w.spec.Map = []jetstream.Mapping{{ToCollection: "{collection}_copy"}}
	w.spec.Rules = []jetstream.Rule{{Where: `total < 100 and dynamic["extra"] != 7`, DropFields: []string{"name"}, Partitions: []string{"_default", "keep*"}}}
	whole := w.schema(schemapb.DataType_Int64)
	cut := w.schema(schemapb.DataType_Int64)
	cut.Fields = slices.Delete(cut.Fields, 2, 3)
	w.createPair(whole, cut, "keep_a")
	w.said(w.src.Service().CreatePartition(t.Context(), &milvuspb.CreatePartitionRequest{DbName: w.db, CollectionName: orders, PartitionName: "other"}))
	w.load(w.src, w.source())
	for _, p := range []string{"_default", "keep_a", "other"} {
		w.upsert(w.src, w.source(), p, rows(whole, 1, from(0, 200)...))
	}
	without := func(ids ...int) []*schemapb.FieldData {
		r := rows(whole, 1, ids...)
		return slices.Delete(r, 2, 3)
	}
	wanted := slices.DeleteFunc(from(0, 100), func(id int) bool { return id == 7 })
	for _, p := range []string{"_default", "keep_a"} {
		w.upsertN(w.dst, w.place(orders), p, without(wanted...), len(wanted))
	}
	r := w.run()
	w.is(r, verify.Equal)
	if c := r.Collections[0]; c.SourceRows != 198 || c.TargetRows != 198 || c.Target.Collection != "orders_copy" {
		t.Errorf("compared %+v", c)
	}
	w.upsertN(w.dst, w.place(orders), "keep_a", without(7, 150), 2) // which the rule leaves out
	w.remove(w.dst, w.place(orders), "_default", "id in [5]")
	r = w.run()
	w.is(r, verify.Different)
	if c := r.Collections[0]; c.Extra != 2 || c.Missing != 1 || c.Different != 0 {
		t.Errorf("found %+v", c)
	}
}

// TestWhatCantBeRead is neither equal nor different, but what is not there at all is different.
func TestWhatCantBeRead(t *testing.T) {
	w := newWorld(t)
	s := w.schema(schemapb.DataType_Int64)
	w.create(s)
	w.both("", rows(s, 1, from(0, 10)...))
	release := func(release bool) {
		t.Helper()
		if release {
			w.must(w.target.ReleaseCollection(t.Context(), w.place(orders)))
		} else {
			w.load(w.dst, w.place(orders))
		}
	}
	release(true)
	r := w.run()
	w.is(r, verify.Different) // the source has it loaded
	if c := r.Collections[0]; c.Settings != 1 || c.Differences[0].Kind != verify.OfLoad {
		t.Errorf("found %+v", c)
	}
	w.spec.Leave = []string{jetstream.LeaveLoad}
	r = w.run()
	w.is(r, verify.Unknown)
	if why := strings.Join(r.Collections[0].Why, ""); !strings.Contains(why, "not loaded on the target") {
		t.Errorf("why: %s", why)
	}
	w.must(w.target.SetAlias(t.Context(), handlers.Ref{Database: w.db, Collection: w.db + "_x"}, w.place(orders)))
	w.is(w.run(), verify.Different) // it needs no rows to see that
	w.spec.Leave = []string{jetstream.LeaveAlias, jetstream.LeaveLoad}
	w.is(w.run(), verify.Unknown)
	w.must(w.target.DropAlias(t.Context(), handlers.Ref{Database: w.db, Collection: w.db + "_x"}))
	release(false)
	w.is(w.run(), verify.Equal)

	_, err := verify.Run(t.Context(), func() verify.Config {
		c := w.config()
		c.Collections = []jetstream.QualifiedName{{Database: w.db, Collection: "none"}}
		return c
	}())
	if !errors.Is(err, verify.ErrNotFollowed) {
		t.Errorf("a collection that is not there: %v", err)
	}
	other := w.schema(schemapb.DataType_Int64)
	other.Name = "only_here"
	w.createSource(other)
	r = w.run()
	w.is(r, verify.Different)
	if c := r.Collections[0]; len(r.Collections) != 2 || c.Source.Collection != "only_here" || len(c.Differences) != 1 || c.Differences[0].Kind != verify.OfCollection {
		t.Errorf("a collection that the target has not: %+v", r.Collections)
	}
	w.is(w.run(func(c *verify.Config) {
		c.Collections = []jetstream.QualifiedName{{Database: w.db, Collection: orders}}
	}), verify.Equal)

	other.Fields[2].TypeParams[0].Value = "50"
	w.createTarget(other, w.place("only_here"))
	r = w.run()
	w.is(r, verify.Different)
	if d := r.Collections[0].Differences; len(d) == 0 || d[0].Kind != verify.OfSchema || !strings.Contains(d[0].Name, "max_length is 100 on the source, 50 on the target") {
		t.Errorf("another schema: %+v", d)
	}
}

// TestKeysStoredTwice: the source may have them, the target may not.
func TestKeysStoredTwice(t *testing.T) {
	w := newWorld(t)
	s := w.schema(schemapb.DataType_Int64)
	w.create(s)
	w.both("", rows(s, 1, from(0, 100)...))
	w.insert(w.src, w.source(), rows(s, 2, from(5, 3)...))
	r := w.run()
	w.is(r, verify.Equal)
	if c := r.Collections[0]; !slices.ContainsFunc(c.Notes, func(n string) bool { return strings.Contains(n, "the source stores 3 rows more than it has keys") }) {
		t.Errorf("notes %q", c.Notes)
	}
	w.insert(w.dst, w.place(orders), rows(s, 1, 50))
	r = w.run()
	w.is(r, verify.Different)
	if d := r.Collections[0].Differences; len(d) == 0 || d[0].Key != "50" || d[0].Target != "it more than once" {
		t.Errorf("twice on the target: %+v", d)
	}
	w.is(w.run(w.repairing), verify.Equal)
}

// TestPartitionKey reads a collection whose partitions have no names to ask for.
func TestPartitionKey(t *testing.T) {
	w := newWorld(t)
	s := w.schema(schemapb.DataType_Int64)
	s.Fields[2].IsPartitionKey = true
	w.create(s)
	w.both("", rows(s, 1, from(0, 300)...))
	w.is(w.run(), verify.Equal)
	w.remove(w.dst, w.place(orders), "", "id in [17]")
	r := w.run()
	w.is(r, verify.Different)
	if c := r.Collections[0]; c.Missing != 1 || c.Found() != 1 {
		t.Errorf("found %+v", c)
	}
	refused := errors.New("no")
	r = w.run(func(c *verify.Config) {
		c.Repair = func(context.Context, bridge.RepairRequest) error { return refused }
	})
	w.is(r, verify.Different)
	if c := r.Collections[0]; c.Missing != 1 || c.Repaired != 0 || len(c.Notes) != 1 {
		t.Errorf("a repair that is refused: %+v", c)
	}
	w.is(w.run(w.repairing), verify.Equal)
}

// TestLite has a target that writes JSON in its own words.
func TestLite(t *testing.T) {
	w := worldAt(t, servers.SharedLite(t).Addr)
	s := w.schema(schemapb.DataType_Int64)
	w.create(s, "p")
	w.both(defaultPartition, rows(s, 1, from(0, 300)...))
	w.both("p", rows(s, 1, from(1000, 300)...))
	w.is(w.run(), verify.Equal)
	changed := rows(s, 1, 10)
	changed[3].GetScalars().GetJsonData().Data[0] = []byte(`{"b": 10, "a": [1, 2.75, null], "v": 1}`)
	w.upsert(w.dst, w.place(orders), defaultPartition, changed)
	w.remove(w.dst, w.place(orders), "p", "id in [1010]")
	w.must(w.target.CreatePartition(t.Context(), w.place(orders), "q"))
	r := w.run()
	w.is(r, verify.Different)
	if c := r.Collections[0]; c.Different != 1 || c.Missing != 1 || c.Settings != 1 {
		t.Errorf("found %+v", c)
	}
	w.is(w.run(w.repairing), verify.Equal)
}

// TestSearch: of the same rows the same are found, and of others others.
func TestSearch(t *testing.T) {
	w := newWorld(t)
	s := w.schema(schemapb.DataType_VarChar)
	w.create(s, "p")
	w.both(defaultPartition, rows(s, 1, from(0, 150)...))
	w.both("p", rows(s, 1, from(500, 300)...))
	search := func(c *verify.Config) { c.Search = 200 }
	r := w.run(search)
	w.is(r, verify.Equal)
	got := r.Collections[0].Search
	if len(got) != 1 || got[0].Field != "v" || got[0].Searches != 200 || got[0].Mean < 0.9 || got[0].Mean > 1 || got[0].Why != "" {
		t.Errorf("of the same rows: %+v", got)
	}
	gone := make([]string, 140)
	for id := range gone {
		gone[id] = keyOf(schemapb.DataType_VarChar)(id)
	}
	w.remove(w.dst, w.place(orders), defaultPartition, "id in ["+strings.Join(gone, ",")+"]")
	if got := w.run(search).Collections[0].Search; len(got) != 1 || got[0].Mean > 0.6 {
		t.Errorf("with most of them gone: %+v", got)
	}
}
