//go:build servers

package milvus_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/jetstream"
	"kitestream/test/servers"
)

// TestLiteForgetsDynamicFields upserts rows that have less beyond the schema than before. Milvus Lite's own upsert would
// keep the rest.
func TestLiteForgetsDynamicFields(t *testing.T) {
	w := newLite(t)
	ref := w.create("c", idField(), vectorField(4), metaField())
	w.upsert(ref, "", longs("id", 1, 2), vectors("v", 4, 2, 0), metas(`{"a":1,"b":2}`, `{"a":1}`))
	w.must(w.target.Flush(t.Context(), ref)) // so that the old rows are in a segment
	w.upsert(ref, "", longs("id", 1), vectors("v", 4, 1, 9), metas(`{"b":3}`))
	w.load(ref, "v", "L2")
	for id, want := range map[int]string{1: `{"b": 3}`, 2: `{"a": 1}`} {
		got := w.query(ref, nil, fmt.Sprint("id in [", id, "]"), "$meta")["$meta"].GetScalars().GetJsonData().GetData()
		if len(got) != 1 || string(got[0]) != want {
			t.Errorf("dynamic fields of row %d: %q, want %s", id, got, want)
		}
	}
	if n := w.count(ref); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

// TestLiteKeepsEveryRow writes from several goroutines at once, as Apply does. Milvus Lite itself would lose rows.
func TestLiteKeepsEveryRow(t *testing.T) {
	t.Setenv("MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES", "100000") // so that it writes segments meanwhile
	l, err := servers.StartLite(t.Context(), servers.LiteConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	w := worldAt(t, l.Addr)
	ref := w.create("c", idField(), vectorField(4))
	const writers, calls, each = 8, 40, 50
	var wg sync.WaitGroup
	for i := range int64(writers) {
		wg.Go(func() {
			for j := range int64(calls) {
				ids := make([]int64, each)
				for k := range ids {
					ids[k] = (i*calls+j)*each + int64(k)
				}
				if err := w.target.Upsert(t.Context(), ref, "", pack(t, longs("id", ids...), vectors("v", 4, each, 0))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	w.must(l.Kill())
	w.must(l.Restart(t.Context()))
	w.load(ref, "v", "L2")
	if got := w.ints(ref, nil, "id"); len(got) != writers*calls*each || len(slices.Compact(got)) != len(got) {
		t.Errorf("%d rows, want %d", len(got), writers*calls*each)
	}
}

// TestLiteComputesBM25 has a function's output, which neither the queue nor the request has, and the target's own rows do.
func TestLiteComputesBM25(t *testing.T) {
	w := newLite(t)
	req := w.request("c", idField(), field("text", schemapb.DataType_VarChar, param("max_length", 256), func(f *schemapb.FieldSchema) {
		f.TypeParams = append(f.TypeParams, &commonpb.KeyValuePair{Key: "enable_analyzer", Value: "true"})
	}), field("words", schemapb.DataType_SparseFloatVector, func(f *schemapb.FieldSchema) { f.IsFunctionOutput = true }))
	s := &schemapb.CollectionSchema{}
	w.must(proto.Unmarshal(req.GetSchema(), s))
	s.Functions = []*schemapb.FunctionSchema{{
		Name: "f", Type: schemapb.FunctionType_BM25, InputFieldNames: []string{"text"}, OutputFieldNames: []string{"words"},
		InputFieldIds: []int64{101}, OutputFieldIds: []int64{102},
	}}
	var err error
	req.Schema, err = proto.Marshal(s)
	w.must(err)
	h, err := handlers.New(w.target, handlers.Options{})
	w.must(err)
	events := &stream{w: w, ref: w.ref("c"), id: 1}
	for range 2 {
		applied(t, h.Apply(t.Context(), []*jetstream.Event{
			events.event(jetstream.CreateCollection, "", req),
			events.insert("_default", longs("id", 1, 2, 3), texts("text", "kites fly high", "streams flow", "")),
		}))
	}
	w.load(events.ref, "words", "BM25")
	search := w.search(events.ref, "words", "kites")
	if !slices.Equal(search, []int64{1}) {
		t.Errorf("a search for a word finds rows %v, want 1", search)
	}
	if n := w.count(events.ref); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
}

// TestLiteRefusals has what Milvus Lite can't do: none of it is waited for without end.
func TestLiteRefusals(t *testing.T) {
	w := newLite(t)
	ref := w.create("c", append([]*schemapb.FieldSchema{idField()}, sparseColumn("s").field)...)
	none := handlers.Ref{Database: w.db, Collection: "none"}
	nowhere := handlers.Ref{Database: "ks_h_none", Collection: "none"}
	empty := sparseColumn("s", nil)
	negative := sparseColumn("s", sparse(1, -1))
	upsert := func(ref handlers.Ref, partition string, columns ...*schemapb.FieldData) error {
		return w.target.Upsert(t.Context(), ref, partition, pack(t, columns...))
	}
	for name, tc := range map[string]struct {
		err  error
		code string
	}{
		"no collection":    {upsert(none, "", longs("id", 1)), milvus.CodeNoCollection},
		"no database":      {upsert(nowhere, "", longs("id", 1)), milvus.CodeNoDatabase},
		"no partition":     {upsert(ref, "none", longs("id", 1), sparseColumn("s", sparse(1, 1)).rows), milvus.CodeNoPartition},
		"empty sparse":     {upsert(ref, "", longs("id", 1), empty.rows), milvus.CodeRefused},
		"negative sparse":  {upsert(ref, "", longs("id", 1), negative.rows), milvus.CodeRefused},
		"half floats":      {w.target.CreateCollection(t.Context(), w.request("h", idField(), field("v", schemapb.DataType_Float16Vector, param("dim", 4)))), milvus.CodeUnsupported},
		"no vectors":       {w.target.CreateCollection(t.Context(), w.request("x", idField())), milvus.CodeRefused},
		"name of an alias": {w.adoptAlias(ref), milvus.CodeSchema},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, tc.err, handlers.Permanent, tc.code) })
	}
	w.must(w.target.CreatePartition(t.Context(), ref, "p"))
	for range 2 {
		w.must(w.target.DropPartition(t.Context(), ref, "p"))
	}
}

// TestLiteRenames renames, with aliases and rows, and can't move to another database.
func TestLiteRenames(t *testing.T) {
	w := newLite(t)
	ctx := t.Context()
	from, to := w.create("a", idField(), vectorField(4)), w.ref("b")
	w.upsert(from, "", longs("id", 1), vectors("v", 4, 1, 0))
	w.must(w.target.SetAlias(ctx, w.ref("x"), from))
	for range 2 {
		w.must(w.target.RenameCollection(ctx, from, to))
	}
	equal(t, "collections", w.collections(w.db), "b")
	if got := w.described(w.ref("x")).GetCollectionName(); got != "b" {
		t.Errorf("the alias names %s, want b", got)
	}
	w.create("a", idField(), vectorField(4))
	wantCode(t, w.target.RenameCollection(ctx, from, to), handlers.Permanent, milvus.CodeNameTaken)
	wantCode(t, w.target.RenameCollection(ctx, to, w.ref("x")), handlers.Permanent, milvus.CodeNameTaken)
	for range 2 {
		wantCode(t, w.target.RenameCollection(ctx, to, handlers.Ref{Database: "default", Collection: "ks_h_moved"}), handlers.Permanent, milvus.CodeUnsupported)
		equal(t, "collections", w.collections(w.db), "a", "b")
	}
	wantCode(t, w.target.RenameCollection(ctx, w.ref("none"), w.ref("c")), handlers.Permanent, milvus.CodeNoCollection)
	wantCode(t, w.target.AddField(ctx, to, field("n", schemapb.DataType_Int64, nullable)), handlers.Permanent, milvus.CodeUnsupported)
	w.load(to, "v", "L2")
	if got := w.ints(to, nil, "id"); !slices.Equal(got, []int64{1}) {
		t.Errorf("rows %v, want 1", got)
	}
}

// TestPlans shows what is said of a collection before it is made, and that it is what happens then.
func TestPlans(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		half := field("h", schemapb.DataType_BFloat16Vector, param("dim", 4))
		null := field("n", schemapb.DataType_Int64, nullable)
		key := field("id", schemapb.DataType_Int64, primary, auto)
		refuse := `"h" is a BFloat16Vector: needs Milvus 2.4, the target is Milvus 2.3; "h" is another vector field: needs Milvus 2.4, the target is Milvus 2.3; "n" is nullable: needs Milvus 2.5, the target is Milvus 2.3`
		if w.lite {
			refuse = `"h" is a BFloat16Vector: needs Milvus 2.4, the target is Milvus Lite 3.2`
		}
		w.create("there", idField(), vectorField(4))
		for name, tc := range map[string]struct {
			collection string
			fields     []*schemapb.FieldSchema
			action     handlers.Action
			says       string
			warns      string
		}{
			"new":       {"new", []*schemapb.FieldSchema{key, vectorField(4)}, handlers.ActionCreate, "", `auto-ID of "id" will be off`},
			"there":     {"there", []*schemapb.FieldSchema{idField(), vectorField(4)}, handlers.ActionAdopt, "", ""},
			"different": {"there", []*schemapb.FieldSchema{idField(), vectorField(8)}, handlers.ActionDiffers, `field "v": dim is 8 on the source, 4 on the target`, ""},
			"too new":   {"newer", []*schemapb.FieldSchema{idField(), vectorField(4), half, null}, handlers.ActionRefuse, refuse, ""},
		} {
			t.Run(name, func(t *testing.T) {
				req := w.request(tc.collection, tc.fields...)
				plan, err := w.target.Plan(t.Context(), req)
				w.must(err)
				said := slices.Concat(plan.Differences, plan.Problems)
				if plan.Action != tc.action || strings.Join(said, "; ") != tc.says {
					t.Errorf("plan is to %s: %s, want to %s: %s", plan.Action, strings.Join(said, "; "), tc.action, tc.says)
				}
				if !strings.Contains(strings.Join(plan.Warnings, "\n"), tc.warns) {
					t.Errorf("warnings %q, want %s", plan.Warnings, tc.warns)
				}
				err = w.target.CreateCollection(t.Context(), req)
				switch {
				case tc.says == "" && err != nil:
					t.Errorf("CreateCollection = %v", err)
				case tc.says != "" && (err == nil || !strings.HasSuffix(err.Error(), tc.says)):
					t.Errorf("CreateCollection = %v, want %s", err, tc.says)
				}
			})
		}
	})
}
