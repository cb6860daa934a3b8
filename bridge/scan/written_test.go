//go:build servers

package scan_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/bridge/scan"
	"kitestream/test/servers"
)

// TestReadWhileWritten pages through a 2.3.5, again and again, while others insert, repeat, upsert and delete keys between
// those that stay, and segments are sealed: every row that stays is in every pass.
func TestReadWhileWritten(t *testing.T) {
	const stay, passes = 4000, 12
	w := newWorld(t)
	w.createOf(&milvuspb.CreateCollectionRequest{ShardsNum: 2}, &schemapb.CollectionSchema{
		Name: "c", Fields: []*schemapb.FieldSchema{idField(), numberField(), vectorField(4)},
	})
	w.load("c", "v", "FLAT", "L2")
	m := &model{w: w, name: "c", rows: map[scan.Key]held{}}
	var keys []scan.Key
	for i := range int64(stay) {
		keys = append(keys, scan.IntKey(i*4))
	}
	rand.New(rand.NewPCG(5, 6)).Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for i := range 4 {
		m.insert(keys[i*stay/4 : (i+1)*stay/4])
		if i == 1 {
			w.flush("c")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for seed := range uint64(3) {
		writers.Go(func() { w.hammer(ctx, rand.New(rand.NewPCG(7, seed)), stay) })
	}
	defer writers.Wait()
	defer cancel()
	col := w.collection("c")
	for pass := range passes {
		p := scan.Page{Partition: "_default", Limit: []int{0, 700, 333}[pass%3], Guarantee: w.now()}
		got, _ := w.readAll(col, p)
		for k, h := range m.rows {
			if got[k] != h {
				t.Fatalf("pass %d: key %s has %v, want %v", pass, k, got[k], h)
			}
		}
		if pass%4 == 1 {
			w.flush("c")
		}
	}
}

// hammer writes keys that are no multiples of four, until ctx ends, but no more than a source of the test's size may hold.
func (w *world) hammer(ctx context.Context, r *rand.Rand, stay int64) {
	for i := 0; i < 400 && ctx.Err() == nil; i++ {
		ids := make([]int64, 1+r.IntN(100))
		from := r.Int64N(stay)
		for i := range ids {
			ids[i] = (from+int64(i)/2)*4 + 1 + r.Int64N(3)
		}
		data := []*schemapb.FieldData{longs("id", ids...), longs("n", ids...), vectors("v", 4, ids...)}
		switch r.IntN(4) {
		case 0:
			var in string
			for _, id := range ids {
				in += "," + literal(scan.IntKey(id))
			}
			_, _ = w.raw.Delete(ctx, &milvuspb.DeleteRequest{DbName: w.db, CollectionName: "c", Expr: "id in [" + in[1:] + "]"})
		case 1:
			_, _ = w.raw.Upsert(ctx, &milvuspb.UpsertRequest{DbName: w.db, CollectionName: "c", NumRows: uint32(len(ids)), FieldsData: data})
		default:
			_, _ = w.raw.Insert(ctx, &milvuspb.InsertRequest{DbName: w.db, CollectionName: "c", NumRows: uint32(len(ids)), FieldsData: data})
		}
	}
}

// TestToken reads from a source that wants to know who does.
func TestToken(t *testing.T) {
	m, err := servers.StartMilvus(t.Context(), servers.MilvusConfig{Dir: t.TempDir(), Set: map[string]string{"common.security.authorizationEnabled": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	c := dial(t, scan.Config{URI: m.Addr, Token: "root:Milvus"})
	if _, err := c.Now(t.Context()); err != nil {
		t.Error(err)
	}
	for _, token := range []string{"", "root:wrong", "wrong"} {
		if _, err := scan.Dial(t.Context(), scan.Config{URI: m.Addr, Token: token}); err == nil || scan.IsTransient(err) {
			t.Errorf("Dial with the token %q = %v", token, err)
		}
	}
}

// TestOutputsOfFunctions reads of a Milvus Lite what was written, and not what it made of it.
func TestOutputsOfFunctions(t *testing.T) {
	w := newLite(t)
	w.createOf(&milvuspb.CreateCollectionRequest{ShardsNum: 1}, &schemapb.CollectionSchema{Name: "c",
		Fields: []*schemapb.FieldSchema{idField(), field("text", schemapb.DataType_VarChar, param("max_length", 256), analysed),
			field("words", schemapb.DataType_SparseFloatVector, func(f *schemapb.FieldSchema) { f.IsFunctionOutput = true })},
		Functions: []*schemapb.FunctionSchema{{
			Name: "f", Type: schemapb.FunctionType_BM25, InputFieldNames: []string{"text"}, OutputFieldNames: []string{"words"},
		}},
	})
	w.load("c", "words", "SPARSE_INVERTED_INDEX", "BM25")
	w.insert("c", "", longs("id", 1, 2), texts("text", "kites fly high", ""))
	rows, err := w.collection("c").Read(t.Context(), scan.Page{Partition: "_default"})
	if err != nil || rows.N != 2 || len(rows.Fields) != 2 || rows.Fields[1].GetFieldName() != "text" {
		t.Errorf("Read = %v, %v", rows, err)
	}
}
