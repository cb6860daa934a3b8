package rows_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream/rows"
)

func TestTake(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		table := randomTable(rng, n)
		r := mustParse(t, table, n)
		for _, index := range someIndexes(rng, n) {
			got := r.Take(index)
			if got.Len() != len(index) {
				t.Errorf("Take(%v) has %d rows", index, got.Len())
			}
			wantTable(t, fmt.Sprintf("Take(%v)", index), decode(t, got), naiveTake(table, index))
		}
	})
}

// someIndexes are none, all, backwards, a random choice with doubles, and a stretch.
func someIndexes(rng *rand.Rand, n int) [][]int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	back := slices.Clone(all)
	slices.Reverse(back)
	index := [][]int{nil, {}, all, back, all[n/3 : n-n/3]}
	if n > 0 {
		index = append(index, list(rng.IntN(2*n), func() int { return rng.IntN(n) }))
	}
	return index
}

func TestGather(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		first := randomTable(rng, n)
		want := naiveEmpty(first)
		var parts []rows.Part
		for range 4 {
			table := randomTable(rng, n)
			for i, fd := range table { // nulls are in every part's column, or in none
				fd.ValidData = nil
				if first[i].ValidData != nil {
					fd.ValidData = list(n, func() bool { return rng.IntN(2) == 0 })
				}
			}
			indexes := someIndexes(rng, n)
			index := indexes[rng.IntN(len(indexes))]
			for i, fd := range table {
				naiveGather(want[i], fd, index)
			}
			rng.Shuffle(len(table), func(i, k int) { table[i], table[k] = table[k], table[i] })
			parts = append(parts, rows.Part{Rows: mustParse(t, table, n), Index: index})
		}
		got, err := rows.Gather(parts)
		if err != nil {
			t.Fatalf("Gather: %v", err)
		}
		checkGathered(t, got, want)
	})
}

// checkGathered compares by name: the order of the columns is that of the first part that gave rows. With no rows at
// all, the dim of sparse vectors is anybody's.
func checkGathered(t *testing.T, r *rows.Rows, want []*schemapb.FieldData) {
	t.Helper()
	got := decode(t, r)
	if len(got) != len(want) {
		t.Fatalf("gathered %d columns, want %d", len(got), len(want))
	}
	for _, fd := range got {
		w := want[fd.FieldId-100]
		if sparse := w.GetVectors().GetSparseFloatVector(); sparse != nil {
			// The naive model starts from a table that gave no rows: its dim doesn't count.
			sparse.Dim, w.GetVectors().Dim = fd.GetVectors().GetSparseFloatVector().GetDim(), fd.GetVectors().Dim
		}
		if !proto.Equal(fd, w) {
			t.Errorf("gathered\n%v\nwant\n%v", fd, w)
		}
	}
}

func TestConcat(t *testing.T) {
	eachTable(t, func(t *testing.T, rng *rand.Rand, n int) {
		table := randomTable(rng, n)
		r := mustParse(t, table, n)
		cut := rng.IntN(n + 1)
		all := someIndexes(rng, n)[2]
		got, err := rows.Concat(r.Take(all[:cut]), r.Take(nil), r.Take(all[cut:]))
		if err != nil {
			t.Fatalf("Concat: %v", err)
		}
		wantTable(t, "cut and put together", decode(t, got), naiveTake(table, all))
	})
}

func TestConcatOfNothing(t *testing.T) {
	r, err := rows.Concat()
	if err != nil || r.Len() != 0 || len(r.Fields()) != 0 {
		t.Errorf("Concat() = %d rows of %q, %v", r.Len(), r.Fields(), err)
	}
}

func TestConcatKeepsTheLargestSparseDim(t *testing.T) {
	sparse := func(dim int64) *rows.Rows {
		return mustParse(t, []*schemapb.FieldData{{FieldName: "s", Type: schemapb.DataType_SparseFloatVector,
			Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{Dim: dim, Data: &schemapb.VectorField_SparseFloatVector{
				SparseFloatVector: &schemapb.SparseFloatArray{Dim: dim, Contents: [][]byte{make([]byte, 8)}}}}}}}, 1)
	}
	r, err := rows.Concat(sparse(3), sparse(9), sparse(5))
	if err != nil {
		t.Fatal(err)
	}
	got := decode(t, r)[0].GetVectors()
	if got.Dim != 9 || got.GetSparseFloatVector().Dim != 9 {
		t.Errorf("dim = %d and %d, want 9", got.Dim, got.GetSparseFloatVector().Dim)
	}
}

