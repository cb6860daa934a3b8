//go:build servers

package newer_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog/catalogtest"
	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

const task = "newer"

// TestNewerSource has collections with all that a 2.5 has and a 2.3.5 has not: nulls, default values, sparse vectors, several
// vectors, a BM25 function, whose target holds them; and half floats, which the target can't hold: that collection stops, and its
// rows are on the stream for a target that can.
func TestNewerSource(t *testing.T) {
	s := newSource(t)
	r, _ := rig.Up(t, s.env()...)
	s.run()
	lite := servers.SharedLite(t)
	all := s.create("all", allColumns(), &schemapb.FunctionSchema{
		Name: "bm25", Type: schemapb.FunctionType_BM25, InputFieldNames: []string{"text"}, InputFieldIds: []int64{idOf("text")},
		OutputFieldNames: []string{"words"}, OutputFieldIds: []int64{idOf("words")},
	})
	target := look(t, lite.Addr)
	t.Cleanup(func() { target.drop("all") })
	spec := jetstream.TaskSpec{
		Name: task, Lanes: 2, Targets: []jetstream.TargetSpec{{Name: "lite", URI: lite.URI}},
		Select: []jetstream.Selection{{Database: "default", Collections: []string{"*"}}},
	}
	r.CreateTask(spec)
	halves := s.create("halves", halfColumns()) // a task that is made with it there is refused
	spec.Name, spec.Select[0].Collections = "refused", []string{"halves"}
	r.Until("a plan says that half floats can't be held", func() bool {
		plan, err := r.Tasks.Plan(r.Context(), spec)
		return err == nil && len(plan.Problems) == 1 && strings.Contains(plan.Problems[0].Message, `"h" is a Float16Vector`)
	})
	all.insert()
	halves.insert()
	all.remove(4)
	r.PassedBy(task)
	// Its settings, as etcd has them: what the rows can be seen by.
	index := s.id()
	s.put(map[string][]byte{
		catalogtest.IndexKey(all.id, index): catalogtest.Index{
			ID: index, Collection: all.id, Field: idOf("v"), Name: "iv",
			UserParams: kvs("index_type", "HNSW", "metric_type", "L2", "params", `{"M":8,"efConstruction":64}`),
			Params:     kvs("index_type", "HNSW", "metric_type", "L2", "M", "8", "efConstruction", "64"),
		}.Value(),
		catalogtest.IndexKey(all.id, index+1): catalogtest.Index{
			ID: index + 1, Collection: all.id, Field: idOf("words"), Name: "iw",
			UserParams: kvs("index_type", "SPARSE_INVERTED_INDEX", "metric_type", "BM25"), Params: kvs("index_type", "SPARSE_INVERTED_INDEX", "metric_type", "BM25"),
		}.Value(),
		catalogtest.AliasKey(databaseID, "everything"): catalogtest.Alias("everything", databaseID, all.id, catalogtest.Created),
		catalogtest.LoadKey(all.id):                    catalogtest.Load(all.id, 1, catalogtest.Loaded, catalogtest.LoadCollection),
		catalogtest.PartitionLoadKey(all.id, all.part): catalogtest.PartitionLoad(all.id, all.part, catalogtest.Loaded),
	})
	r.PassedBy(task)
	r.Until("the alias names the collection, with its indexes", func() bool { return target.settled("everything", "v HNSW", "words SPARSE_INVERTED_INDEX") })

	target.holds("everything", all.columns, 3)
	if got := target.search("everything", "words", "kites"); !slices.Equal(got, []int64{1}) {
		t.Errorf("a search for a word finds the rows %v, want 1", got)
	}
	stopped := false
	for _, c := range r.View(task).Targets[0].Collections {
		switch c.Collection {
		case "all":
			if c.State == control.Stopped {
				t.Errorf("collection all: %s", c.Why)
			}
		case "halves":
			stopped = c.State == control.Stopped && c.Code == "KS-P-VERSION" && strings.Contains(c.Why, `"h" is a Float16Vector`)
			if !stopped {
				t.Errorf("collection halves: %+v", c)
			}
		}
	}
	if !stopped {
		t.Error("the collection of half floats is not shown as stopped")
	}
	streamed(r, halves)
}

// streamed compares the rows on the stream with those that were written.
func streamed(r *rig.Rig, c *collection) {
	r.Helper()
	n := 0
	err := jetstream.Scan(r.Context(), r.JS, task, nil, 1, func(e *jetstream.Event) error {
		if e.Kind != jetstream.Insert || e.CollectionID != c.id {
			return nil
		}
		m := &msgpb.InsertRequest{}
		if err := proto.Unmarshal(e.Body, m); err != nil {
			return err
		}
		var keys []int64
		for _, f := range m.GetFieldsData() {
			if f.GetFieldName() == "id" {
				keys = f.GetScalars().GetLongData().GetData()
			}
		}
		for i, id := range keys {
			n++
			for _, col := range c.columns {
				at := slices.IndexFunc(m.GetFieldsData(), func(f *schemapb.FieldData) bool { return f.GetFieldName() == col.field.GetName() })
				if at < 0 {
					r.Errorf("row %d on the stream has no field %s", id, col.field.GetName())
				} else if have, want := row(m.GetFieldsData()[at], i), row(col.rows, slices.Index(ids, id)); have != want {
					r.Errorf("row %d on the stream, field %s: %s, want %s", id, col.field.GetName(), have, want)
				}
			}
		}
		return nil
	})
	if err != nil || n != len(ids) {
		r.Errorf("%d rows of %s are on the stream, want %d (%v)", n, c.name, len(ids), err)
	}
}
