//go:build servers

package scan_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/scan"
	"kitestream/test/servers"
)

func TestMain(m *testing.M) { os.Exit(servers.Main(m, servers.RoleSource, servers.RoleLite)) }

// world is a real Milvus, the Client under test, and a client of its own to write with.
type world struct {
	t      testing.TB
	client *scan.Client
	raw    milvuspb.MilvusServiceClient
	db     string
	lite   bool
}

// newWorld has a database of its own on the shared source.
func newWorld(t testing.TB) *world { return worldAt(t, servers.Source(t).Addr, false) }

// newLite has one on the shared Milvus Lite.
func newLite(t testing.TB) *world { return worldAt(t, servers.SharedLite(t).Addr, true) }

// everywhere runs a test on a real Milvus 2.3.5 and on a real Milvus Lite.
func everywhere(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("2.3.5", func(t *testing.T) { test(t, newWorld(t)) })
	t.Run("lite", func(t *testing.T) { test(t, newLite(t)) })
}

func worldAt(t testing.TB, addr string, lite bool) *world {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w := &world{t: t, raw: milvuspb.NewMilvusServiceClient(conn), db: fmt.Sprintf("ks_scan_%d", rand.Uint32()), lite: lite}
	w.client = dial(t, scan.Config{URI: "http://" + addr})
	w.said(w.raw.CreateDatabase(t.Context(), &milvuspb.CreateDatabaseRequest{DbName: w.db}))
	t.Cleanup(w.clear)
	return w
}

func dial(t testing.TB, cfg scan.Config) *scan.Client {
	t.Helper()
	c, err := scan.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// clear drops everything in the world's database.
func (w *world) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	list, err := w.raw.ShowCollections(ctx, &milvuspb.ShowCollectionsRequest{DbName: w.db})
	w.said(list.GetStatus(), err)
	for _, name := range list.GetCollectionNames() {
		w.said(w.raw.DropCollection(ctx, &milvuspb.DropCollectionRequest{DbName: w.db, CollectionName: name}))
	}
	w.said(w.raw.DropDatabase(ctx, &milvuspb.DropDatabaseRequest{DbName: w.db}))
}

func (w *world) said(s *commonpb.Status, err error) {
	w.t.Helper()
	if err != nil || s.GetErrorCode() != commonpb.ErrorCode_Success || s.GetCode() != 0 {
		w.t.Fatalf("%v %v", s, err)
	}
}

// create makes a collection of one shard.
func (w *world) create(name string, fields ...*schemapb.FieldSchema) {
	w.t.Helper()
	w.createOf(&milvuspb.CreateCollectionRequest{ShardsNum: 1}, &schemapb.CollectionSchema{Name: name, Fields: fields})
}

func (w *world) createOf(req *milvuspb.CreateCollectionRequest, s *schemapb.CollectionSchema) {
	w.t.Helper()
	var err error
	req.DbName, req.CollectionName = w.db, s.GetName()
	if req.Schema, err = proto.Marshal(s); err != nil {
		w.t.Fatal(err)
	}
	w.said(w.raw.CreateCollection(w.t.Context(), req))
}

// load indexes the vector field and loads the collection.
func (w *world) load(name, vector, index, metric string) {
	w.t.Helper()
	w.said(w.raw.CreateIndex(w.t.Context(), &milvuspb.CreateIndexRequest{
		DbName: w.db, CollectionName: name, FieldName: vector,
		ExtraParams: []*commonpb.KeyValuePair{{Key: "index_type", Value: index}, {Key: "metric_type", Value: metric}},
	}))
	col, err := w.client.Collection(w.t.Context(), w.db, name)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := col.Load(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// insert writes rows and returns their timestamp.
func (w *world) insert(name, partition string, columns ...*schemapb.FieldData) uint64 {
	w.t.Helper()
	res, err := w.raw.Insert(w.t.Context(), &milvuspb.InsertRequest{
		DbName: w.db, CollectionName: name, PartitionName: partition, FieldsData: columns, NumRows: uint32(height(columns)),
	})
	w.said(res.GetStatus(), err)
	return res.GetTimestamp()
}

// upsert writes rows in place of others.
func (w *world) upsert(name, partition string, columns ...*schemapb.FieldData) uint64 {
	w.t.Helper()
	res, err := w.raw.Upsert(w.t.Context(), &milvuspb.UpsertRequest{
		DbName: w.db, CollectionName: name, PartitionName: partition, FieldsData: columns, NumRows: uint32(height(columns)),
	})
	w.said(res.GetStatus(), err)
	return res.GetTimestamp()
}

// remove deletes the rows of which an expression is true.
func (w *world) remove(name, partition, expr string) {
	w.t.Helper()
	res, err := w.raw.Delete(w.t.Context(), &milvuspb.DeleteRequest{DbName: w.db, CollectionName: name, PartitionName: partition, Expr: expr})
	w.said(res.GetStatus(), err)
}

// flush seals what was written, and waits until it is stored.
func (w *world) flush(name string) {
	w.t.Helper()
	res, err := w.raw.Flush(w.t.Context(), &milvuspb.FlushRequest{DbName: w.db, CollectionNames: []string{name}})
	w.said(res.GetStatus(), err)
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		s, err := w.raw.GetFlushState(w.t.Context(), &milvuspb.GetFlushStateRequest{
			DbName: w.db, CollectionName: name, SegmentIDs: res.GetCollSegIDs()[name].GetData(), FlushTs: res.GetCollFlushTs()[name],
		})
		w.said(s.GetStatus(), err)
		if s.GetFlushed() {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%s is not flushed after a minute", name)
		}
	}
}