func TestConcatFillsMissingNulls(t *testing.T) {
	with := longColumn("f", 1, 2)
	with.ValidData = []bool{true, false}
	r, err := rows.Concat(mustParse(t, []*schemapb.FieldData{longColumn("f", 7)}, 1), mustParse(t, []*schemapb.FieldData{with}, 2))
	if err != nil {
		t.Fatal(err)
	}
	want := longColumn("f", 7, 1, 2)
	want.ValidData = []bool{true, true, false}
	wantTable(t, "Concat", decode(t, r), []*schemapb.FieldData{want})
}

func TestGatherRefuses(t *testing.T) {
	long := mustParse(t, []*schemapb.FieldData{longColumn("f", 1)}, 1)
	stringly := longColumn("f")
	stringly.Field = &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{
		StringData: &schemapb.StringArray{Data: []string{"x"}}}}}
	array := func(element schemapb.DataType) *rows.Rows {
		return mustParse(t, []*schemapb.FieldData{arrayColumn("f", element)}, 1)
	}
	for name, parts := range map[string][]*rows.Rows{
		"a missing field":        {long, mustParse(t, []*schemapb.FieldData{longColumn("g", 1)}, 1)},
		"a field too many":       {long, mustParse(t, []*schemapb.FieldData{longColumn("f", 1), longColumn("g", 1)}, 1)},
		"another type":           {long, mustParse(t, []*schemapb.FieldData{stringly}, 1)},
		"another dim":            {vectorRows(t, 4), vectorRows(t, 8)},
		"another element type":   {array(schemapb.DataType_Int32), array(schemapb.DataType_Int64)},
		"no fields in the first": {mustParse(t, []*schemapb.FieldData{longColumn("f", 1)}, 1).Without("f"), long},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := rows.Concat(parts...); !errors.Is(err, rows.ErrFields) {
				t.Errorf("Concat = %v, want ErrFields", err)
			}
		})
	}
	if r, err := rows.Concat(array(0), array(schemapb.DataType_Int32)); err != nil {
		t.Errorf("Concat of an array whose element type is left out: %v", err)
	} else if got := decode(t, r)[0].GetScalars().GetArrayData().ElementType; got != schemapb.DataType_Int32 {
		t.Errorf("element type = %v, want Int32", got)
	}
	for _, i := range []int{-1, 1} {
		if _, err := rows.Gather([]rows.Part{{Rows: long, Index: []int{i}}}); err == nil {
			t.Errorf("Gather of row %d of 1 succeeded", i)
		}
	}
}

func TestGatherPassesOverPartsWithoutRows(t *testing.T) {
	other := mustParse(t, []*schemapb.FieldData{longColumn("g", 1)}, 1)
	long := mustParse(t, []*schemapb.FieldData{longColumn("f", 1)}, 1)
	r, err := rows.Gather([]rows.Part{{Rows: other}, {Rows: long, Index: []int{0}}})
	if err != nil || r.Len() != 1 || !slices.Equal(r.Fields(), []string{"f"}) {
		t.Errorf("Gather = %v, %v", r, err)
	}
}

func TestTakeSharesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	table := randomTable(rng, 20)
	fieldData := marshalAll(t, table)
	r, err := rows.Parse(fieldData, 20)
	if err != nil {
		t.Fatal(err)
	}
	index := []int{3, 4, 5, 19, 0}
	taken := r.Take(index)
	for _, b := range fieldData {
		clear(b)
	}
	wantTable(t, "Take", decode(t, taken), naiveTake(table, index))
}

func TestTakeOutOfRangePanics(t *testing.T) {
	r := vectorRows(t, 4)
	for _, i := range []int{-1, 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Take of row %d of 1 returned", i)
				}
			}()
			r.Take([]int{i})
		}()
	}
}
