//go:build servers

package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge"
	"kitestream/bridge/scan"
	"kitestream/functions/verify"
	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/jetstream"
	"kitestream/test/servers"
)

func TestMain(m *testing.M) {
	os.Exit(servers.Main(m, servers.RoleSource, servers.RoleTarget, servers.RoleLite))
}

const (
	dim              = 8
	orders           = "orders"
	defaultPartition = "_default"
)

// world is a source and a target with a database of that name each. What a bridge and workers would do between them the tests do
// by hand.
type world struct {
	t        testing.TB
	db       string
	src, dst *scan.Client
	target   *milvus.Target
	spec     jetstream.TaskSpec
	waits    int // how often a verification has waited
	onWait   func(n int)
}

func newWorld(t testing.TB) *world { return worldAt(t, servers.Target(t).Addr) }

func worldAt(t testing.TB, target string) *world {
	t.Helper()
	w := &world{t: t, db: fmt.Sprintf("ks_verify_%d", rand.Uint32())}
	w.src, w.dst = dial(t, servers.Source(t).Addr), dial(t, target)
	var err error
	if w.target, err = milvus.Open(t.Context(), milvus.Config{URI: target}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.target.Close() })
	w.spec = jetstream.TaskSpec{
		Name: "verified", Select: []jetstream.Selection{{Database: w.db, Collections: []string{"*"}}},
		Targets: []jetstream.TargetSpec{{Name: "standby", URI: "http://" + target}},
	}.WithDefaults()
	for _, c := range []*scan.Client{w.src, w.dst} {
		w.said(c.Service().CreateDatabase(t.Context(), &milvuspb.CreateDatabaseRequest{DbName: w.db}))
		t.Cleanup(func() { w.clear(c) })
	}
	return w
}

