package scan

import (
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream/rows"
)

// The forms of answers that no server at hand gives: those of vectors that neither a 2.3.5 nor a Milvus Lite has, and of
// nulls without values.

func longs(v ...int64) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: "id", Type: schemapb.DataType_Int64, FieldId: 100, Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{
		Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}},
	}}}
}

func vector(typ schemapb.DataType, v *schemapb.VectorField) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: "v", Type: typ, FieldId: 101, Field: &schemapb.FieldData_Vectors{Vectors: v}}
}

// halves are three rows of every kind of vector that a 2.4 or a 2.6 adds.
func newVectors() map[schemapb.DataType]*schemapb.VectorField {
	return map[schemapb.DataType]*schemapb.VectorField{
		schemapb.DataType_Float16Vector:  {Dim: 2, Data: &schemapb.VectorField_Float16Vector{Float16Vector: []byte("aabbccddeeff")}},
		schemapb.DataType_BFloat16Vector: {Dim: 2, Data: &schemapb.VectorField_Bfloat16Vector{Bfloat16Vector: []byte("aabbccddeeff")}},
		schemapb.DataType_Int8Vector:     {Dim: 4, Data: &schemapb.VectorField_Int8Vector{Int8Vector: []byte("aabbccddeeff")}},
		schemapb.DataType_SparseFloatVector: {Dim: 9, Data: &schemapb.VectorField_SparseFloatVector{SparseFloatVector: &schemapb.SparseFloatArray{
			Dim: 9, Contents: [][]byte{[]byte("12345678"), nil, []byte("ABCDEFGHIJKLMNOP")},
		}}},
	}
}

// parse reads columns as everybody behind this package does.
func parse(t *testing.T, n int, fields ...*schemapb.FieldData) *rows.Rows {
	t.Helper()
	var data [][]byte
	for _, f := range fields {
		b, err := proto.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, b)
	}
	r, err := rows.Parse(data, n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestVectorsOfNewerServers takes rows out of order, as package rows does with the same bytes.
func TestVectorsOfNewerServers(t *testing.T) {
	key := &schemapb.FieldSchema{Name: "id", FieldID: 100, IsPrimaryKey: true, DataType: schemapb.DataType_Int64}
	for typ, v := range newVectors() {
		want := []*schemapb.FieldSchema{key, {Name: "v", FieldID: 101, DataType: typ}}
		col := &Collection{key: key, fields: want}
		got, err := col.form([]*schemapb.FieldData{vector(typ, v), longs(30, 10, 20)}, want)
		if err != nil {
			t.Fatal(err)
		}
		all := parse(t, 3, got...)
		r := &Rows{Fields: got, N: 3, Keys: keysOf(got, "id")}
		r.sort()
		if !slices.Equal(r.Keys, []Key{IntKey(10), IntKey(20), IntKey(30)}) {
			t.Fatalf("keys %v", r.Keys)
		}
		sorted, err := all.Take([]int{1, 2, 0}).FieldData()
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range r.Fields {
			if !proto.Equal(f, sorted[i]) {
				t.Errorf("%s: %v, want %v", typ, f, sorted[i])
			}
		}
		parse(t, 3, r.Fields...)
		first, rest := &Rows{Fields: slices.Clone(r.Fields), N: 3, Keys: slices.Clone(r.Keys)}, &Rows{N: 1, Keys: r.Keys[2:]}
		for _, f := range r.Fields {
			rest.Fields = append(rest.Fields, pick(f, []int{2}))
		}
		first.cut(2)
		if back := first.join(rest); back.N != 3 || !proto.Equal(back.Fields[1], r.Fields[1]) || first.Done || first.Last != IntKey(20) {
			t.Errorf("%s: cut and joined: %v, want %v", typ, back, r)
		}
	}
}

// TestNullsWithoutValues has a null row without a value, as the answers of some servers do.
func TestNullsWithoutValues(t *testing.T) {
	key := &schemapb.FieldSchema{Name: "id", FieldID: 100, IsPrimaryKey: true, DataType: schemapb.DataType_Int64}
	for typ, v := range newVectors() {
		full := proto.Clone(vector(typ, v)).(*schemapb.FieldData)
		short := pick(full, []int{0, 2})
		want := []*schemapb.FieldSchema{key, {Name: "v", FieldID: 101, DataType: typ, Nullable: true}}
		col := &Collection{key: key, fields: want}
		for _, given := range []*schemapb.FieldData{full, short} {
			given.ValidData = []bool{true, false, true}
			got, err := col.form([]*schemapb.FieldData{longs(1, 2, 3), given}, want)
			if err != nil {
				t.Fatal(err)
			}
			parse(t, 3, got...)
			if !slices.Equal(got[1].GetValidData(), []bool{true, false, true}) || !proto.Equal(pick(got[1], []int{0, 2}).GetVectors(), short.GetVectors()) {
				t.Errorf("%s: %v", typ, got[1])
			}
		}
		full.ValidData = nil
		got, err := col.form([]*schemapb.FieldData{longs(1, 2, 3), full}, want)
		if err != nil || !slices.Equal(got[1].GetValidData(), []bool{true, true, true}) {
			t.Errorf("%s without nulls: %v (%v)", typ, got, err)
		}
	}
}

// TestTimes has times as text, as a 2.6 answers.
func TestTimes(t *testing.T) {
	key := &schemapb.FieldSchema{Name: "id", FieldID: 100, IsPrimaryKey: true, DataType: schemapb.DataType_Int64}
	want := []*schemapb.FieldSchema{key, {Name: "t", FieldID: 101, DataType: schemapb.DataType_Timestamptz}}
	text := func(v ...string) *schemapb.FieldData {
		return &schemapb.FieldData{FieldName: "t", Type: schemapb.DataType_Timestamptz, Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{
			Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}},
		}}}
	}
	col := &Collection{key: key, fields: want}
	got, err := col.form([]*schemapb.FieldData{longs(1, 2, 3), text("1970-01-01T00:00:00Z", "2026-11-26T00:00:00.123456Z", "1969-12-31T23:59:59.999999Z")}, want)
	if err != nil || !slices.Equal(got[1].GetScalars().GetTimestamptzData().GetData(), []int64{0, 1795651200123456, -1}) {
		t.Errorf("times %v (%v)", got, err)
	}
	if _, err := col.form([]*schemapb.FieldData{longs(1), text("noon")}, want); err == nil {
		t.Error("noon is a time")
	}
}

// TestOddAnswers has answers that lack a field, or rows of one.
func TestOddAnswers(t *testing.T) {
	key := &schemapb.FieldSchema{Name: "id", FieldID: 100, IsPrimaryKey: true, DataType: schemapb.DataType_Int64}
	want := []*schemapb.FieldSchema{key, {Name: "v", FieldID: 101, DataType: schemapb.DataType_Int8Vector}}
	col := &Collection{Name: "c", key: key, fields: want}
	for text, got := range map[string][]*schemapb.FieldData{
		"lacks the field v":                         {longs(1)},
		"answers with 1 rows, and 3 of the field v": {longs(1), vector(schemapb.DataType_Int8Vector, newVectors()[schemapb.DataType_Int8Vector])},
		"answers with 1 rows, and 0 of the field v": {longs(1), vector(schemapb.DataType_Int8Vector, &schemapb.VectorField{})},
	} {
		if _, err := col.form(got, want); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %s", err, text)
		}
	}
}
