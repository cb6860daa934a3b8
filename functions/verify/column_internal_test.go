package verify

import (
	"bytes"
	"hash/maphash"
	"math"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/bridge/scan"
)

func scalar(name string, valid []bool, data *schemapb.ScalarField) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: name, ValidData: valid, Field: &schemapb.FieldData_Scalars{Scalars: data}}
}

func longs(v ...int64) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}}}
}

func texts(v ...string) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}}}
}

func doubles(v ...float64) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: v}}}
}

func arrays(v ...*schemapb.ScalarField) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_ArrayData{ArrayData: &schemapb.ArrayArray{Data: v}}}
}

func jsons(v ...string) *schemapb.ScalarField {
	d := &schemapb.JSONArray{}
	for _, s := range v {
		d.Data = append(d.Data, []byte(s))
	}
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_JsonData{JsonData: d}}
}

func vectors(name string, dim int64, v ...float32) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: name, Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{
		Dim: dim, Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: v}}}}}
}

// TestValuesDifferWhenTheirBytesDo has columns whose rows are all different but the last two, which are the same.
func TestValuesDifferWhenTheirBytesDo(t *testing.T) {
	nan := math.Float64frombits(0x7ff8000000000123)
	vector := func(data any) *schemapb.FieldData {
		f := &schemapb.VectorField{Dim: 16}
		switch d := data.(type) {
		case *schemapb.VectorField_BinaryVector:
			f.Data = d
		case *schemapb.VectorField_Float16Vector:
			f.Dim, f.Data = 1, d
		case *schemapb.VectorField_Int8Vector:
			f.Dim, f.Data = 2, d
		case *schemapb.VectorField_SparseFloatVector:
			f.Data = d
		}
		return &schemapb.FieldData{FieldName: "v", Field: &schemapb.FieldData_Vectors{Vectors: f}}
	}
	two := []byte{1, 2, 3, 4, 5, 6, 5, 6}
	for name, fd := range map[string]*schemapb.FieldData{
		"longs":         scalar("a", nil, longs(1, -1, 1<<40, 7, 7)),
		"nullable":      scalar("a", []bool{true, false, true, true}, longs(0, 0, 1, 1)),
		"two nulls":     scalar("a", []bool{true, false, false}, longs(0, 1, 2)),
		"doubles":       scalar("a", nil, doubles(0, math.Copysign(0, -1), math.NaN(), nan, math.Inf(1), 2, 2)),
		"texts":         scalar("a", nil, texts("", "a", "b", "ab", "\x00", "a", "a")),
		"arrays":        scalar("a", nil, arrays(texts("ab"), texts("a", "b"), texts("", "ab"), texts(), &schemapb.ScalarField{})),
		"arrays of int": scalar("a", nil, arrays(longs(1, 2), longs(2, 1), longs(12), longs(3), longs(3))),
		"JSON":          scalar("a", nil, jsons(`{"a":1}`, `{"a": 1}`, `{}`, `{}`)),
		"float vectors": vectors("a", 2, 1, 2, 2, 1, 0, float32(math.NaN()), 3, 3, 3, 3),
		"binary":        vector(&schemapb.VectorField_BinaryVector{BinaryVector: two}),
		"float16":       vector(&schemapb.VectorField_Float16Vector{Float16Vector: two}),
		"int8":          vector(&schemapb.VectorField_Int8Vector{Int8Vector: two}),
		"sparse": vector(&schemapb.VectorField_SparseFloatVector{SparseFloatVector: &schemapb.SparseFloatArray{
			Contents: [][]byte{{1}, {1, 2}, {}, {}}}}),
	} {
		c, err := newColumn(fd)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i := range c.n {
			for j := range i {
				same := bytes.Equal(c.value(nil, i), c.value(nil, j))
				alike := i == c.n-1 && j == c.n-2 || name == "texts" && c.text(i) == c.text(j)
				if same != alike {
					t.Errorf("%s: rows %d and %d, %s and %s: same is %v", name, j, i, c.show(j), c.show(i), same)
				}
			}
		}
	}
	for name, fd := range map[string]*schemapb.FieldData{
		"nothing":  {FieldName: "a"},
		"no dim":   vectors("a", 0, 1, 2),
		"half row": vectors("a", 2, 1, 2, 3),
	} {
		if _, err := newColumn(fd); err == nil || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSameJSON(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{`{"a":1,"b":[1,2]}`, `{"b": [1, 2], "a": 1}`, true}, {`{"a":1}`, `{"a":2}`, false}, {`{"a":1}`, `{"b":1}`, false},
		{`{"a":1}`, `{"a":1,"b":2}`, false}, {`[1,2]`, `[2,1]`, false}, {`[1]`, `[1,1]`, false}, {`1e2`, `100.0`, true}, {`1`, `1.0`, true},
		{`9007199254740993`, `9007199254740992`, false}, {`-0`, `0`, true}, {`"a"`, `"\u0061"`, true}, {`null`, `null`, true}, {`null`, `{}`, false},
		{`true`, `"true"`, false}, {``, `{}`, true}, {`{`, `{`, true}, {`{} {}`, `{}`, false},
	} {
		if got := bytes.Equal(canonical([]byte(tc.a)), canonical([]byte(tc.b))); got != tc.same {
			t.Errorf("%s and %s: %v", tc.a, tc.b, got)
		}
	}
}

func TestWhereRowsDiffer(t *testing.T) {
	f := &fields{names: []string{"id", "s", "v"}, seed: maphash.MakeSeed()}
	of := func(s string, v float32) *page {
		p, err := f.newPage(&scan.Rows{N: 2, Keys: []scan.Key{scan.IntKey(1), scan.IntKey(2)}, Fields: []*schemapb.FieldData{
			scalar("id", nil, longs(1, 2)), scalar("other", nil, longs(1, 2)), scalar("s", nil, texts("x", s)), vectors("v", 3, 1, 2, 3, 4, v, 6)}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, b := of("y", 5), of("z", 7)
	if x, y := f.print(a.row(0)), f.print(b.row(0)); x != y || x == 0 || f.print(row{}) != 0 || x == f.print(a.row(1)) {
		t.Errorf("prints %x and %x", x, y)
	}
	got := f.describe("p", scan.IntKey(2), a.row(1), b.row(1))
	want := []Difference{
		{Kind: DifferentRow, Partition: "p", Key: "2", Field: "s", Source: `"y"`, Target: `"z"`},
		{Kind: DifferentRow, Partition: "p", Key: "2", Field: "v[1]", Source: "5", Target: "7"},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v", got)
	}
	if d := f.describe("p", scan.IntKey(2), a.row(1), row{}); len(d) != 1 || d[0].Kind != MissingRow {
		t.Errorf("missing: %+v", d)
	}
	if d := f.describe("p", scan.IntKey(2), row{}, a.row(1)); len(d) != 1 || d[0].Kind != ExtraRow {
		t.Errorf("extra: %+v", d)
	}
	f.names = []string{"id"}
	if p := of("y", 5); len(f.compare(p.row(0), p.row(1), new([2][]byte))) != 1 {
		t.Error("keys that differ are not seen")
	}
	if _, err := f.newPage(&scan.Rows{N: 3, Fields: []*schemapb.FieldData{scalar("id", nil, longs(1, 2))}}, nil); err == nil {
		t.Error("a column that is too short is taken")
	}
}