func dial(t testing.TB, addr string) *scan.Client {
	t.Helper()
	c, err := scan.Dial(t.Context(), scan.Config{URI: "http://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *world) clear(c *scan.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	list, _ := c.Service().ShowCollections(ctx, &milvuspb.ShowCollectionsRequest{DbName: w.db})
	for _, name := range list.GetCollectionNames() {
		d, _ := c.Service().DescribeCollection(ctx, &milvuspb.DescribeCollectionRequest{DbName: w.db, CollectionName: name})
		for _, a := range d.GetAliases() {
			_, _ = c.Service().DropAlias(ctx, &milvuspb.DropAliasRequest{DbName: w.db, Alias: a})
		}
		_, _ = c.Service().DropCollection(ctx, &milvuspb.DropCollectionRequest{DbName: w.db, CollectionName: name})
	}
	_, _ = c.Service().DropDatabase(ctx, &milvuspb.DropDatabaseRequest{DbName: w.db})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) said(s *commonpb.Status, err error) {
	w.t.Helper()
	if err != nil || s.GetCode() != 0 || s.GetErrorCode() != commonpb.ErrorCode_Success {
		w.t.Fatalf("%v %v", s, err)
	}
}

func pair(k, v string) *commonpb.KeyValuePair { return &commonpb.KeyValuePair{Key: k, Value: v} }

// schema has fields of many kinds. The source gives no keys itself, for then the target's could not be planted.
func (w *world) schema(key schemapb.DataType) *schemapb.CollectionSchema {
	id := &schemapb.FieldSchema{FieldID: 100, Name: "id", DataType: key, IsPrimaryKey: true}
	if key == schemapb.DataType_VarChar {
		id.TypeParams = []*commonpb.KeyValuePair{pair("max_length", "200")}
	}
	return &schemapb.CollectionSchema{Name: orders, EnableDynamicField: true, Fields: []*schemapb.FieldSchema{
		id,
		{FieldID: 101, Name: "total", DataType: schemapb.DataType_Double},
		{FieldID: 102, Name: "name", DataType: schemapb.DataType_VarChar, TypeParams: []*commonpb.KeyValuePair{pair("max_length", "100")}},
		{FieldID: 103, Name: "doc", DataType: schemapb.DataType_JSON},
		{FieldID: 104, Name: "tags", DataType: schemapb.DataType_Array, ElementType: schemapb.DataType_VarChar,
			TypeParams: []*commonpb.KeyValuePair{pair("max_length", "20"), pair("max_capacity", "9")}},
		{FieldID: 105, Name: "ok", DataType: schemapb.DataType_Bool},
		{FieldID: 106, Name: "v", DataType: schemapb.DataType_FloatVector, TypeParams: []*commonpb.KeyValuePair{pair("dim", strconv.Itoa(dim))}},
	}}
}

// create makes the collection on both sides, as the handlers do on the target, with an index, and loads it.
func (w *world) create(s *schemapb.CollectionSchema, partitions ...string) {
	w.t.Helper()
	w.createPair(s, s, partitions...)
}

// createPair is create with another schema for the target.
func (w *world) createPair(s, there *schemapb.CollectionSchema, partitions ...string) {
	w.t.Helper()
	w.createSource(s, partitions...)
	w.createTarget(there, w.place(s.GetName()), partitions...)
}

func (w *world) createSource(s *schemapb.CollectionSchema, partitions ...string) {
	w.t.Helper()
	req := w.request(s, handlers.Ref{Database: w.db, Collection: s.GetName()})
	w.said(w.src.Service().CreateCollection(w.t.Context(), req))
	for _, p := range partitions {
		w.said(w.src.Service().CreatePartition(w.t.Context(), &milvuspb.CreatePartitionRequest{DbName: w.db, CollectionName: s.GetName(), PartitionName: p}))
	}
	w.indexed(w.src, handlers.Ref{Database: w.db, Collection: s.GetName()})
}

func (w *world) createTarget(s *schemapb.CollectionSchema, place handlers.Ref, partitions ...string) {
	w.t.Helper()
	w.must(w.target.CreateCollection(w.t.Context(), w.request(s, place)))
	for _, p := range partitions {
		w.must(w.target.CreatePartition(w.t.Context(), place, p))
	}
	w.indexed(w.dst, place)
}

func (w *world) request(s *schemapb.CollectionSchema, ref handlers.Ref) *milvuspb.CreateCollectionRequest {
	w.t.Helper()
	raw, err := proto.Marshal(s)
	w.must(err)
	return &milvuspb.CreateCollectionRequest{
		DbName: ref.Database, CollectionName: ref.Collection, Schema: raw, ShardsNum: 2, ConsistencyLevel: commonpb.ConsistencyLevel_Bounded,
	}
}

func (w *world) indexed(c *scan.Client, ref handlers.Ref) {
	w.t.Helper()
	w.said(c.Service().CreateIndex(w.t.Context(), &milvuspb.CreateIndexRequest{
		DbName: ref.Database, CollectionName: ref.Collection, FieldName: "v", IndexName: "by_v", ExtraParams: hnsw("L2", 8, 64)}))
	w.load(c, ref)
}

func (w *world) place(name string) handlers.Ref {
	return handlers.Ref(w.spec.Place(jetstream.QualifiedName{Database: w.db, Collection: name}))
}

func (w *world) load(c *scan.Client, ref handlers.Ref) {
	w.t.Helper()
	col, err := c.Collection(w.t.Context(), ref.Database, ref.Collection)
	w.must(err)
	w.must(col.Load(w.t.Context()))
}

// rows are rows of the schema with these keys. A version makes others of the same keys.
func rows(s *schemapb.CollectionSchema, version int, ids ...int) []*schemapb.FieldData {
	scalar := func(name string, typ schemapb.DataType, f *schemapb.ScalarField) *schemapb.FieldData {
		return &schemapb.FieldData{FieldName: name, Type: typ, Field: &schemapb.FieldData_Scalars{Scalars: f}}
	}
	var keys []int64
	var texts, names []string
	var totals []float64
	var docs, metas [][]byte
	var tags []*schemapb.ScalarField
	var oks []bool
	var vecs []float32
	for _, id := range ids {
		keys, texts = append(keys, int64(id)), append(texts, textKey(id))
		totals, names, oks = append(totals, float64(id)+float64(version)/10), append(names, fmt.Sprintf("name %d", id)), append(oks, id%2 == 0)
		docs = append(docs, []byte(fmt.Sprintf(`{"b": %d, "a": [1, 2.5, null], "v": %d}`, id, version)))
		metas = append(metas, []byte(fmt.Sprintf(`{"extra":%d}`, id)))
		tags = append(tags, &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: []string{"x", strconv.Itoa(id)}}}})
		for d := range dim {
			vecs = append(vecs, float32(id)+float32(d)/16)
		}
	}
	key := scalar("id", schemapb.DataType_Int64, &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: keys}}})
	if s.GetFields()[0].GetDataType() == schemapb.DataType_VarChar {
		key = scalar("id", schemapb.DataType_VarChar, &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: texts}}})
	}
	meta := scalar("$meta", schemapb.DataType_JSON, &schemapb.ScalarField{Data: &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: metas}}})
	meta.IsDynamic = true
	return []*schemapb.FieldData{
		key,
		scalar("total", schemapb.DataType_Double, &schemapb.ScalarField{Data: &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: totals}}}),
		scalar("name", schemapb.DataType_VarChar, &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: names}}}),
		scalar("doc", schemapb.DataType_JSON, &schemapb.ScalarField{Data: &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: docs}}}),
		scalar("tags", schemapb.DataType_Array, &schemapb.ScalarField{Data: &schemapb.ScalarField_ArrayData{ArrayData: &schemapb.ArrayArray{Data: tags, ElementType: schemapb.DataType_VarChar}}}),
		scalar("ok", schemapb.DataType_Bool, &schemapb.ScalarField{Data: &schemapb.ScalarField_BoolData{BoolData: &schemapb.BoolArray{Data: oks}}}),
		{FieldName: "v", Type: schemapb.DataType_FloatVector, Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{
			Dim: dim, Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: vecs}}}}},
		meta,
	}
}

