package rules_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers/rules"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

func field(name string, typ schemapb.DataType) *schemapb.FieldSchema {
	return &schemapb.FieldSchema{Name: name, DataType: typ}
}

// schema has a field of every type that an expression can look at, and a few others.
func schema() *schemapb.CollectionSchema {
	id, part, in, out := field("id", schemapb.DataType_Int64), field("part", schemapb.DataType_VarChar), field("txt", schemapb.DataType_VarChar), field("bm", schemapb.DataType_SparseFloatVector)
	id.IsPrimaryKey, part.IsPartitionKey, out.IsFunctionOutput = true, true, true
	price, tags, nums := field("price", schemapb.DataType_Double), field("tags", schemapb.DataType_Array), field("nums", schemapb.DataType_Array)
	price.Nullable, tags.ElementType, nums.ElementType = true, schemapb.DataType_VarChar, schemapb.DataType_Int16
	return &schemapb.CollectionSchema{
		Name: "c", EnableDynamicField: true,
		Fields: []*schemapb.FieldSchema{
			id, part, in, out, price, tags, nums, field("n", schemapb.DataType_Int8), field("f", schemapb.DataType_Float),
			field("ok", schemapb.DataType_Bool), field("doc", schemapb.DataType_JSON), field("vec", schemapb.DataType_FloatVector),
		},
		Functions: []*schemapb.FunctionSchema{{Name: "bm25", InputFieldNames: []string{"txt"}, OutputFieldNames: []string{"bm"}}},
	}
}

func TestExpressionsThatFit(t *testing.T) {
	for _, where := range []string{
		"id > 3", "id in [1, 2, 3]", "id % 2 == 0", "price != nil && price > 3", "price > 3", "ok", "not ok", "!ok || n == 1",
		`txt startsWith "a" and txt contains "b"`, `txt matches "^a.*z$"`, `"red" in tags`, "3 in nums", `any(tags, # == "x")`, "nums[0] > 2 and len(nums) > 1",
		`doc.a.b == 1`, `doc?.a?.b > 1`, `doc["a"] in [1, "x"]`, `dynamic["k"] == "v"`, "dynamic.k > 2", "lower(txt) == 'a'", "part == 'p'",
		"f > 0.5 ? ok : n > 0", "dynamic.flag", `count(nums, # > 1) > 2`, "true", "max(n, 3) == 3", "-n < 3",
		"price\n  > 3",
	} {
		r, err := rules.Parse(jetstream.Rule{Where: where})
		if err != nil {
			t.Errorf("parse %s: %v", where, err)
			continue
		}
		if err := r.Fits(schema()); err != nil {
			t.Errorf("%s does not fit: %v", where, err)
		}
	}
}

