//go:build servers

package milvus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/jetstream/rows"
	"kitestream/test/servers"
)

func TestMain(m *testing.M) { os.Exit(servers.Main(m, servers.RoleTarget, servers.RoleLite)) }

// world is a real Milvus, the Target under test, and a client of its own to look with.
type world struct {
	t      testing.TB
	addr   string
	target *milvus.Target
	look   milvuspb.MilvusServiceClient
	db     string
	lite   bool // it is a Milvus Lite
}

// newWorld has a database of its own on the shared target.
func newWorld(t testing.TB) *world {
	t.Helper()
	return worldAt(t, servers.Target(t).Addr)
}

// newLite has one on the shared Milvus Lite.
func newLite(t testing.TB) *world {
	t.Helper()
	w := worldAt(t, servers.SharedLite(t).Addr)
	w.lite = true
	return w
}

func worldAt(t testing.TB, addr string) *world {
	t.Helper()
	w := &world{t: t, addr: addr, db: fmt.Sprintf("ks_h_%d", rand.Uint32())}
	w.target = open(t, milvus.Config{URI: w.addr})
	w.look = service(t, w.addr, "")
	if err := w.target.CreateDatabase(t.Context(), w.db); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.clear)
	return w
}

// clear drops everything in the world's database.
func (w *world) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	list, err := w.look.ShowCollections(ctx, &milvuspb.ShowCollectionsRequest{DbName: w.db})
	if err != nil {
		w.t.Error(err)
	}
	for _, name := range list.GetCollectionNames() {
		if err := w.target.DropCollection(ctx, w.ref(name)); err != nil {
			w.t.Error(err)
		}
	}
	if err := w.target.DropDatabase(ctx, w.db); err != nil {
		w.t.Error(err)
	}
}

func open(t testing.TB, c milvus.Config) *milvus.Target {
	t.Helper()
	target, err := milvus.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.Close(); err != nil {
			t.Error(err)
		}
	})
	return target
}

// service is a raw client.
func service(t testing.TB, addr, token string) milvuspb.MilvusServiceClient {
	t.Helper()
	c, err := client.NewClient(t.Context(), client.Config{Address: addr, APIKey: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*client.GrpcClient).Service
}

func (w *world) ref(name string) handlers.Ref { return handlers.Ref{Database: w.db, Collection: name} }

// request is the source's request for a collection of these fields.
func (w *world) request(name string, fields ...*schemapb.FieldSchema) *milvuspb.CreateCollectionRequest {
	w.t.Helper()
	s := &schemapb.CollectionSchema{Name: name, Fields: fields}
	for i, f := range fields {
		f.FieldID = int64(100 + i)
		s.AutoID = s.AutoID || f.AutoID
		s.EnableDynamicField = s.EnableDynamicField || f.IsDynamic
	}
	b, err := proto.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return &milvuspb.CreateCollectionRequest{
		DbName: w.db, CollectionName: name, Schema: b, ShardsNum: 2, ConsistencyLevel: commonpb.ConsistencyLevel_Bounded,
	}
}

// create makes the collection on the target, as an event would.
func (w *world) create(name string, fields ...*schemapb.FieldSchema) handlers.Ref {
	w.t.Helper()
	w.must(w.target.CreateCollection(w.t.Context(), w.request(name, fields...)))
	return w.ref(name)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) upsert(ref handlers.Ref, partition string, columns ...*schemapb.FieldData) {
	w.t.Helper()
	w.must(w.target.Upsert(w.t.Context(), ref, partition, pack(w.t, columns...)))
}

func (w *world) remove(ref handlers.Ref, partition string, keys rows.Keys) {
	w.t.Helper()
	w.must(w.target.Delete(w.t.Context(), ref, partition, keys))
}

// load indexes the vector field and loads the collection.
func (w *world) load(ref handlers.Ref, vector, metric string) {
	w.t.Helper()
	index := map[string]string{"L2": "FLAT", "HAMMING": "BIN_FLAT", "BM25": "SPARSE_INVERTED_INDEX"}[metric]
	s, err := w.look.CreateIndex(w.t.Context(), &milvuspb.CreateIndexRequest{
		DbName: ref.Database, CollectionName: ref.Collection, FieldName: vector,
		ExtraParams: []*commonpb.KeyValuePair{{Key: "index_type", Value: index}, {Key: "metric_type", Value: metric}},
	})
	w.said(s, err)
	// A server that has just been started again refuses for some seconds: its parts have yet to find one another.
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		s, err = w.look.LoadCollection(w.t.Context(), &milvuspb.LoadCollectionRequest{
			DbName: ref.Database, CollectionName: ref.Collection, ReplicaNumber: 1,
		})
		if err == nil && s.GetErrorCode() == commonpb.ErrorCode_Success || time.Now().After(end) {
			break
		}
	}
	w.said(s, err)
	w.loaded(ref)
}