func textKey(id int) string { return fmt.Sprintf(`key "%d"`, id) }

// upsert writes rows to one side. A Milvus Lite's upsert would keep what is beyond the schema; it is not asked for here.
func (w *world) upsert(c *scan.Client, ref handlers.Ref, partition string, fields []*schemapb.FieldData) {
	w.t.Helper()
	w.upsertN(c, ref, partition, fields, len(fields[5].GetScalars().GetBoolData().GetData()))
}

func (w *world) upsertN(c *scan.Client, ref handlers.Ref, partition string, fields []*schemapb.FieldData, n int) {
	w.t.Helper()
	res, err := c.Service().Upsert(w.t.Context(), &milvuspb.UpsertRequest{
		DbName: ref.Database, CollectionName: ref.Collection, PartitionName: partition, FieldsData: fields, NumRows: uint32(n)})
	w.said(res.GetStatus(), err)
}

// insert writes rows beside those that have their keys.
func (w *world) insert(c *scan.Client, ref handlers.Ref, fields []*schemapb.FieldData) {
	w.t.Helper()
	n := len(fields[5].GetScalars().GetBoolData().GetData())
	res, err := c.Service().Insert(w.t.Context(), &milvuspb.InsertRequest{
		DbName: ref.Database, CollectionName: ref.Collection, FieldsData: fields, NumRows: uint32(n)})
	w.said(res.GetStatus(), err)
}

// failing is a wait that fails.
func (w *world) failing(err error) func(context.Context, func()) error {
	return func(context.Context, func()) error { return err }
}

// both writes rows to both sides.
func (w *world) both(partition string, fields []*schemapb.FieldData) {
	w.t.Helper()
	w.upsert(w.src, handlers.Ref{Database: w.db, Collection: orders}, partition, fields)
	w.upsert(w.dst, w.place(orders), partition, fields)
}

func (w *world) remove(c *scan.Client, ref handlers.Ref, partition, expr string) {
	w.t.Helper()
	res, err := c.Service().Delete(w.t.Context(), &milvuspb.DeleteRequest{DbName: ref.Database, CollectionName: ref.Collection, PartitionName: partition, Expr: expr})
	w.said(res.GetStatus(), err)
}

func from(a, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = a + i
	}
	return out
}

// config is of a verification of the world's task.
func (w *world) config() verify.Config {
	w.t.Helper()
	metrics, err := handlers.NewMetrics(prometheus.NewRegistry())
	w.must(err)
	hs, err := handlers.New(w.target, handlers.Options{
		Task: w.spec.Name, Target: "standby", Spec: w.spec, Until: func() time.Time { return time.Now().Add(time.Hour) }, Metrics: metrics,
		Log: slog.New(slog.DiscardHandler),
	})
	w.must(err)
	return verify.Config{
		Task: w.spec, Target: "standby", Source: w.src, Dest: w.dst, Plan: hs.Plan,
		Wait: func(_ context.Context, synced func()) error {
			w.waits++
			if w.onWait != nil {
				w.onWait(w.waits)
			}
			synced()
			return nil
		},
	}
}