func TestMistakesAreNamedWithTheirPlace(t *testing.T) {
	for _, tc := range []struct{ where, says string }{
		// What Parse finds.
		{"id >", "1:4: unexpected"},
		{"id > > 3", "1:6: unexpected"},
		{"id > 3 and\n  price @ 3", "2:9: "},
		{"now() > 3", "1:1: there is no function now"},
		{"id > 3 and foo(id)", "1:12: there is no function foo"},
		{`repeat(txt, 1000000) == ""`, "1:1: there is no function repeat"},
		{"let x = id; x > 3", "1:5: variables"},
		{"id in 1..1000", "1:8: ranges"},
		{"any(nums, any(nums, # > 1))", "a predicate inside of a predicate"},
		{"txt.foo()", "can't be called"},
		{"1 + 1", "expected bool, but got int"},
		{`"a"`, "expected bool, but got string"},
		{strings.Repeat("id > 3 or ", 500) + "ok", "more than 4096"},
		{strings.Repeat("id>3 or ", 300) + "ok", "nodes"},
		// What Fits finds.
		{"id > 3 and prcie > 1", `1:12: there is no field "prcie"; what rows have beyond the schema is dynamic["prcie"]`},
		{"ok and\n vec == nil", `2:2: "vec" is a FloatVector`},
		{"bm == nil", `"bm" is computed`},
		{"price", "expected bool, but got float64"},
		{`id == "a"`, "1:4: invalid operation: == (mismatched types int and string)"},
		{`txt > 3`, "1:5: invalid operation: > (mismatched types string and int)"},
		{`price + txt > 3`, "1:7: invalid operation"},
		{"$env.id > 3", `1:1: there is no field "$env"`},
		{"tags[0] > 3", "mismatched"},
	} {
		r, err := rules.Parse(jetstream.Rule{Where: tc.where})
		if err == nil {
			err = r.Fits(schema())
		}
		var fe *jetstream.FieldError
		if !errors.As(err, &fe) || fe.Field != "where" || !strings.Contains(fe.Message, tc.says) || strings.Contains(fe.Message, "\n") {
			t.Errorf("%.40q: %v\nwant an error of where that says %q", tc.where, err, tc.says)
		}
	}
	listed := schema()
	listed.EnableDynamicField = false
	listed.Fields = append(listed.Fields, &schemapb.FieldSchema{Name: "$meta", DataType: schemapb.DataType_JSON, IsDynamic: true})
	for where, fits := range map[string]bool{"dynamic.a == 1": true, "$meta.a == 1": false} {
		r, err := rules.Parse(jetstream.Rule{Where: where, DropFields: []string{"$meta"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Fits(listed); (err == nil) != fits || len(r.Cut(listed).Fields) != len(schema().Fields) {
			t.Errorf("%s, with the dynamic field listed: %v", where, err)
		}
	}
	plain := schema()
	plain.EnableDynamicField = false
	r, err := rules.Parse(jetstream.Rule{Where: "dynamic.a == 1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Fits(plain); err == nil || !strings.Contains(err.Error(), "no dynamic field") {
		t.Errorf("dynamic of a collection that has none: %v", err)
	}
}

func TestFieldsThatCanBeDropped(t *testing.T) {
	for _, tc := range []struct {
		drop  string
		field string // that is refused
	}{
		{"price tags doc", ""}, {"$meta", ""}, {"id", "drop_fields[0]"}, {"price part", "drop_fields[1]"}, {"txt", "drop_fields[0]"},
		{"bm", "drop_fields[0]"}, {"nothing", "drop_fields[0]"}, {"vec", ""},
	} {
		r, err := rules.Parse(jetstream.Rule{DropFields: strings.Fields(tc.drop)})
		if err != nil {
			t.Fatal(err)
		}
		s := schema()
		err = r.Fits(s)
		var fe *jetstream.FieldError
		if tc.field == "" && err != nil || tc.field != "" && (!errors.As(err, &fe) || fe.Field != tc.field) {
			t.Errorf("drop %s: %v, want an error of %q", tc.drop, err, tc.field)
		}
		if !proto.Equal(s, schema()) {
			t.Errorf("drop %s: the schema that was asked about has changed", tc.drop)
		}
		cut := r.Cut(s)
		for _, f := range cut.Fields {
			if r.Drops(f.Name) {
				t.Errorf("drop %s: %s is left", tc.drop, f.Name)
			}
		}
		if cut.EnableDynamicField == r.Drops("$meta") {
			t.Errorf("drop %s: dynamic field %v", tc.drop, cut.EnableDynamicField)
		}
	}
	s := schema()
	s.Functions, s.Fields = nil, slices.DeleteFunc(s.Fields, func(f *schemapb.FieldSchema) bool { return f.Name == "bm" })
	r, _ := rules.Parse(jetstream.Rule{DropFields: []string{"vec"}})
	if err := r.Fits(s); err == nil || !strings.HasPrefix(err.Error(), "drop_fields: ") {
		t.Errorf("drop the last vector: %v", err)
	}
	r, _ = rules.Parse(jetstream.Rule{Partitions: []string{"a"}})
	if err := r.Fits(s); err == nil || !strings.HasPrefix(err.Error(), "partitions: ") {
		t.Errorf("partitions of a collection with a partition key: %v", err)
	}
}

// table makes rows of the schema's fields, and more.
func table(t testing.TB, valid []bool, fields ...*schemapb.FieldData) *rows.Rows {
	t.Helper()
	var encoded [][]byte
	for _, f := range fields {
		if f.FieldName == "price" {
			f.ValidData = valid
		}
		b, err := proto.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		encoded = append(encoded, b)
	}
	r, err := rows.Parse(encoded, len(valid))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func scalars(name string, typ schemapb.DataType, f *schemapb.ScalarField) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: name, Type: typ, Field: &schemapb.FieldData_Scalars{Scalars: f}}
}

func texts(v ...string) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}}}
}

func longs(v ...int64) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}}}
}

func ints(v ...int32) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_IntData{IntData: &schemapb.IntArray{Data: v}}}
}

func jsons(v ...string) *schemapb.ScalarField {
	var out [][]byte
	for _, s := range v {
		out = append(out, []byte(s))
	}
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: out}}}
}

func arrays(v ...*schemapb.ScalarField) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_ArrayData{ArrayData: &schemapb.ArrayArray{Data: v}}}
}

