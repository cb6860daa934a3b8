//go:build servers

package verify_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/functions/verify"
	"kitestream/handlers"
)

// planted is something that is wrong with the target.
type planted struct {
	name  string
	plant func(w *world)
	want  verify.Difference // that is to be found; what is empty may be anything
}

// plants are each planted into a target that is equal, found, repaired, and found no more.
func plants(s *schemapb.CollectionSchema, key func(int) string) []planted {
	at := func(w *world) handlers.Ref { return w.place(orders) }
	changed := func(id, field int, change func(*schemapb.FieldData)) func(w *world) {
		return func(w *world) {
			r := rows(s, 1, id)
			change(r[field])
			w.upsert(w.dst, at(w), defaultPartition, r)
		}
	}
	one := func(id int) string { return "id in [" + key(id) + "]" }
	return []planted{
		{"missing row", func(w *world) { w.remove(w.dst, at(w), defaultPartition, one(7)) },
			verify.Difference{Kind: verify.MissingRow, Partition: defaultPartition, Key: key(7), Source: "it"}},
		{"extra row", func(w *world) { w.upsert(w.dst, at(w), "p", rows(s, 1, 5000)) },
			verify.Difference{Kind: verify.ExtraRow, Partition: "p", Key: key(5000), Target: "it"}},
		{"scalar", changed(8, 1, func(f *schemapb.FieldData) { f.GetScalars().GetDoubleData().Data[0] += 1e-12 }),
			verify.Difference{Kind: verify.DifferentRow, Key: key(8), Field: "total", Source: "8.1"}},
		{"text", changed(9, 2, func(f *schemapb.FieldData) { f.GetScalars().GetStringData().Data[0] = "Name 9" }),
			verify.Difference{Kind: verify.DifferentRow, Key: key(9), Field: "name", Source: `"name 9"`, Target: `"Name 9"`}},
		{"JSON", changed(10, 3, func(f *schemapb.FieldData) {
			f.GetScalars().GetJsonData().Data[0] = []byte(`{"b": 10, "a": [1, 2.5], "v": 1}`)
		}),
			verify.Difference{Kind: verify.DifferentRow, Key: key(10), Field: "doc"}},
		{"array", changed(11, 4, func(f *schemapb.FieldData) {
			f.GetScalars().GetArrayData().GetData()[0].GetStringData().Data[1] = "y"
		}), verify.Difference{Kind: verify.DifferentRow, Key: key(11), Field: "tags", Target: `["x" "y"]`}},
		{"dynamic field", changed(12, 7, func(f *schemapb.FieldData) { f.GetScalars().GetJsonData().Data[0] = []byte(`{"extra":13}`) }),
			verify.Difference{Kind: verify.DifferentRow, Key: key(12), Field: "$meta"}},
		{"vector component", changed(13, 6, func(f *schemapb.FieldData) { f.GetVectors().GetFloatVector().Data[5] += 0.25 }),
			verify.Difference{Kind: verify.DifferentRow, Key: key(13), Field: "v[5]", Source: "13.3125", Target: "13.5625"}},
		{"missing partition", func(w *world) { w.must(w.target.DropPartition(w.t.Context(), at(w), "p")) },
			verify.Difference{Kind: verify.OfPartition, Name: "p", Source: "it"}},
		{"extra partition", func(w *world) { w.must(w.target.CreatePartition(w.t.Context(), at(w), "q")) },
			verify.Difference{Kind: verify.OfPartition, Name: "q", Target: "it"}},
		{"different index", func(w *world) {
			w.must(w.target.CreateIndex(w.t.Context(), &milvuspb.CreateIndexRequest{DbName: at(w).Database, CollectionName: orders, FieldName: "v", IndexName: "by_v",
				ExtraParams: hnsw("L2", 16, 64)}))
			w.load(w.dst, at(w))
		}, verify.Difference{Kind: verify.OfIndex, Name: "by_v", Field: "v"}},
		{"extra index", func(w *world) {
			w.must(w.target.CreateIndex(w.t.Context(), &milvuspb.CreateIndexRequest{DbName: at(w).Database, CollectionName: orders, FieldName: "total", IndexName: "by_total"}))
		}, verify.Difference{Kind: verify.OfIndex, Name: "by_total", Field: "total"}},
		{"extra alias", func(w *world) {
			w.must(w.target.SetAlias(w.t.Context(), handlers.Ref{Database: at(w).Database, Collection: w.db + "_a"}, at(w)))
		}, verify.Difference{Kind: verify.OfAlias, Target: "it"}},
		{"missing alias", func(w *world) {
			w.said(w.src.Service().CreateAlias(w.t.Context(), &milvuspb.CreateAliasRequest{DbName: w.db, CollectionName: orders, Alias: w.db + "_b"}))
		}, verify.Difference{Kind: verify.OfAlias, Source: "it"}},
	}
}

// matches reports whether a difference is the one that was planted.
func (p planted) matches(d verify.Difference) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	return p.want.Kind == d.Kind && same(p.want.Name, d.Name) && same(p.want.Partition, d.Partition) && same(p.want.Key, d.Key) &&
		same(p.want.Field, d.Field) && same(p.want.Source, d.Source) && same(p.want.Target, d.Target)
}

// TestFindsAndRepairsWhatIsPlanted, with integers and with strings for keys.
func TestFindsAndRepairsWhatIsPlanted(t *testing.T) {
	t.Run("integers", func(t *testing.T) { findsAndRepairs(t, schemapb.DataType_Int64, "") })
	t.Run("strings", func(t *testing.T) { findsAndRepairs(t, schemapb.DataType_VarChar, "row component") })
}

// findsAndRepairs plants what has one of the words in its name, or all.
func findsAndRepairs(t *testing.T, keys schemapb.DataType, words string) {
	w := newWorld(t)
	s := w.schema(keys)
	w.create(s, "p")
	w.both(defaultPartition, rows(s, 1, from(0, 2000)...))
	w.both("p", rows(s, 1, from(1500, 1000)...))
	key := keyOf(keys)
	r := w.run()
	w.is(r, verify.Equal)
	if c := r.Collections[0]; len(r.Collections) != 1 || c.SourceRows != 3000 || c.TargetRows != 3000 || c.Found() != 0 || len(c.Notes) != 0 {
		t.Fatalf("equal, but %+v", r)
	}
	for _, p := range plants(s, key) {
		if words != "" && !slices.ContainsFunc(strings.Fields(words), func(word string) bool { return strings.Contains(p.name, word) }) {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			w := *w
			w.t = t
			p.plant(&w)
			r := w.run()
			w.is(r, verify.Different)
			c := r.Collections[0]
			if r.Found() != 1 || len(c.Differences) != 1 || !p.matches(c.Differences[0]) {
				t.Fatalf("found %d differences: %+v\nwant one like %+v", r.Found(), c.Differences, p.want)
			}
			r = w.run(w.repairing)
			w.is(r, verify.Equal)
			c = r.Collections[0]
			if c.Repaired == 0 || r.Found() != 0 || !slices.ContainsFunc(c.Differences, func(d verify.Difference) bool { return d.Repaired && p.matches(d) }) {
				t.Errorf("repaired %+v", c)
			}
			w.is(w.run(), verify.Equal)
			if _, err := json.Marshal(r); err != nil {
				t.Error(err)
			}
		})
	}
}
