//go:build servers

package milvus_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// ruled is a collection src.c on the source that lands on the target by another name, and not whole.
func ruled(w *world) (*stream, handlers.Ref, jetstream.TaskSpec) {
	spec := jetstream.TaskSpec{
		Map: []jetstream.Mapping{{Database: "src", ToDatabase: w.db, ToCollection: "{db}_{collection}"}},
		Rules: []jetstream.Rule{{
			Database: "src", Collections: []string{"c"}, Where: `n > 3 && dynamic["hidden"] != true`, DropFields: []string{"note"},
			Partitions: []string{"_default", "p*"},
		}},
	}
	return &stream{w: w, ref: handlers.Ref{Database: "src", Collection: "c"}, id: 1}, w.ref("src_c"), spec
}

// ruledRows are rows with these values of n. Key and vector count from from.
func ruledRows(from int64, meta string, n ...int32) []*schemapb.FieldData {
	var ids []int64
	var notes, more []string
	for i := range n {
		ids, notes, more = append(ids, from+int64(i)), append(notes, "a note"), append(more, meta)
	}
	return []*schemapb.FieldData{longs("id", ids...), ints("n", schemapb.DataType_Int32, n...), texts("note", notes...), vectors("v", 4, len(n), float32(from)), metas(more...)}
}

func longIDs(v ...int64) *schemapb.IDs {
	return &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: v}}}
}

// TestRules takes a collection through its life under a mapping and a rule, everything twice.
func TestRules(t *testing.T) {
	w := newWorld(t)
	s, ref, spec := ruled(w)
	h, err := handlers.New(w.target, handlers.Options{Spec: spec})
	w.must(err)
	twice := func(events ...*jetstream.Event) {
		t.Helper()
		for range 2 {
			applied(t, h.Apply(t.Context(), events))
		}
	}
	holds := func(when string, partition string, want ...int64) {
		t.Helper()
		if got := w.ints(ref, []string{partition}, "id"); !slices.Equal(got, want) {
			t.Errorf("%s: %s holds %v, want %v", when, partition, got, want)
		}
	}
	database := s.event(jetstream.CreateDatabase, "", empty())
	database.Collection, database.CollectionID = "", 0
	req := w.request("c", idField(), field("n", schemapb.DataType_Int32), field("note", schemapb.DataType_VarChar, param("max_length", 100)), vectorField(4), metaField())
	twice(database, s.event(jetstream.CreateCollection, "", req), s.event(jetstream.CreatePartition, "p1", empty()), s.event(jetstream.CreatePartition, "q", empty()))

	d, err := w.look.DescribeCollection(t.Context(), &milvuspb.DescribeCollectionRequest{DbName: w.db, CollectionName: "src_c"})
	w.said(d.GetStatus(), err)
	for _, f := range d.GetSchema().GetFields() {
		if f.GetName() == "note" {
			t.Error("the field that was to be dropped is there")
		}
	}
	parts, err := w.look.ShowPartitions(t.Context(), &milvuspb.ShowPartitionsRequest{DbName: w.db, CollectionName: "src_c"})
	w.said(parts.GetStatus(), err)
	if got := slices.Sorted(slices.Values(parts.GetPartitionNames())); !slices.Equal(got, []string{"_default", "p1"}) {
		t.Errorf("partitions %v", got)
	}
	w.load(ref, "v", "L2")

	twice(s.insert("_default", ruledRows(0, "{}", 1, 5, 3, 7, 9)...), s.insert("p1", ruledRows(10, "{}", 4)...), s.insert("q", ruledRows(20, "{}", 8)...),
		s.insert("_default", ruledRows(30, `{"hidden":true}`, 8)...))
	holds("at first", "_default", 1, 3, 4)
	holds("at first", "p1", 10)

	// Upserts as a source has them: 0 comes to match, 1 ceases to, 3 stays and changes, 30 comes to match by what the
	// schema has not.
	twice(s.remove("_default", longIDs(0, 1), 2), s.insert("_default", ruledRows(0, "{}", 6, 2)...),
		s.remove("_default", longIDs(3), 1), s.insert("_default", ruledRows(3, "{}", 70)...),
		s.remove("_default", longIDs(30), 1), s.insert("_default", ruledRows(30, `{"hidden":1}`, 8)...))
	holds("after upserts", "_default", 0, 3, 4, 30)
	if got := w.query(ref, nil, "id == 3", "n")["n"].GetScalars().GetIntData().GetData(); !slices.Equal(got, []int32{70}) {
		t.Errorf("n = %v, want 70", got)
	}

	// There and gone in one batch; and a delete in a partition that the target has not.
	twice(s.insert("_default", ruledRows(40, "{}", 9)...), s.remove("_default", longIDs(40), 1), s.insert("_default", ruledRows(40, "{}", 0)...),
		s.remove("q", longIDs(20), 1), s.remove("", longIDs(4, 10), 2))
	holds("at last", "_default", 0, 3, 30)
	holds("at last", "p1")

	other := w.create("of_somebody_else", idField(), vectorField(4))
	gone := s.event(jetstream.DropDatabase, "", empty())
	gone.Collection, gone.CollectionID = "", 0
	twice(s.event(jetstream.DropPartition, "q", empty()), s.event(jetstream.DropPartition, "p1", empty()), s.event(jetstream.DropCollection, "", empty()), gone)
	list, err := w.look.ShowCollections(t.Context(), &milvuspb.ShowCollectionsRequest{DbName: w.db})
	w.said(list.GetStatus(), err)
	if got := fmt.Sprint(list.GetCollectionNames()); got != "["+other.Collection+"]" {
		t.Errorf("the database holds %s", got)
	}
}

// TestRuleThatDoesNotFitStopsTheCollection has a collection that comes later than the task.
func TestRuleThatDoesNotFitStopsTheCollection(t *testing.T) {
	w := newWorld(t)
	s, ref, spec := ruled(w)
	h, err := handlers.New(w.target, handlers.Options{Spec: spec})
	w.must(err)
	res := h.Apply(t.Context(), []*jetstream.Event{s.event(jetstream.CreateCollection, "", w.request("c", idField(), vectorField(4)))})
	if res.Err != nil || len(res.Stopped) != 1 || res.Stopped[0].Code != handlers.CodeRule || res.Stopped[0].Collection != "c" {
		t.Errorf("Apply = %+v", res)
	}
	if _, err := w.target.Shape(t.Context(), ref); err == nil {
		t.Errorf("%s was made all the same", ref)
	}
}