// loaded waits until all that is asked for is loaded.
func (w *world) loaded(ref handlers.Ref) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		p, err := w.look.GetLoadingProgress(w.t.Context(), &milvuspb.GetLoadingProgressRequest{
			DbName: ref.Database, CollectionName: ref.Collection,
		})
		w.said(p.GetStatus(), err)
		if p.GetProgress() == 100 {
			return
		}
	}
	w.t.Fatalf("%s is not loaded after a minute", ref)
}

func (w *world) said(s *commonpb.Status, err error) {
	w.t.Helper()
	if err != nil || s.GetErrorCode() != commonpb.ErrorCode_Success || s.GetCode() != 0 {
		w.t.Fatalf("%v %v", s, err)
	}
}

// query reads fields of all rows that the expression is true of, by name.
func (w *world) query(ref handlers.Ref, partitions []string, expr string, fields ...string) map[string]*schemapb.FieldData {
	w.t.Helper()
	res, err := w.look.Query(w.t.Context(), &milvuspb.QueryRequest{
		DbName: ref.Database, CollectionName: ref.Collection, PartitionNames: partitions, Expr: expr, OutputFields: fields,
		ConsistencyLevel: commonpb.ConsistencyLevel_Strong,
	})
	w.said(res.GetStatus(), err)
	out := map[string]*schemapb.FieldData{}
	for _, f := range res.GetFieldsData() {
		out[f.GetFieldName()] = f
	}
	return out
}

// search is the keys of the rows whose function output is like the text, the best first.
func (w *world) search(ref handlers.Ref, field, text string) []int64 {
	w.t.Helper()
	group, err := proto.Marshal(&commonpb.PlaceholderGroup{Placeholders: []*commonpb.PlaceholderValue{
		{Tag: "$0", Type: commonpb.PlaceholderType_VarChar, Values: [][]byte{[]byte(text)}},
	}})
	w.must(err)
	res, err := w.look.Search(w.t.Context(), &milvuspb.SearchRequest{
		DbName: ref.Database, CollectionName: ref.Collection, DslType: commonpb.DslType_BoolExprV1, Nq: 1,
		PlaceholderGroup: group,
		SearchParams: []*commonpb.KeyValuePair{
			{Key: "anns_field", Value: field}, {Key: "topk", Value: "10"}, {Key: "metric_type", Value: "BM25"}, {Key: "params", Value: "{}"},
		},
	})
	w.said(res.GetStatus(), err)
	return res.GetResults().GetIds().GetIntId().GetData()
}

// adoptAlias asks for a collection with the name of an alias.
func (w *world) adoptAlias(of handlers.Ref) error {
	w.t.Helper()
	s, err := w.look.CreateAlias(w.t.Context(), &milvuspb.CreateAliasRequest{DbName: of.Database, CollectionName: of.Collection, Alias: "an_alias"})
	w.said(s, err)
	return w.target.CreateCollection(w.t.Context(), w.request("an_alias", idField(), sparseColumn("s").field))
}

// count is how many rows there are, duplicates counted, in some partitions or in all.
func (w *world) count(ref handlers.Ref, partitions ...string) int64 {
	w.t.Helper()
	return w.query(ref, partitions, "", "count(*)")["count(*)"].GetScalars().GetLongData().GetData()[0]
}

// strings are the values of a string field, sorted.
func (w *world) strings(ref handlers.Ref, partitions []string, field string) []string {
	w.t.Helper()
	v := w.query(ref, partitions, field+` >= ""`, field)[field].GetScalars().GetStringData().GetData()
	return slices.Sorted(slices.Values(v))
}

// ints are the values of an integer field, sorted.
func (w *world) ints(ref handlers.Ref, partitions []string, field string) []int64 {
	w.t.Helper()
	v := w.query(ref, partitions, field+` > -1000000`, field)[field].GetScalars().GetLongData().GetData()
	return slices.Sorted(slices.Values(v))
}
