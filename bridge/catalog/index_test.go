package catalog

import (
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"

	"kitestream/bridge/catalog/catalogtest"
)

// vecIndex is an index of the collection "orders".
func vecIndex(id int64) catalogtest.Index {
	pair := func(k, v string) *commonpb.KeyValuePair { return &commonpb.KeyValuePair{Key: k, Value: v} }
	return catalogtest.Index{
		ID: id, Collection: 10, Field: 101, Name: "by_vec", TypeParams: []*commonpb.KeyValuePair{pair("dim", "8")},
		Params:     []*commonpb.KeyValuePair{pair("metric_type", "L2"), pair("M", "8"), pair("index_type", "HNSW")},
		UserParams: []*commonpb.KeyValuePair{pair("params", `{"M":8}`), pair("index_type", "HNSW")},
	}
}

func byVec(id int64) change { return put(catalogtest.IndexKey(10, id), vecIndex(id).Value()) }

func TestIndexLife(t *testing.T) {
	m := newModel("p/")
	if v := apply(m, 1, byVec(30)); len(v.Collections) != 0 || !v.IndexGone(10, 30) {
		t.Errorf("an index makes a collection of its own: %s", text(v))
	}
	v := apply(m, 2, orders(catalogtest.Created)...)
	ix := v.Collections[10].Indexes[30]
	if ix == nil || v.IndexGone(10, 30) || ix.ID != 30 || ix.Name != "by_vec" || ix.FieldID != 101 || ix.Auto || ix.Created != 30<<18 {
		t.Fatalf("created: %+v", ix)
	}
	got := strings.Join(append(append(pairs(ix.TypeParams), pairs(ix.Params)...), pairs(ix.UserParams)...), " ")
	if got != `dim=8 M=8 index_type=HNSW metric_type=L2 index_type=HNSW params={"M":8}` {
		t.Errorf("its parameters are %s", got)
	}
	marked := vecIndex(30)
	marked.Deleted = true
	dropped := apply(m, 3, put(catalogtest.IndexKey(10, 30), marked.Value()))
	if !dropped.IndexGone(10, 30) || v.Collections[10].Indexes[30] == nil || dropped.Unreadable != nil {
		t.Errorf("marked as deleted: %s", text(dropped))
	}
	if v = apply(m, 4, byVec(31)); v.Collections[10].Indexes[31] == nil || len(v.Collections[10].Indexes) != 1 {
		t.Errorf("created again under the same name: %s", text(v))
	}
	if v = apply(m, 5, del(catalogtest.IndexKey(10, 30))); v.Collections[10].Indexes[31] == nil || !v.IndexGone(10, 30) {
		t.Errorf("the old key is deleted: %s", text(v))
	}
	auto := vecIndex(31)
	auto.Auto = true
	if v = apply(m, 6, put(catalogtest.IndexKey(10, 31), auto.Value())); !v.Collections[10].Indexes[31].Auto {
		t.Errorf("altered: %s", text(v))
	}
	if v = apply(m, 7, dead(catalogtest.CollectionKey(1, 10))); !v.IndexGone(10, 31) {
		t.Errorf("without its collection: %s", text(v))
	}
	gone := []change{del(catalogtest.IndexKey(10, 31))}
	for _, c := range children() {
		gone = append(gone, del(c.key))
	}
	if v = apply(m, 8, gone...); text(v) != "" || len(m.records) != 0 {
		t.Errorf("something is left: %s, %d records", text(v), len(m.records))
	}
}

func TestDecodeIndexRefuses(t *testing.T) {
	of := func(change func(*catalogtest.Index)) []byte {
		ix := vecIndex(30)
		change(&ix)
		return ix.Value()
	}
	for name, b := range map[string][]byte{
		"nothing":            {},
		"tombstone":          []byte(tombstone),
		"another index":      vecIndex(31).Value(),
		"another collection": of(func(ix *catalogtest.Index) { ix.Collection = 11 }),
		"no name":            of(func(ix *catalogtest.Index) { ix.Name = "" }),
		"no field":           of(func(ix *catalogtest.Index) { ix.Field = 0 }),
		"cut off":            of(func(*catalogtest.Index) {})[:30],
		"another deleted":    of(func(ix *catalogtest.Index) { ix.ID, ix.Deleted = 31, true }),
		"wrong wire type":    append(vecIndex(30).Value(), 1<<3, 7),
		"wrong flag":         append(vecIndex(30).Value(), 2<<3|2, 0),
	} {
		if ix, err := decodeIndex(b, object{kindIndex, 10, 30, ""}); err == nil {
			t.Errorf("%s: decoded as %+v", name, ix)
		}
	}
}
