//go:build servers

package newer_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"

	"kitestream/bridge/catalog/catalogtest"
)

// watcher looks at the target.
type watcher struct {
	t testing.TB
	milvuspb.MilvusServiceClient
}

func look(t testing.TB, addr string) watcher {
	t.Helper()
	c, err := client.NewClient(t.Context(), client.Config{Address: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return watcher{t, c.(*client.GrpcClient).Service}
}

// drop drops the collection, with its alias. Whether it could does not matter: the server goes too.
func (w watcher) drop(name string) {
	ctx := context.WithoutCancel(w.t.Context())
	_, _ = w.DropAlias(ctx, &milvuspb.DropAliasRequest{Alias: "everything"})
	_, _ = w.DropCollection(ctx, &milvuspb.DropCollectionRequest{CollectionName: name})
}

// settled reports whether the collection is loaded, and has these indexes.
func (w watcher) settled(name string, indexes ...string) bool {
	w.t.Helper()
	res, err := w.DescribeIndex(w.t.Context(), &milvuspb.DescribeIndexRequest{CollectionName: name})
	if err != nil {
		w.t.Fatal(err)
	}
	var have []string
	for _, d := range res.GetIndexDescriptions() {
		for _, p := range d.GetParams() {
			if p.GetKey() == "index_type" {
				have = append(have, d.GetFieldName()+" "+p.GetValue())
			}
		}
	}
	slices.Sort(have)
	load, err := w.GetLoadState(w.t.Context(), &milvuspb.GetLoadStateRequest{CollectionName: name})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.Equal(have, indexes) && load.GetState() == commonpb.LoadState_LoadStateLoaded
}

func (w watcher) query(name, expr string, fields ...string) map[string]*schemapb.FieldData {
	w.t.Helper()
	res, err := w.Query(w.t.Context(), &milvuspb.QueryRequest{CollectionName: name, Expr: expr, OutputFields: fields})
	if err != nil || res.GetStatus().GetCode() != 0 {
		w.t.Fatalf("query %s where %s: %v %v", name, expr, res.GetStatus(), err)
	}
	out := map[string]*schemapb.FieldData{}
	for _, f := range res.GetFieldsData() {
		out[f.GetFieldName()] = f
	}
	return out
}

// search is the keys of the rows whose function output is like the text, the best first.
func (w watcher) search(name, field, text string) []int64 {
	w.t.Helper()
	res, err := w.Search(w.t.Context(), &milvuspb.SearchRequest{
		CollectionName: name, DslType: commonpb.DslType_BoolExprV1, Nq: 1,
		PlaceholderGroup: catalogtest.Message(&commonpb.PlaceholderGroup{Placeholders: []*commonpb.PlaceholderValue{
			{Tag: "$0", Type: commonpb.PlaceholderType_VarChar, Values: [][]byte{[]byte(text)}},
		}}),
		SearchParams: kvs("anns_field", field, "topk", "10", "metric_type", "BM25", "params", "{}"),
	})
	if err != nil || res.GetStatus().GetCode() != 0 {
		w.t.Fatalf("search %s: %v %v", name, res.GetStatus(), err)
	}
	return res.GetResults().GetIds().GetIntId().GetData()
}

// holds compares the first n rows, one by one; there are to be no others.
func (w watcher) holds(name string, columns []column, n int) {
	w.t.Helper()
	var names []string
	for _, c := range columns {
		if !c.field.GetIsFunctionOutput() {
			names = append(names, c.field.GetName())
		}
	}
	if got := w.query(name, "", "count(*)")["count(*)"].GetScalars().GetLongData().GetData(); !slices.Equal(got, []int64{int64(n)}) {
		w.t.Errorf("%v rows, want %d", got, n)
	}
	for i, id := range ids[:n] {
		got := w.query(name, fmt.Sprintf("id in [%d]", id), names...)
		for _, c := range columns {
			if c.field.GetIsFunctionOutput() {
				continue
			}
			f := got[c.field.GetName()]
			if f == nil {
				w.t.Errorf("row %d has no field %s", id, c.field.GetName())
				continue
			}
			if have, want := row(f, 0), row(c.rows, i); have != want {
				w.t.Errorf("row %d, field %s: %s, want %s", id, c.field.GetName(), have, want)
			}
		}
	}
}
