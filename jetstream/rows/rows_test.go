package rows_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream/rows"
)

// eachTable runs a test on random tables of several sizes. The name of a failing one holds its seed.
func eachTable(t *testing.T, test func(t *testing.T, rng *rand.Rand, n int)) {
	for _, n := range []int{0, 1, 2, 7, 50} {
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("rows=%d/seed=%d", n, seed), func(t *testing.T) {
				test(t, rand.New(rand.NewPCG(seed, uint64(n))), n)
			})
		}
	}
}

func mustParse(tb testing.TB, table []*schemapb.FieldData, n int) *rows.Rows {
	tb.Helper()
	r, err := rows.Parse(marshalAll(tb, table), n)
	if err != nil {
		tb.Fatalf("Parse: %v", err)
	}
	return r
}

// decode reads the columns from what AppendTo made, as the generated code of a Milvus does.
func decode(tb testing.TB, r *rows.Rows, options ...rows.AppendOption) []*schemapb.FieldData {
	tb.Helper()
	const fieldsData = 5
	var request milvuspb.InsertRequest
	if err := proto.Unmarshal(r.AppendTo(nil, fieldsData, options...), &request); err != nil {
		tb.Fatalf("unmarshal what AppendTo made: %v", err)
	}
	return request.FieldsData
}

func wantTable(tb testing.TB, what string, got, want []*schemapb.FieldData) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Fatalf("%s: %d columns, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !proto.Equal(got[i], want[i]) {
			tb.Errorf("%s: column %d =\n%v\nwant\n%v", what, i, got[i], want[i])
		}
	}
}

func TestRoundTrip(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		table := randomTable(rng, n)
		r := mustParse(t, table, n)
		if r.Len() != n {
			t.Errorf("Len = %d, want %d", r.Len(), n)
		}
		wantTable(t, "AppendTo", decode(t, r), table)
		fieldData, err := r.FieldData()
		if err != nil {
			t.Fatalf("FieldData: %v", err)
		}
		wantTable(t, "FieldData", fieldData, table)
	})
}

func TestAppendToIsSizedExactly(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		r := mustParse(t, randomTable(rng, n), n)
		prefix := []byte("before")
		b := r.AppendTo(prefix, 13)
		if !bytes.HasPrefix(b, prefix) {
			t.Errorf("AppendTo does not append: %q", b[:len(prefix)])
		}
		if got, want := len(b)-len(prefix), r.Size(); got != want {
			t.Errorf("AppendTo appended %d bytes, Size = %d", got, want)
		}
		room := make([]byte, 0, r.Size())
		if filled := r.AppendTo(room, 13); n > 0 && &filled[0] != &room[:1][0] {
			t.Error("AppendTo left a slice with room enough")
		}
	})
}

func TestParseAcceptsEveryEncoding(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		table := randomTable(rng, n)
		odd := make([][]byte, kinds)
		for kind, fd := range table {
			odd[kind] = oddColumn(rng, t, kind, fd)
		}
		r, err := rows.Parse(odd, n)
		if err != nil {
			t.Fatalf("Parse: %v", err)
		}
		wantTable(t, "AppendTo", decode(t, r), table)
	})
}

func TestCompressNulls(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		table := randomTable(rng, n)
		r := mustParse(t, table, n)
		want := naiveCompress(table)
		wantTable(t, "AppendTo", decode(t, r, rows.CompressNulls), want)
		wantTable(t, "AppendTo after it", decode(t, r), table)
	})
}

func TestWithoutAndFields(t *testing.T) {
	r := mustParse(t, []*schemapb.FieldData{longColumn("a", 1), longColumn("b", 2), longColumn("c", 3)}, 1)
	less := r.Without("b", "nosuch")
	if got := less.Fields(); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("Fields = %q", got)
	}
	if less.Len() != 1 || len(r.Fields()) != 3 {
		t.Errorf("Without left %d rows, and %q behind", less.Len(), r.Fields())
	}
}