// run verifies.
func (w *world) run(change ...func(*verify.Config)) *verify.Report {
	w.t.Helper()
	w.waits = 0
	cfg := w.config()
	for _, c := range change {
		c(&cfg)
	}
	r, err := verify.Run(w.t.Context(), cfg)
	w.must(err)
	w.t.Logf("%s in %.1f s, after %d waits", r.Verdict, r.Seconds, w.waits)
	return r
}

// is fails the test unless the verdict is this one.
func (w *world) is(r *verify.Report, want verify.Verdict) {
	w.t.Helper()
	if r.Verdict != want {
		text, _ := json.MarshalIndent(r, "", "  ")
		w.t.Fatalf("the verdict is %s, want %s:\n%s", r.Verdict, want, text)
	}
}

// repairing has differences repaired as a bridge and a worker would.
func (w *world) repairing(c *verify.Config) {
	c.Repair = w.repair
	c.Restate = w.restate
}

func (w *world) repair(ctx context.Context, req bridge.RepairRequest) error {
	col, err := w.src.Collection(ctx, w.db, orders)
	w.must(err)
	if req.CollectionID != col.ID || len(req.Keys) > 1000 {
		return fmt.Errorf("asked for %d keys of collection %d, which is %d", len(req.Keys), req.CollectionID, col.ID)
	}
	now, err := w.src.Now(ctx)
	w.must(err)
	got, err := col.Lookup(ctx, req.Partition, req.Keys, now)
	w.must(err)
	if got.N > 0 {
		w.upsert(w.dst, w.place(orders), req.Partition, got.Fields)
	}
	for _, k := range req.Keys {
		if !slices.Contains(got.Keys, k) {
			w.remove(w.dst, w.place(orders), req.Partition, "id in ["+strings.ReplaceAll(k.String(), "\n", `\n`)+"]")
		}
	}
	return nil
}

func (w *world) restate(ctx context.Context, req bridge.RestateRequest) error {
	src := handlers.Ref{Database: w.db, Collection: orders}
	dst := w.place(orders)
	for _, e := range req.Settings {
		if !e.Extra {
			continue
		}
		switch e.Kind {
		case bridge.SettingPartition:
			w.must(w.target.DropPartition(ctx, dst, e.Name))
		case bridge.SettingIndex:
			w.must(w.target.DropIndex(ctx, &milvuspb.DropIndexRequest{DbName: dst.Database, CollectionName: dst.Collection, FieldName: e.Field, IndexName: e.Name}))
		case bridge.SettingAlias:
			w.must(w.target.DropAlias(ctx, handlers.Ref{Database: dst.Database, Collection: e.Name}))
		}
	}
	col, err := w.src.Collection(ctx, src.Database, src.Collection)
	w.must(err)
	for _, p := range col.Partitions {
		w.must(w.target.CreatePartition(ctx, dst, p.Name))
	}
	d, err := w.src.Service().DescribeCollection(ctx, &milvuspb.DescribeCollectionRequest{DbName: src.Database, CollectionName: src.Collection})
	w.said(d.GetStatus(), err)
	for _, a := range d.GetAliases() {
		w.must(w.target.SetAlias(ctx, handlers.Ref{Database: dst.Database, Collection: a}, dst))
	}
	all, err := w.src.Service().DescribeIndex(ctx, &milvuspb.DescribeIndexRequest{DbName: src.Database, CollectionName: src.Collection})
	w.said(all.GetStatus(), err)
	for _, ix := range all.GetIndexDescriptions() {
		w.must(w.target.CreateIndex(ctx, &milvuspb.CreateIndexRequest{
			DbName: dst.Database, CollectionName: dst.Collection, FieldName: ix.GetFieldName(), IndexName: ix.GetIndexName(), ExtraParams: ix.GetParams()}))
	}
	w.load(w.dst, dst)
	return nil
}

// hnsw are the parameters of an index.
func hnsw(metric string, m, ef int) []*commonpb.KeyValuePair {
	return []*commonpb.KeyValuePair{pair("index_type", "HNSW"), pair("metric_type", metric), pair("params", fmt.Sprintf(`{"M":%d,"efConstruction":%d}`, m, ef))}
}

// keyOf is how a key is written in an expression and in a report.
func keyOf(typ schemapb.DataType) func(int) string {
	if typ == schemapb.DataType_VarChar {
		return func(id int) string { return strconv.Quote(textKey(id)) }
	}
	return strconv.Itoa
}
