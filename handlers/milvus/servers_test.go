//go:build servers

package milvus_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
)

// TestEveryDefinitionTwice does what each event without rows asks for, and does it again.
func TestEveryDefinitionTwice(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) { everyDefinitionTwice(t, w) })
}

func everyDefinitionTwice(t *testing.T, w *world) {
	ctx, target, ref := t.Context(), w.target, w.ref("c")
	req := w.request("c", idField(), vectorField(4))
	for i, step := range []struct {
		name string
		do   func() error
	}{
		{"create database", func() error { return target.CreateDatabase(ctx, w.db) }},
		{"create collection", func() error { return target.CreateCollection(ctx, req) }},
		{"create partition", func() error { return target.CreatePartition(ctx, ref, "p") }},
		{"create the default partition", func() error { return target.CreatePartition(ctx, ref, "_default") }},
		{"drop partition", func() error { return target.DropPartition(ctx, ref, "p") }},
		{"drop collection", func() error { return target.DropCollection(ctx, ref) }},
		{"drop partition of no collection", func() error { return target.DropPartition(ctx, ref, "p") }},
		{"drop database", func() error { return target.DropDatabase(ctx, w.db) }},
		{"drop collection of no database", func() error { return target.DropCollection(ctx, ref) }},
		{"drop partition of no database", func() error { return target.DropPartition(ctx, ref, "p") }},
	} {
		for range 2 {
			if err := step.do(); err != nil {
				t.Fatalf("%d %s: %v", i, step.name, err)
			}
		}
	}
	w.must(target.CreateCollection(ctx, req)) // makes its database too
	list, err := w.look.ShowCollections(ctx, &milvuspb.ShowCollectionsRequest{DbName: w.db})
	w.said(list.GetStatus(), err)
	if !slices.Equal(list.GetCollectionNames(), []string{"c"}) {
		t.Errorf("collections %v", list.GetCollectionNames())
	}
}

// TestCollectionIsTheSources looks at what was created.
func TestCollectionIsTheSources(t *testing.T) {
	w := newWorld(t)
	req := w.request("c", field("id", schemapb.DataType_Int64, primary, auto), vectorField(4),
		field("k", schemapb.DataType_Int64, partitionKey), metaField())
	req.ShardsNum, req.NumPartitions, req.ConsistencyLevel = 3, 5, commonpb.ConsistencyLevel_Eventually
	req.Properties = []*commonpb.KeyValuePair{
		{Key: "collection.ttl.seconds", Value: "86400"}, {Key: "replicate.id", Value: "x"},
	}
	w.must(w.target.CreateCollection(t.Context(), req))
	d, err := w.look.DescribeCollection(t.Context(), &milvuspb.DescribeCollectionRequest{DbName: w.db, CollectionName: "c"})
	w.said(d.GetStatus(), err)
	var names []string
	for _, f := range d.GetSchema().GetFields() {
		names = append(names, f.GetName())
		if f.GetAutoID() {
			t.Errorf("field %s has auto-ID on", f.GetName())
		}
	}
	if !slices.Equal(names, []string{"id", "v", "k"}) || !d.GetSchema().GetEnableDynamicField() {
		t.Errorf("schema %v", d.GetSchema())
	}
	if d.GetShardsNum() != 3 || d.GetConsistencyLevel() != commonpb.ConsistencyLevel_Eventually || d.GetNumPartitions() != 5 {
		t.Errorf("%d shards, %s, %d partitions", d.GetShardsNum(), d.GetConsistencyLevel(), d.GetNumPartitions())
	}
	if p := d.GetProperties(); len(p) != 1 || p[0].GetKey() != "collection.ttl.seconds" || p[0].GetValue() != "86400" {
		t.Errorf("properties %v", p)
	}
	w.must(w.target.CreateCollection(t.Context(), req)) // adopted
}

// TestNastyKeys upserts and deletes keys of every kind of character, alone and in pairs.
func TestNastyKeys(t *testing.T) {
	nasty := []string{
		"", " ", `"`, `'`, `\`, `\\`, `\"`, `say "hi"`, `it's`, "`", "new\nline", "cr\rlf\n", "tab\t", "nul\x00", "\x00", "\x01f", "\x7f",
		`\n`, `\u0041`, `\x41`, `\101`, "ünïcödé", "漢字", "🪁", "\u2028", "\u00a0", "\ufeff", "\U0010ffff", "e\u0301", "%", "_", "a,b", "[x]", "]",
		`") or ("" == "`, "id", "true", "1", "--", "/*", "{}", "$meta", strings.Repeat(`"\`, 200),
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		s := make([]rune, 1+r.IntN(6))
		for i := range s {
			s[i] = []rune{rune(r.IntN(0x80)), rune(r.IntN(0x800)), rune(r.IntN(0xd800)), rune(0x10000 + r.IntN(0x100000))}[r.IntN(4)]
		}
		if !slices.Contains(nasty, string(s)) {
			nasty = append(nasty, string(s))
		}
	}
	everywhere(t, func(t *testing.T, w *world) { nastyKeys(t, w, nasty) })
}