func TestMarkValid(t *testing.T) {
	nullable := longColumn("b", 2, 0)
	nullable.ValidData = []bool{true, false}
	table := []*schemapb.FieldData{longColumn("a", 1, 2), nullable, longColumn("c", 3, 4)}
	r := mustParse(t, table, 2)
	got := decode(t, r.MarkValid("a", "b", "nosuch"))
	want := marshalledCopy(t, table)
	want[0].ValidData = []bool{true, true}
	wantTable(t, "MarkValid", got, want)
	wantTable(t, "the rows before", decode(t, r), table)
}

func TestRowBytes(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		r := mustParse(t, randomTable(rng, n), n)
		sum := func(r *rows.Rows) int {
			size := 0
			for i := range r.Len() {
				size += r.RowBytes(i)
			}
			return size
		}
		rest := r.Size() - sum(r)
		if rest < 0 || rest > 40*kinds {
			t.Errorf("%d bytes are of no row", rest)
		}
		for _, index := range someIndexes(rng, n)[2:5] {
			if part := r.Take(index); part.Size()-sum(part) > rest {
				t.Errorf("%d bytes are of no row, more than the %d of all rows", part.Size()-sum(part), rest)
			}
		}
	})
}

func longColumn(name string, values ...int64) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: name, Type: schemapb.DataType_Int64, Field: &schemapb.FieldData_Scalars{
		Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: values}}}}}
}

func arrayColumn(name string, element schemapb.DataType) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: name, Type: schemapb.DataType_Array, Field: &schemapb.FieldData_Scalars{
		Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_ArrayData{
			ArrayData: &schemapb.ArrayArray{ElementType: element, Data: []*schemapb.ScalarField{{}}}}}}}
}

func vectorColumn(dim int64, values ...float32) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: "v", Type: schemapb.DataType_FloatVector, Field: &schemapb.FieldData_Vectors{
		Vectors: &schemapb.VectorField{Dim: dim, Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: values}}}}}
}

func vectorRows(tb testing.TB, dim int64) *rows.Rows {
	return mustParse(tb, []*schemapb.FieldData{vectorColumn(dim, make([]float32, dim)...)}, 1)
}

func marshalledCopy(tb testing.TB, table []*schemapb.FieldData) []*schemapb.FieldData {
	tb.Helper()
	out := make([]*schemapb.FieldData, len(table))
	for i, fd := range table {
		out[i] = proto.Clone(fd).(*schemapb.FieldData)
	}
	return out
}

func TestParseOfNoRows(t *testing.T) {
	r, err := rows.Parse(nil, 0)
	if err != nil || r.Len() != 0 || len(r.AppendTo(nil, 5)) != 0 {
		t.Errorf("Parse of nothing = %v, %v", r, err)
	}
	bare := &schemapb.FieldData{FieldName: "f", Type: schemapb.DataType_Int64, FieldId: 100}
	for name, fd := range map[string]*schemapb.FieldData{
		"no data": bare, "no rows": longColumn("f"), "no member": {FieldName: "f", Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{Dim: 8}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := mustParse(t, []*schemapb.FieldData{fd}, 0)
			wantTable(t, "AppendTo", decode(t, r.Take(nil)), []*schemapb.FieldData{fd})
			if k, err := r.Keys("f"); err != nil || k.Len() != 0 {
				t.Errorf("Keys = %v, %v", k, err)
			}
		})
	}
}

// A column is a public contract: what is written to the stream today has to be readable for as long as there are
// streams. So one encoding is pinned byte by byte.
func TestAppendToGolden(t *testing.T) {
	fd := longColumn("f", 1, -1, 300)
	fd.FieldId, fd.IsDynamic, fd.ValidData = 101, true, []bool{true, false, true}
	got := mustParse(t, []*schemapb.FieldData{fd}, 3).AppendTo(nil, 13)
	const want = "\x6a\x21\x08\x05\x12\x01f\x1a\x11\x1a\x0f\x0a\x0d\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xac\x02\x28\x65\x30\x01\x3a\x03\x01\x00\x01"
	if string(got) != want {
		t.Errorf("AppendTo = %q, want %q", got, want)
	}
}
