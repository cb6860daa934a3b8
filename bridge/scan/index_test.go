//go:build servers

package scan_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/bridge/scan"
)

// TestIndexedVectors reads vectors out of segments large enough to be indexed, whose index may keep them in another form.
func TestIndexedVectors(t *testing.T) {
	const n, dim = 2500, 16
	w := newWorld(t)
	r := rand.New(rand.NewPCG(3, 4))
	ids, ns, v := make([]int64, n), make([]int64, n), make([]float32, n*dim)
	for i := range v {
		v[i] = float32(r.NormFloat64()) * 17
	}
	for i := range ids {
		ids[i], ns[i] = int64(i), int64(i)
	}
	column := vectors("v", dim, ids...)
	column.GetVectors().GetFloatVector().Data = v
	for _, tc := range []struct{ index, metric, params string }{
		{"FLAT", "COSINE", `{}`}, {"IVF_SQ8", "L2", `{"nlist":16}`}, {"HNSW", "COSINE", `{"M":8,"efConstruction":32}`},
	} {
		name := tc.index + "_" + tc.metric
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, client: w.client, raw: w.raw, db: w.db}
			w.create(name, idField(), numberField(), vectorField(dim))
			w.insert(name, "", longs("id", ids...), longs("n", ns...), column)
			w.flush(name)
			w.said(w.raw.CreateIndex(t.Context(), &milvuspb.CreateIndexRequest{
				DbName: w.db, CollectionName: name, FieldName: "v", ExtraParams: []*commonpb.KeyValuePair{
					{Key: "index_type", Value: tc.index}, {Key: "metric_type", Value: tc.metric}, {Key: "params", Value: tc.params},
				},
			}))
			w.indexed(name, "v", n)
			col := w.collection(name)
			if err := col.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			p, at := scan.Page{Partition: "_default", Guarantee: w.now()}, 0
			for {
				rows, err := col.Read(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				got := rows.Fields[2].GetVectors().GetFloatVector().GetData()
				for i, f := range got {
					if math.Float32bits(f) != math.Float32bits(v[at+i]) {
						t.Fatalf("component %d of row %d is %v, want %v", (at+i)%dim, (at+i)/dim, f, v[at+i])
					}
				}
				at += len(got)
				if p.After = rows.Last; rows.Done {
					break
				}
			}
			if at != n*dim {
				t.Errorf("%d components, want %d", at, n*dim)
			}
		})
	}
}

// indexed waits until the index of a field has so many rows.
func (w *world) indexed(name, field string, n int64) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		d, err := w.raw.DescribeIndex(w.t.Context(), &milvuspb.DescribeIndexRequest{DbName: w.db, CollectionName: name, FieldName: field})
		w.said(d.GetStatus(), err)
		i := d.GetIndexDescriptions()[0]
		if i.GetState() == commonpb.IndexState_Finished && i.GetIndexedRows() >= n {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%s is not indexed after a minute: %v", name, i)
		}
	}
}

// TestIndexedKeys pages through segments that find keys by an index, as a 2.3.5 may be told to.
func TestIndexedKeys(t *testing.T) {
	for name, text := range map[string]bool{"int64": false, "varchar": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := idField()
			if text {
				id = textID()
			}
			w.create("c", id, numberField(), vectorField(4))
			m := &model{w: w, name: "c", text: text, rows: map[scan.Key]held{}}
			keys := slices.DeleteFunc(manyKeys(text), func(k scan.Key) bool { // which the index of a 2.3.5 takes for a string's end
				s, _ := k.Text()
				return strings.Contains(s, "\x00")
			})
			m.insert(keys)
			w.flush("c")
			w.said(w.raw.CreateIndex(t.Context(), &milvuspb.CreateIndexRequest{DbName: w.db, CollectionName: "c", FieldName: "id", IndexName: "of_id"}))
			w.indexed("c", "id", int64(len(keys)))
			w.load("c", "v", "FLAT", "L2")
			pagesSkipNothing(w, m)
		})
	}
}