func nastyKeys(t *testing.T, w *world, nasty []string) {
	ref := w.create("c", textID(), vectorField(4))
	w.load(ref, "v", "L2")
	for range 2 {
		w.upsert(ref, "", texts("id", nasty...), vectors("v", 4, len(nasty), 0))
	}
	all := slices.Sorted(slices.Values(nasty))
	if got := w.strings(ref, nil, "id"); !slices.Equal(got, all) || w.count(ref) != int64(len(all)) {
		t.Fatalf("%d keys are there, want %d", len(got), len(all))
	}
	for _, key := range nasty[:43] { // one by one, so that none hides behind another
		w.remove(ref, "", textKeys(key))
	}
	left := slices.Sorted(slices.Values(nasty[43:]))
	if got := w.strings(ref, nil, "id"); !slices.Equal(got, left) {
		t.Fatalf("%d keys are left, want %d", len(got), len(left))
	}
	for range 2 {
		w.remove(ref, "", textKeys(nasty...))
	}
	if n := w.count(ref); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// TestPartitions has one key in two partitions.
func TestPartitions(t *testing.T) {
	w := newWorld(t)
	ref := w.create("c", idField(), vectorField(4))
	for _, p := range []string{"a", "b"} {
		w.must(w.target.CreatePartition(t.Context(), ref, p))
	}
	w.load(ref, "v", "L2")
	for _, p := range []string{"a", "b"} {
		w.upsert(ref, p, longs("id", 1, 2), vectors("v", 4, 2, 0))
	}
	check := func(what string, a, b []int64) {
		t.Helper()
		if ga, gb := w.ints(ref, []string{"a"}, "id"), w.ints(ref, []string{"b"}, "id"); !slices.Equal(ga, a) || !slices.Equal(gb, b) {
			t.Fatalf("after %s: %v and %v, want %v and %v", what, ga, gb, a, b)
		}
	}
	check("upserts", []int64{1, 2}, []int64{1, 2})
	w.remove(ref, "a", intKeys(1))
	check("delete in a", []int64{2}, []int64{1, 2})
	w.remove(ref, "_default", intKeys(2))
	check("delete in _default", []int64{2}, []int64{1, 2})
	w.upsert(ref, "b", longs("id", 2), vectors("v", 4, 1, 9))
	check("upsert in b", []int64{2}, []int64{1, 2})
	w.remove(ref, "", intKeys(2))
	check("delete in all", nil, []int64{1})
	w.must(w.target.DropPartition(t.Context(), ref, "a")) // which is loaded
	if got := w.ints(ref, []string{"b"}, "id"); !slices.Equal(got, []int64{1}) {
		t.Errorf("after a was dropped, b is %v", got)
	}
	w.must(w.target.CreatePartition(t.Context(), ref, "a"))
	w.must(w.target.DropCollection(t.Context(), ref)) // which is loaded
}

// TestDropPartitionLoadedAlone drops the only partition that is loaded.
func TestDropPartitionLoadedAlone(t *testing.T) {
	w := newWorld(t)
	ref := w.create("c", idField(), vectorField(4))
	w.must(w.target.CreatePartition(t.Context(), ref, "a"))
	w.must(w.target.DropPartition(t.Context(), ref, "a")) // never loaded
	w.must(w.target.CreatePartition(t.Context(), ref, "a"))
	w.load(ref, "v", "L2")
	s, err := w.look.ReleaseCollection(t.Context(), &milvuspb.ReleaseCollectionRequest{DbName: w.db, CollectionName: "c"})
	w.said(s, err)
	s, err = w.look.LoadPartitions(t.Context(), &milvuspb.LoadPartitionsRequest{DbName: w.db, CollectionName: "c", PartitionNames: []string{"a"}})
	w.said(s, err)
	w.loaded(ref)
	for range 2 {
		w.must(w.target.DropPartition(t.Context(), ref, "a"))
	}
}

func TestPartitionKey(t *testing.T) {
	w := newWorld(t)
	req := w.request("c", idField(), vectorField(4), field("k", schemapb.DataType_Int64, partitionKey))
	req.NumPartitions = 4
	w.must(w.target.CreateCollection(t.Context(), req))
	ref := w.ref("c")
	w.load(ref, "v", "L2")
	shape, err := w.target.Shape(t.Context(), ref)
	if err != nil || shape != (handlers.Shape{Key: "id", PartitionKey: true}) {
		t.Fatalf("Shape = %+v, %v", shape, err)
	}
	for k := range int64(8) { // the row moves from partition to partition
		w.upsert(ref, "_default_1", longs("id", 1), vectors("v", 4, 1, 0), longs("k", k))
	}
	w.upsert(ref, "", longs("id", 2, 3), vectors("v", 4, 2, 0), longs("k", 5, 6))
	w.remove(ref, "_default_3", intKeys(3))
	if n := w.count(ref); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
	if got := w.query(ref, nil, "id == 1", "k")["k"].GetScalars().GetLongData().GetData(); !slices.Equal(got, []int64{7}) {
		t.Errorf("k is %v, want 7", got)
	}
	for range 2 {
		w.must(w.target.CreatePartition(t.Context(), ref, "_default_9"))
		w.must(w.target.DropPartition(t.Context(), ref, "_default_1"))
	}
}

// TestOtherSchemaIsRefused prints what differs.
func TestOtherSchemaIsRefused(t *testing.T) {
	w := newWorld(t)
	s := service(t, w.addr, "")
	theirs := w.request("c", field("id", schemapb.DataType_Int64, primary, auto), vectorField(8),
		field("s", schemapb.DataType_VarChar, param("max_length", 10)), field("mine", schemapb.DataType_Bool))
	st, err := s.CreateCollection(t.Context(), theirs)
	w.said(st, err)
	err = w.target.CreateCollection(t.Context(), w.request("c", idField(), vectorField(4),
		field("s", schemapb.DataType_VarChar, param("max_length", 20)), field("yours", schemapb.DataType_JSON), metaField()))
	want := `KS-P-SCHEMA: the target has a collection ` + w.db + `.c with another schema: ` +
		`field "id": auto-ID is on on the target, which then can't keep the source's keys; ` +
		`field "v": dim is 4 on the source, 8 on the target; ` +
		`field "s": max_length is 20 on the source, 10 on the target; ` +
		`field "yours" (JSON) is missing on the target; ` +
		`field "mine" (Bool) is on the target only; ` +
		`dynamic field is on on the source, off on the target`
	if err == nil || err.Error() != want {
		t.Errorf("CreateCollection =\n%v\nwant\n%s", err, want)
	}
	wantCode(t, err, handlers.Permanent, milvus.CodeSchema)

	w.create("other", idField(), vectorField(4))
	st, err = s.CreateAlias(t.Context(), &milvuspb.CreateAliasRequest{DbName: w.db, CollectionName: "other", Alias: "nick"})
	w.said(st, err)
	err = w.target.CreateCollection(t.Context(), w.request("nick", idField(), vectorField(4)))
	wantCode(t, err, handlers.Permanent, milvus.CodeSchema)
	st, err = s.DropAlias(t.Context(), &milvuspb.DropAliasRequest{DbName: w.db, Alias: "nick"})
	w.said(st, err)
}

// TestShapeFollowsAReplacedCollection has somebody else replace the collection behind the target's back.
func TestShapeFollowsAReplacedCollection(t *testing.T) {
	w := newWorld(t)
	ref := w.create("c", idField(), vectorField(4))
	w.upsert(ref, "", longs("id", 1), vectors("v", 4, 1, 0))
	st, err := w.look.DropCollection(t.Context(), &milvuspb.DropCollectionRequest{DbName: w.db, CollectionName: "c"})
	w.said(st, err)
	st, err = w.look.CreateCollection(t.Context(), w.request("c", textID(), vectorField(4)))
	w.said(st, err)
	if err := w.target.Delete(t.Context(), ref, "", textKeys("x")); err != nil { // the old shape says id too
		t.Errorf("Delete = %v", err)
	}
	// The first call may still go by the old shape, and is refused; the next looks again.
	r := pack(t, texts("id", "x"), vectors("v", 4, 1, 0))
	if err := w.target.Upsert(t.Context(), ref, "", r); err != nil {
		wantCode(t, err, handlers.Permanent, milvus.CodeSchema)
		w.must(w.target.Upsert(t.Context(), ref, "", r))
	}
}