func fourRows(t testing.TB) *rows.Rows {
	return table(t, []bool{true, true, false, true},
		scalars("id", schemapb.DataType_Int64, longs(1, 2, 3, 1<<62)),
		scalars("price", schemapb.DataType_Double, &schemapb.ScalarField{Data: &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: []float64{1.5, 4, 0, 9}}}}),
		scalars("n", schemapb.DataType_Int8, ints(-1, 0, 1, 2)),
		scalars("ok", schemapb.DataType_Bool, &schemapb.ScalarField{Data: &schemapb.ScalarField_BoolData{BoolData: &schemapb.BoolArray{Data: []bool{true, false, true, false}}}}),
		scalars("txt", schemapb.DataType_VarChar, texts("abc", "", "ü", "ABC")),
		scalars("tags", schemapb.DataType_Array, arrays(texts("red", "blue"), texts(), &schemapb.ScalarField{}, texts("red"))),
		scalars("nums", schemapb.DataType_Array, arrays(ints(1, 2, 3), ints(), ints(7), ints(-1))),
		scalars("doc", schemapb.DataType_JSON, jsons(`{"a":{"b":5},"big":9007199254740993}`, `{"a":3}`, `[1]`, `"text"`)),
		scalars("$meta", schemapb.DataType_JSON, jsons(`{"k":"v","x":1}`, `{}`, `{"k":5,"x":2.5}`, `{"x":"1","flag":true}`)),
	)
}

func TestKeep(t *testing.T) {
	for _, tc := range []struct {
		where  string
		want   string
		failed int
	}{
		{"id > 1", "[1 2 3]", 0},
		{"id == 4611686018427387904", "[3]", 0},
		{"id in [1, 3]", "[0 2]", 0},
		{"id % 2 == 1", "[0 2]", 0},
		{"price > 3", "[1 3]", 0},
		{"not (price > 3)", "[0 2]", 0},
		{"price == nil", "[2]", 0},
		{"price != nil && price < 3", "[0]", 0},
		{"price < 3 or id == 3", "[0 2]", 0},
		{"price + 1 > 3", "[1 3]", 1},
		{"n >= 1", "[2 3]", 0},
		{"n == -1 or n == 2", "[0 3]", 0},
		{"ok", "[0 2]", 0},
		{"not ok", "[1 3]", 0},
		{"ok ? n > 0 : n == 0", "[1 2]", 0},
		{`txt startsWith "a"`, "[0]", 0},
		{`lower(txt) == "abc"`, "[0 3]", 0},
		{`txt == ""`, "[1]", 0},
		{`"red" in tags`, "[0 3]", 0},
		{"3 in nums", "[0]", 0},
		{"7 in nums or len(nums) == 0", "[1 2]", 0},
		{"nums[0] > 0", "[0 2]", 1},
		{"any(nums, # < 0)", "[3]", 0},
		{"doc.a > 1", "[1]", 2},
		{"doc?.a?.b == 5", "[0]", 3},
		{`type(doc) == "map" and type(doc.a) == "map" and doc.a.b == 5`, "[0]", 0},
		{"doc.big == 9007199254740993", "[0]", 2},
		{`dynamic.k == "v"`, "[0]", 0},
		{`dynamic["x"] >= 1`, "[0 2]", 0},
		{"dynamic.flag", "[3]", 0},
		{"not dynamic.flag", "[0 1 2]", 0},
		{"added > 3", "[]", 0},
		{"added == nil", "[0 1 2 3]", 0},
		{"true", "[0 1 2 3]", 0},
		{"", "[0 1 2 3]", 0},
	} {
		r, err := rules.Parse(jetstream.Rule{Where: tc.where})
		if err != nil {
			t.Errorf("%s: %v", tc.where, err)
			continue
		}
		got, err := r.Keep(fourRows(t))
		if err != nil || fmt.Sprint(got.Index) != tc.want || got.Failed != tc.failed || (got.Why == nil) != (tc.failed == 0) {
			t.Errorf("%s keeps %v, failed for %d (row %d: %v), %v; want %s, %d", tc.where, got.Index, got.Failed, got.Row, got.Why, err, tc.want, tc.failed)
		}
	}
}

func TestKeepWithoutDynamicPart(t *testing.T) {
	r, err := rules.Parse(jetstream.Rule{Where: "dynamic.k == nil"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Keep(fourRows(t).Without("$meta"))
	if err != nil || len(got.Index) != 4 {
		t.Errorf("keeps %v, %v", got, err)
	}
	r, err = rules.Parse(jetstream.Rule{Where: "vec == nil"})
	if err != nil {
		t.Fatal(err)
	}
	vec := &schemapb.FieldData{FieldName: "vec", Type: schemapb.DataType_BinaryVector, Field: &schemapb.FieldData_Vectors{
		Vectors: &schemapb.VectorField{Dim: 8, Data: &schemapb.VectorField_BinaryVector{BinaryVector: []byte{1}}}}}
	if _, err := r.Keep(table(t, []bool{true}, vec)); !errors.Is(err, rows.ErrFields) {
		t.Errorf("keep by a vector: %v", err)
	}
}
