//go:build servers

package milvus_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
)

func pairs(kvs ...string) []*commonpb.KeyValuePair {
	var out []*commonpb.KeyValuePair
	for i := 0; i < len(kvs); i += 2 {
		out = append(out, &commonpb.KeyValuePair{Key: kvs[i], Value: kvs[i+1]})
	}
	return out
}

// plain has a vector, an integer and a string to make indexes on.
func (w *world) plain(name string) handlers.Ref {
	w.t.Helper()
	return w.create(name, idField(), vectorField(4), field("n", schemapb.DataType_Int64), field("s", schemapb.DataType_VarChar, param("max_length", 20)))
}

func (w *world) index(ref handlers.Ref, on, name string, params ...string) error {
	return w.target.CreateIndex(w.t.Context(), &milvuspb.CreateIndexRequest{
		DbName: ref.Database, CollectionName: ref.Collection, FieldName: on, IndexName: name, ExtraParams: pairs(params...),
	})
}

func (w *world) unindex(ref handlers.Ref, on, name string) error {
	return w.target.DropIndex(w.t.Context(), &milvuspb.DropIndexRequest{
		DbName: ref.Database, CollectionName: ref.Collection, FieldName: on, IndexName: name,
	})
}

func (w *world) loadIt(ref handlers.Ref, replicas int32) error {
	return w.target.LoadCollection(w.t.Context(), &milvuspb.LoadCollectionRequest{
		DbName: ref.Database, CollectionName: ref.Collection, ReplicaNumber: replicas,
	})
}

func (w *world) loadParts(ref handlers.Ref, replicas int32, partitions ...string) error {
	return w.target.LoadPartitions(w.t.Context(), &milvuspb.LoadPartitionsRequest{
		DbName: ref.Database, CollectionName: ref.Collection, ReplicaNumber: replicas, PartitionNames: partitions,
	})
}

// indexed are the collection's indexes: name, field and parameters.
func (w *world) indexed(ref handlers.Ref) []string {
	w.t.Helper()
	res, err := w.look.DescribeIndex(w.t.Context(), &milvuspb.DescribeIndexRequest{DbName: ref.Database, CollectionName: ref.Collection})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, d := range res.GetIndexDescriptions() {
		var params []string
		for _, p := range d.GetParams() {
			params = append(params, p.GetKey()+"="+p.GetValue())
		}
		slices.Sort(params)
		out = append(out, strings.Join(slices.Concat([]string{d.GetIndexName(), d.GetFieldName()}, params), " "))
	}
	slices.Sort(out)
	return out
}

