//go:build servers

package milvus_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/jetstream"
)

// liteSetting is what a Milvus Lite makes of a setting.
type liteSetting struct {
	body  proto.Message
	unmet string             // the code; empty: it is carried out
	is    func(t *testing.T) // how it is then
}

// accounts are the kinds about users and roles, which Milvus Lite has none of.
var accounts = []jetstream.Kind{
	jetstream.CreateCredential, jetstream.UpdateCredential, jetstream.DeleteCredential, jetstream.CreateRole, jetstream.DropRole,
	jetstream.OperateUserRole, jetstream.OperatePrivilege,
}

// TestLiteSettings applies every kind of setting, and flush, twice: what Milvus Lite has is done, what it has not is unmet,
// with no row waiting for it. Its answers are to be clear: with as little patience as this, an unclear one is seen by its code.
func TestLiteSettings(t *testing.T) {
	w := newLite(t)
	fields := []*schemapb.FieldSchema{idField(), vectorField(4), field("n", schemapb.DataType_Int64), field("s", schemapb.DataType_VarChar, param("max_length", 20))}
	h, err := handlers.New(w.target, handlers.Options{SettingPatience: 100 * time.Millisecond})
	w.must(err)
	s := &stream{w: w, ref: w.ref("c"), id: 1}
	applied(t, h.Apply(t.Context(), []*jetstream.Event{s.event(jetstream.CreateCollection, "", w.request("c", fields...))}))
	other := w.create("other", fields...)
	n := int64(50) // rows to build indexes of
	ids, strs := make([]int64, n), make([]string, n)
	for i := range ids {
		ids[i] = int64(i)
	}
	w.upsert(s.ref, "", longs("id", ids...), vectors("v", 4, len(ids), 0), longs("n", ids...), texts("s", strs...))
	w.must(w.target.Flush(t.Context(), s.ref))

	indexed := func(want ...string) func(*testing.T) {
		return func(t *testing.T) { equal(t, "indexes", w.indexed(s.ref), want...) }
	}
	state := func(want string) func(*testing.T) {
		return func(t *testing.T) {
			res, err := w.look.GetLoadState(t.Context(), &milvuspb.GetLoadStateRequest{DbName: w.db, CollectionName: "c"})
			w.said(res.GetStatus(), err)
			if res.GetState().String() != want {
				t.Errorf("load state %s, want %s", res.GetState(), want)
			}
		}
	}
	properties := func(want map[string]string) func(*testing.T) {
		return func(t *testing.T) {
			if got := w.properties(s.ref); !maps.Equal(got, want) {
				t.Errorf("properties %v, want %v", got, want)
			}
		}
	}
	alias := func(want handlers.Ref) func(*testing.T) {
		return func(t *testing.T) {
			if got := w.described(w.ref("x")).GetCollectionName(); got != want.Collection {
				t.Errorf("the alias names %s, want %s", got, want.Collection)
			}
		}
	}
	seen := slices.Clone(accounts)
	for _, tc := range []struct {
		name string
		kind jetstream.Kind
		want liteSetting
	}{
		{"properties", jetstream.AlterCollection, liteSetting{&milvuspb.AlterCollectionRequest{Properties: pairs("collection.ttl.seconds", "60", "mmap.enabled", "true")}, "",
			properties(map[string]string{"collection.ttl.seconds": "60", "mmap.enabled": "true"})}},
		{"fewer properties", jetstream.AlterCollection, liteSetting{&milvuspb.AlterCollectionRequest{DeleteKeys: []string{"collection.ttl.seconds"}}, "",
			properties(map[string]string{"mmap.enabled": "true"})}},
		{"database", jetstream.AlterDatabase, liteSetting{&milvuspb.AlterDatabaseRequest{Properties: pairs("a", "b")}, "", nil}},
		{"field", jetstream.AlterField, liteSetting{&milvuspb.AlterCollectionFieldRequest{FieldName: "s", Properties: pairs("max_length", "30")}, milvus.CodeUnsupported, nil}},

		{"alias", jetstream.CreateAlias, liteSetting{&milvuspb.CreateAliasRequest{Alias: "x"}, "", alias(s.ref)}},
		{"alias that is a collection", jetstream.CreateAlias, liteSetting{&milvuspb.CreateAliasRequest{Alias: "other"}, milvus.CodeNameTaken, nil}},
		{"moved alias", jetstream.AlterAlias, liteSetting{&milvuspb.AlterAliasRequest{Alias: "x"}, "", alias(s.ref)}},
		{"no alias", jetstream.DropAlias, liteSetting{&milvuspb.DropAliasRequest{Alias: "x"}, "", nil}},

		{"index", jetstream.CreateIndex, liteSetting{&milvuspb.CreateIndexRequest{FieldName: "v", IndexName: "iv",
			ExtraParams: pairs("index_type", "HNSW", "metric_type", "L2", "M", "8", "params", `{"efConstruction":64}`)}, "",
			indexed(`v v index_type=HNSW metric_type=L2 params={"M": 8, "efConstruction": 64}`)}},
		{"another index", jetstream.CreateIndex, liteSetting{&milvuspb.CreateIndexRequest{FieldName: "v", IndexName: "iv",
			ExtraParams: pairs("index_type", "FLAT", "metric_type", "IP")}, "", indexed(`v v index_type=FLAT metric_type=IP`)}},
		{"scalar index", jetstream.CreateIndex, liteSetting{&milvuspb.CreateIndexRequest{FieldName: "n", IndexName: "in"}, "",
			indexed(`n n index_type=INVERTED metric_type=NONE`, `v v index_type=FLAT metric_type=IP`)}},
		{"scalar index of another type", jetstream.CreateIndex, liteSetting{&milvuspb.CreateIndexRequest{FieldName: "s", IndexName: "is",
			ExtraParams: pairs("index_type", "Trie")}, milvus.CodeUnsupported, indexed(`n n index_type=INVERTED metric_type=NONE`, `v v index_type=FLAT metric_type=IP`)}},
		{"index of an unknown type", jetstream.CreateIndex, liteSetting{&milvuspb.CreateIndexRequest{FieldName: "v", IndexName: "iv",
			ExtraParams: pairs("index_type", "DISKANN", "metric_type", "L2")}, milvus.CodeUnsupported, indexed(`n n index_type=INVERTED metric_type=NONE`, `v v index_type=FLAT metric_type=IP`)}},
		{"vector index on a number", jetstream.CreateIndex, liteSetting{&milvuspb.CreateIndexRequest{FieldName: "n", IndexName: "in2",
			ExtraParams: pairs("index_type", "HNSW", "metric_type", "L2")}, milvus.CodeRefused, indexed(`n n index_type=INVERTED metric_type=NONE`, `v v index_type=FLAT metric_type=IP`)}},
		{"index parameters", jetstream.AlterIndex, liteSetting{&milvuspb.AlterIndexRequest{IndexName: "iv", ExtraParams: pairs("mmap.enabled", "true")}, milvus.CodeUnsupported, nil}},

		{"load", jetstream.LoadCollection, liteSetting{&milvuspb.LoadCollectionRequest{ReplicaNumber: 1}, "", state("LoadStateLoaded")}},
		{"load in two replicas", jetstream.LoadCollection, liteSetting{&milvuspb.LoadCollectionRequest{ReplicaNumber: 2}, milvus.CodeReplicas, state("LoadStateLoaded")}},
		{"index while loaded", jetstream.CreateIndex, liteSetting{&milvuspb.CreateIndexRequest{FieldName: "v", IndexName: "iv",
			ExtraParams: pairs("index_type", "FLAT", "metric_type", "L2")}, "", state("LoadStateLoaded")}},
		{"no index while loaded", jetstream.DropIndex, liteSetting{&milvuspb.DropIndexRequest{FieldName: "n", IndexName: "in"}, "", state("LoadStateLoaded")}},
		{"release of a partition", jetstream.ReleasePartitions, liteSetting{&milvuspb.ReleasePartitionsRequest{PartitionNames: []string{"_default"}}, milvus.CodeUnsupported, state("LoadStateLoaded")}},
		{"release", jetstream.ReleaseCollection, liteSetting{&milvuspb.ReleaseCollectionRequest{}, "", state("LoadStateNotLoad")}},
		{"load of a partition", jetstream.LoadPartitions, liteSetting{&milvuspb.LoadPartitionsRequest{PartitionNames: []string{"_default"}, ReplicaNumber: 1}, milvus.CodeUnsupported, nil}},
		{"no index", jetstream.DropIndex, liteSetting{&milvuspb.DropIndexRequest{FieldName: "v", IndexName: "iv"}, "", indexed()}},
		{"flush", jetstream.Flush, liteSetting{&milvuspb.FlushRequest{}, "", nil}},
	} {
		seen = append(seen, tc.kind)
		t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) {
			if tc.name == "moved alias" {
				w.must(w.target.SetAlias(t.Context(), w.ref("x"), other))
			}
			for range 2 {
				e := s.event(tc.kind, "", tc.want.body)
				if tc.kind == jetstream.AlterDatabase {
					e.Collection, e.CollectionID = "", 0
				}
				res := h.Apply(t.Context(), []*jetstream.Event{e})
				applied(t, res)
				var codes []string
				for _, u := range res.Unmet {
					codes = append(codes, u.Code)
				}
				if strings.Join(codes, " ") != tc.want.unmet {
					t.Errorf("unmet %v, want %q", res.Unmet, tc.want.unmet)
				}
				if tc.want.is != nil {
					tc.want.is(t)
				}
			}
		})
	}
	for _, kind := range jetstream.Kinds() {
		if (kind.Optional() || kind == jetstream.Flush) && !slices.Contains(seen, kind) {
			t.Errorf("kind %s is not tried", kind)
		}
	}
}