// inMemory are the partitions that are loaded or being loaded.
func (w *world) inMemory(ref handlers.Ref) []string {
	w.t.Helper()
	res, err := w.look.ShowPartitions(w.t.Context(), &milvuspb.ShowPartitionsRequest{
		DbName: ref.Database, CollectionName: ref.Collection, Type: milvuspb.ShowType_InMemory,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.Sorted(slices.Values(res.GetPartitionNames()))
}

// aliases are those of the collection.
func (w *world) aliases(ref handlers.Ref) []string {
	w.t.Helper()
	return slices.Sorted(slices.Values(w.described(ref).GetAliases()))
}

func (w *world) properties(ref handlers.Ref) map[string]string {
	w.t.Helper()
	out := map[string]string{}
	for _, p := range w.described(ref).GetProperties() {
		out[p.GetKey()] = p.GetValue()
	}
	return out
}

func (w *world) described(ref handlers.Ref) *milvuspb.DescribeCollectionResponse {
	w.t.Helper()
	d, err := w.look.DescribeCollection(w.t.Context(), &milvuspb.DescribeCollectionRequest{DbName: ref.Database, CollectionName: ref.Collection})
	w.said(d.GetStatus(), err)
	return d
}

// collections are those of a database.
func (w *world) collections(database string) []string {
	w.t.Helper()
	l, err := w.look.ShowCollections(w.t.Context(), &milvuspb.ShowCollectionsRequest{DbName: database})
	w.said(l.GetStatus(), err)
	return slices.Sorted(slices.Values(l.GetCollectionNames()))
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestAliases(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	a, b, x := w.plain("a"), w.plain("b"), w.ref("x")
	for _, of := range []handlers.Ref{a, a, b, b, a, b} { // create, again, move, again, and back and forth
		w.must(w.target.SetAlias(ctx, x, of))
	}
	equal(t, "aliases of a", w.aliases(a))
	equal(t, "aliases of b", w.aliases(b), "x")
	w.must(w.target.SetAlias(ctx, w.ref("_9x"), b))
	equal(t, "aliases of b", w.aliases(b), "_9x", "x")
	for range 2 {
		w.must(w.target.DropAlias(ctx, x))
	}
	w.must(w.target.SetAlias(ctx, x, a))

	none := w.ref("none")
	wantCode(t, w.target.SetAlias(ctx, a, b), handlers.Permanent, milvus.CodeNameTaken)
	wantCode(t, w.target.SetAlias(ctx, x, none), handlers.Permanent, milvus.CodeNoCollection)
	wantCode(t, w.target.SetAlias(ctx, w.ref("y"), none), handlers.Permanent, milvus.CodeNoCollection)
	wantCode(t, w.target.SetAlias(ctx, w.ref("bad name"), a), handlers.Permanent, milvus.CodeRefused)
	wantCode(t, w.target.SetAlias(ctx, w.ref("über"), a), handlers.Permanent, milvus.CodeRefused)
	wantCode(t, w.target.SetAlias(ctx, handlers.Ref{Database: "default", Collection: "x"}, a), handlers.Permanent, milvus.CodeRefused)
	nowhere := handlers.Ref{Database: "ks_h_none", Collection: "x"}
	wantCode(t, w.target.SetAlias(ctx, nowhere, handlers.Ref{Database: "ks_h_none", Collection: "c"}), handlers.Permanent, milvus.CodeNoDatabase)
	w.must(w.target.DropAlias(ctx, nowhere))
	w.must(w.target.DropAlias(ctx, a)) // a collection's name: nothing to drop
	equal(t, "collections", w.collections(w.db), "a", "b")

	// A collection that has aliases takes them along, so that their names are free.
	w.must(w.target.DropCollection(ctx, x)) // an alias's name: there is no such collection
	for range 2 {
		w.must(w.target.DropCollection(ctx, a))
	}
	w.plain("x")
	equal(t, "collections", w.collections(w.db), "b", "x")
}

func TestRename(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	a := w.plain("a")
	w.upsert(a, "", longs("id", 1), vectors("v", 4, 1, 0), longs("n", 1), texts("s", "x"))
	w.load(a, "v", "L2")
	w.must(w.target.SetAlias(ctx, w.ref("x"), a))
	b := w.ref("b_2")
	for range 3 {
		w.must(w.target.RenameCollection(ctx, a, b))
	}
	equal(t, "collections", w.collections(w.db), "b_2") // and not in default, where a 2.3.5 takes it if it can
	equal(t, "aliases", w.aliases(b), "x")
	equal(t, "loaded", w.inMemory(b), "_default")
	if w.count(b) != 1 {
		t.Errorf("%d rows", w.count(b))
	}
	w.upsert(b, "", longs("id", 2), vectors("v", 4, 1, 0), longs("n", 1), texts("s", "x")) // by a shape of its own
	if _, err := w.target.Shape(ctx, a); err == nil {
		t.Error("the old name has a shape")
	}
	// Later the old name may be an alias of the new one; the rename is done all the same.
	w.must(w.target.SetAlias(ctx, a, b))
	w.must(w.target.RenameCollection(ctx, a, b))
	w.must(w.target.DropAlias(ctx, a))
	w.must(w.target.RenameCollection(ctx, b, b))
	equal(t, "collections", w.collections(w.db), "b_2")
	equal(t, "aliases", w.aliases(b), "x")

	t.Run("refused", func(t *testing.T) {
		c := w.plain("c")
		wantCode(t, w.target.RenameCollection(ctx, c, b), handlers.Permanent, milvus.CodeNameTaken)
		wantCode(t, w.target.RenameCollection(ctx, c, w.ref("x")), handlers.Permanent, milvus.CodeNameTaken)
		wantCode(t, w.target.RenameCollection(ctx, b, w.ref("x")), handlers.Permanent, milvus.CodeNameTaken) // its own alias
		wantCode(t, w.target.RenameCollection(ctx, w.ref("none"), w.ref("n")), handlers.Permanent, milvus.CodeNoCollection)
		for _, name := range []string{"bad name", "Ünder", "9c", "c$"} {
			wantCode(t, w.target.RenameCollection(ctx, c, w.ref(name)), handlers.Permanent, milvus.CodeRefused)
			wantCode(t, w.target.RenameCollection(ctx, b, w.ref(name)), handlers.Permanent, milvus.CodeRefused)
		}
		equal(t, "aliases", w.aliases(b), "x")
		equal(t, "collections", w.collections(w.db), "b_2", "c")
		w.must(w.target.DropCollection(ctx, c))
	})
	t.Run("to another database", func(t *testing.T) {
		other := w.db + "_too"
		t.Cleanup(func() { w.must(w.target.DropDatabase(context.WithoutCancel(ctx), other)) })
		c, to := w.plain("c"), handlers.Ref{Database: other, Collection: "d"}
		w.upsert(c, "", longs("id", 1), vectors("v", 4, 1, 0), longs("n", 1), texts("s", "x"))
		for range 2 {
			w.must(w.target.RenameCollection(ctx, c, to)) // and makes the database
		}
		equal(t, "collections", w.collections(w.db), "b_2")
		equal(t, "collections there", w.collections(other), "d")
		w.load(to, "v", "L2")
		w.upsert(to, "", longs("id", 2), vectors("v", 4, 1, 0), longs("n", 1), texts("s", "x"))
		if n := w.count(to); n != 2 {
			t.Errorf("%d rows", n)
		}
		for range 2 {
			w.must(w.target.RenameCollection(ctx, to, c))
		}
		w.must(w.target.SetAlias(ctx, w.ref("y"), c))
		err := w.target.RenameCollection(ctx, c, to) // which the source can't have done either
		if err == nil || !slices.Contains(w.collections(w.db), "c") {
			t.Errorf("moving a collection with aliases: %v", err)
		}
	})
}

func TestIndexes(t *testing.T) {
	w := newWorld(t)
	ref := w.plain("c")
	ivf := func(nlist string) []string {
		return []string{"index_type", "IVF_FLAT", "metric_type", "L2", "params", `{"nlist":` + nlist + `}`}
	}
	is := func(want ...string) {
		t.Helper()
		equal(t, "indexes", w.indexed(ref), want...)
	}
	for range 2 {
		w.must(w.index(ref, "v", "v_idx", ivf("64")...))
	}
	is(`v_idx v index_type=IVF_FLAT metric_type=L2 params={"nlist":64}`)
	// The same in other words; a 2.3.5 refuses each of these itself.
	w.must(w.index(ref, "v", "v_idx", ivf(`"64"`)...))
	w.must(w.index(ref, "v", "v_idx", "index_type", "ivf_flat", "metric_type", "l2", "nlist", "64"))
	w.must(w.index(ref, "v", "v_idx", append(ivf("64"), "mmap.enabled", "true")...))
	is(`v_idx v index_type=IVF_FLAT metric_type=L2 params={"nlist":64}`)
	w.must(w.index(ref, "v", "v_idx", ivf("65")...))
	is(`v_idx v index_type=IVF_FLAT metric_type=L2 params={"nlist":65}`)
	w.must(w.index(ref, "v", "renamed", "index_type", "HNSW", "metric_type", "IP", "M", "8", "efConstruction", "64"))
	is(`renamed v M=8 efConstruction=64 index_type=HNSW metric_type=IP`)
	w.must(w.index(ref, "n", "k"))
	w.must(w.index(ref, "s", "strs", "index_type", "Trie"))
	w.must(w.index(ref, "s", "k")) // takes n's name and s's place
	is(`k s`, `renamed v M=8 efConstruction=64 index_type=HNSW metric_type=IP`)
	w.must(w.index(ref, "n", "strs"))
	for range 2 {
		w.must(w.unindex(ref, "s", "k"))
		w.must(w.unindex(ref, "n", "")) // there are two: by the field's name alone a 2.3.5 refuses
		w.must(w.unindex(ref, "", "none"))
	}
	is(`renamed v M=8 efConstruction=64 index_type=HNSW metric_type=IP`)

	t.Run("refused", func(t *testing.T) {
		for _, name := range []string{"bad name", "über", "$"} {
			wantCode(t, w.index(ref, "n", name), handlers.Unclear, handlers.CodeUnknown)
		}
		wantCode(t, w.index(ref, "nofield", "x"), handlers.Unclear, handlers.CodeUnknown)
		wantCode(t, w.index(w.ref("none"), "v", "x"), handlers.Permanent, milvus.CodeNoCollection)
		w.must(w.unindex(w.ref("none"), "v", "x"))
		w.must(w.unindex(handlers.Ref{Database: "ks_h_none", Collection: "c"}, "v", "x"))
		is(`renamed v M=8 efConstruction=64 index_type=HNSW metric_type=IP`)
		err := w.target.AlterIndex(t.Context(), &milvuspb.AlterIndexRequest{DbName: w.db, CollectionName: "c", IndexName: "renamed", ExtraParams: pairs("mmap.enabled", "true")})
		wantCode(t, err, handlers.Permanent, milvus.CodeUnsupported)
	})
}

// TestIndexOfALoadedCollection changes what Milvus lets nobody change.
func TestIndexOfALoadedCollection(t *testing.T) {
	w := newWorld(t)
	ref := w.plain("c")
	for _, p := range []string{"p1", "p2"} {
		w.must(w.target.CreatePartition(t.Context(), ref, p))
	}
	w.upsert(ref, "p1", longs("id", 1), vectors("v", 4, 1, 0), longs("n", 1), texts("s", "x"))
	hnsw := []string{"index_type", "HNSW", "metric_type", "L2", "params", `{"M":8,"efConstruction":64}`}
	w.must(w.index(ref, "v", "v", "index_type", "FLAT", "metric_type", "L2"))
	w.must(w.index(ref, "n", "n"))
	w.must(w.loadIt(ref, 1))
	w.must(w.index(ref, "s", "s"))
	w.must(w.index(ref, "v", "v", hnsw...))
	equal(t, "indexes", w.indexed(ref), "n n", "s s", `v v index_type=HNSW metric_type=L2 params={"M":8,"efConstruction":64}`)
	equal(t, "loaded", w.inMemory(ref), "_default", "p1", "p2")
	w.loaded(ref)
	if n := w.count(ref); n != 1 {
		t.Errorf("%d rows", n)
	}
	w.must(w.unindex(ref, "s", "s")) // and loads again
	equal(t, "loaded", w.inMemory(ref), "_default", "p1", "p2")

	// An index that the target does not take leaves everything as it was.
	err := w.index(ref, "v", "v", "index_type", "NOSUCH", "metric_type", "L2")
	wantCode(t, err, handlers.Permanent, milvus.CodeRefused)
	equal(t, "indexes", w.indexed(ref), "n n", `v v index_type=HNSW metric_type=L2 params={"M":8,"efConstruction":64}`)
	equal(t, "loaded", w.inMemory(ref), "_default", "p1", "p2")

	w.must(w.target.ReleaseCollection(t.Context(), ref))
	w.must(w.loadParts(ref, 1, "p1"))
	w.must(w.index(ref, "v", "v", "index_type", "FLAT", "metric_type", "IP"))
	equal(t, "loaded", w.inMemory(ref), "p1")
	w.must(w.unindex(ref, "n", "n"))
	equal(t, "loaded", w.inMemory(ref), "p1")

	for range 2 {
		w.must(w.unindex(ref, "v", "v")) // without which nothing can be loaded
	}
	equal(t, "indexes", w.indexed(ref))
	equal(t, "loaded", w.inMemory(ref))
	w.must(w.index(ref, "v", "v", hnsw...))
	equal(t, "loaded", w.inMemory(ref)) // that is for the source's load to do
}

func TestLoads(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	ref := w.plain("c")
	for _, p := range []string{"p1", "p2"} {
		w.must(w.target.CreatePartition(ctx, ref, p))
	}
	is := func(want ...string) {
		t.Helper()
		equal(t, "loaded", w.inMemory(ref), want...)
	}
	t.Run("without an index", func(t *testing.T) {
		for _, err := range []error{w.loadIt(ref, 1), w.loadParts(ref, 1, "p1")} {
			wantCode(t, err, handlers.Permanent, milvus.CodeNoIndex)
		}
		w.must(w.index(ref, "n", "n"))
		for _, err := range []error{w.loadIt(ref, 1), w.loadParts(ref, 1, "p1"), w.loadIt(ref, 2)} {
			wantCode(t, err, handlers.Permanent, milvus.CodeNoIndex)
			if !strings.Contains(err.Error(), "because v has no index on the target") {
				t.Errorf("error %v", err)
			}
		}
	})
	w.must(w.index(ref, "v", "v", "index_type", "FLAT", "metric_type", "L2"))
	for range 2 {
		w.must(w.loadIt(ref, 1))
	}
	is("_default", "p1", "p2")
	for range 2 {
		w.must(w.target.ReleasePartitions(ctx, ref, []string{"p1", "none"}))
	}
	is("_default", "p2")
	w.must(w.loadIt(ref, 1))
	is("_default", "p1", "p2")
	w.must(w.target.ReleasePartitions(ctx, ref, []string{"_default", "p1", "p2"}))
	is()
	for range 2 {
		w.must(w.loadParts(ref, 1, "p2"))
	}
	is("p2")
	wantCode(t, w.loadParts(ref, 1, "none", "p1"), handlers.Permanent, milvus.CodeNoPartition)
	is("p1", "p2")
	w.must(w.loadIt(ref, 1))
	is("_default", "p1", "p2")
	w.loaded(ref)
	for range 2 {
		w.must(w.target.ReleaseCollection(ctx, ref))
		w.must(w.target.ReleasePartitions(ctx, ref, []string{"p1"}))
	}
	is()

	t.Run("more replicas than nodes", func(t *testing.T) {
		for range 2 {
			err := w.loadIt(ref, 2)
			wantCode(t, err, handlers.Permanent, milvus.CodeReplicas)
			is("_default", "p1", "p2") // searchable all the same
		}
		w.loaded(ref)
		w.must(w.target.ReleaseCollection(ctx, ref))
		wantCode(t, w.loadParts(ref, 3, "p1"), handlers.Permanent, milvus.CodeReplicas)
		is("p1")
		w.must(w.target.ReleaseCollection(ctx, ref))
	})
	t.Run("nothing there", func(t *testing.T) {
		for _, none := range []handlers.Ref{w.ref("none"), {Database: "ks_h_none", Collection: "c"}} {
			w.must(w.target.ReleaseCollection(ctx, none))
			w.must(w.target.ReleasePartitions(ctx, none, []string{"p"}))
			w.must(w.target.Flush(ctx, none))
			wantCode(t, w.loadIt(none, 1), handlers.Permanent, milvus.CodeNoCollection)
			wantCode(t, w.loadParts(none, 1, "p"), handlers.Permanent, milvus.CodeNoCollection)
		}
	})
}

func TestProperties(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	ref := w.plain("c")
	alter := func(remove []string, set ...string) error {
		return w.target.AlterCollection(ctx, &milvuspb.AlterCollectionRequest{
			DbName: w.db, CollectionName: "c", Properties: pairs(set...), DeleteKeys: remove,
		})
	}
	is := func(want map[string]string) {
		t.Helper()
		if got := w.properties(ref); !maps.Equal(got, want) {
			t.Errorf("properties %v, want %v", got, want)
		}
	}
	for range 2 {
		w.must(alter(nil, "collection.ttl.seconds", "1000", "replicate.id", "x"))
	}
	w.must(alter(nil, "collection.ttl.seconds", "2000", "mmap.enabled", "true"))
	is(map[string]string{"collection.ttl.seconds": "2000", "mmap.enabled": "true"})
	w.must(alter([]string{"none"}))
	for range 2 { // which a 2.3.5 can't remove, but rows must not die
		w.must(alter([]string{"collection.ttl.seconds"}, "foo", "bar"))
		is(map[string]string{"collection.ttl.seconds": "0", "mmap.enabled": "true", "foo": "bar"})
	}
	err := alter([]string{"mmap.enabled", "collection.ttl.seconds"}, "foo", "baz")
	wantCode(t, err, handlers.Permanent, milvus.CodeUnsupported)
	is(map[string]string{"collection.ttl.seconds": "0", "mmap.enabled": "true", "foo": "baz"})

	unsupported := func(err error, named string) {
		t.Helper()
		wantCode(t, err, handlers.Permanent, milvus.CodeUnsupported)
		if err == nil || !strings.Contains(err.Error(), named) {
			t.Errorf("error %v does not say %s", err, named)
		}
	}
	unsupported(w.target.AlterDatabase(ctx, &milvuspb.AlterDatabaseRequest{DbName: w.db, Properties: pairs("a", "b")}), "Milvus 2.4")
	w.must(w.target.AlterDatabase(ctx, &milvuspb.AlterDatabaseRequest{DbName: w.db, Properties: pairs("replicate.id", "b")}))
	fieldOf := func(value string) *milvuspb.AlterCollectionFieldRequest {
		return &milvuspb.AlterCollectionFieldRequest{DbName: w.db, CollectionName: "c", FieldName: "s", Properties: pairs("max_length", value)}
	}
	unsupported(w.target.AlterField(ctx, fieldOf("30")), "Milvus 2.5")
	w.must(w.target.AlterField(ctx, fieldOf("20"))) // it is so
	n := field("new", schemapb.DataType_Int64, func(f *schemapb.FieldSchema) { f.Nullable = true })
	unsupported(w.target.AddField(ctx, ref, n), "Milvus 2.6")
	w.must(w.target.AddField(ctx, ref, field("n", schemapb.DataType_Int64)))
	wantCode(t, w.target.AddField(ctx, ref, field("s", schemapb.DataType_Int64)), handlers.Permanent, milvus.CodeSchema)
}

func TestFlush(t *testing.T) {
	w := newWorld(t)
	ref := w.plain("c")
	w.upsert(ref, "", longs("id", 1), vectors("v", 4, 1, 0), longs("n", 1), texts("s", "x"))
	for range 3 {
		w.must(w.target.Flush(t.Context(), ref))
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		res, err := w.look.GetPersistentSegmentInfo(t.Context(), &milvuspb.GetPersistentSegmentInfoRequest{DbName: w.db, CollectionName: "c"})
		w.said(res.GetStatus(), err)
		for _, s := range res.GetInfos() {
			if s.GetNumRows() == 1 && s.GetState() == commonpb.SegmentState_Flushed {
				return
			}
		}
	}
	t.Error("no segment with the row is flushed after a minute")
}
