package rows_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/jetstream/rows"
)

// naiveValue is the value of row i as the generated code has it; known is false where Values reads none.
func naiveValue(fd *schemapb.FieldData, i int) (value any, known bool) {
	if fd.ValidData != nil && !fd.ValidData[i] {
		switch fd.GetScalars().GetData().(type) {
		case nil, *schemapb.ScalarField_BytesData, *schemapb.ScalarField_GeometryData, *schemapb.ScalarField_GeometryWktData, *schemapb.ScalarField_TimestamptzData:
			return nil, false
		}
		return nil, true
	}
	switch d := fd.GetScalars().GetData().(type) {
	case *schemapb.ScalarField_BoolData:
		return d.BoolData.Data[i], true
	case *schemapb.ScalarField_IntData:
		return int64(d.IntData.Data[i]), true
	case *schemapb.ScalarField_LongData:
		return d.LongData.Data[i], true
	case *schemapb.ScalarField_FloatData:
		return float64(d.FloatData.Data[i]), true
	case *schemapb.ScalarField_DoubleData:
		return d.DoubleData.Data[i], true
	case *schemapb.ScalarField_StringData:
		return d.StringData.Data[i], true
	case *schemapb.ScalarField_JsonData:
		return d.JsonData.Data[i], true
	case *schemapb.ScalarField_ArrayData:
		return naiveArray(d.ArrayData.Data[i]), true
	}
	return nil, false
}

func naiveArray(f *schemapb.ScalarField) any {
	switch d := f.GetData().(type) {
	case *schemapb.ScalarField_BoolData:
		return d.BoolData.Data
	case *schemapb.ScalarField_IntData:
		out := []int64{}
		for _, v := range d.IntData.Data {
			out = append(out, int64(v))
		}
		return out
	case *schemapb.ScalarField_LongData:
		return d.LongData.Data
	case *schemapb.ScalarField_FloatData:
		out := []float64{}
		for _, v := range d.FloatData.Data {
			out = append(out, float64(v))
		}
		return out
	case *schemapb.ScalarField_DoubleData:
		return d.DoubleData.Data
	case *schemapb.ScalarField_StringData:
		return d.StringData.Data
	}
	return []any{}
}

// same compares values; NaNs are the same, and so is an array without elements of any kind.
func same(a, b any) bool {
	switch a := a.(type) {
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case float64:
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	}
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if x.Kind() == reflect.Slice && y.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0 {
		return true
	}
	return fmt.Sprintf("%T %v", a, a) == fmt.Sprintf("%T %v", b, b) // NaN is NaN
}

// checkValues compares every row of every column of r with the generated code's.
func checkValues(t *testing.T, r *rows.Rows, table []*schemapb.FieldData) {
	t.Helper()
	for _, fd := range table {
		v, err := r.Values(fd.FieldName)
		for i := range r.Len() {
			want, known := naiveValue(fd, i)
			if !known {
				continue
			}
			if err != nil {
				t.Fatalf("values of %s: %v", fd.FieldName, err)
			}
			got, err := v.At(i)
			if err != nil && !errors.Is(err, rows.ErrUnsupported) {
				t.Fatalf("row %d of %s: %v", i, fd.FieldName, err)
			}
			if err == nil && !same(got, want) {
				t.Errorf("row %d of %s = %#v, want %#v", i, fd.FieldName, got, want)
			}
		}
	}
}

func TestValues(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 7))
		n := rng.IntN(6)
		table := randomTable(rng, n)
		r, err := rows.Parse(marshalAll(t, table), n)
		if err != nil {
			t.Fatal(err)
		}
		checkValues(t, r, table)
		index := list(rng.IntN(4)*min(n, 1), func() int { return rng.IntN(n) })
		checkValues(t, r.Take(index), naiveTake(table, index))
	}
}

func TestValuesOfSpecialNumbers(t *testing.T) {
	doubles := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.MaxFloat64}
	floats := []float32{float32(math.NaN()), float32(math.Inf(1)), -1.5, math.SmallestNonzeroFloat32, 0}
	ints := []int32{math.MinInt32, -1, 0, 127, math.MaxInt32}
	longs := []int64{math.MinInt64, -1, 0, 1, math.MaxInt64}
	table := []*schemapb.FieldData{
		{FieldName: "d", Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: doubles}}}}},
		{FieldName: "f", Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_FloatData{FloatData: &schemapb.FloatArray{Data: floats}}}}},
		{FieldName: "i", Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_IntData{IntData: &schemapb.IntArray{Data: ints}}}}},
		{FieldName: "l", ValidData: []bool{true, true, false, true, true}, Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: longs}}}}},
	}
	r, err := rows.Parse(marshalAll(t, table), 5)
	if err != nil {
		t.Fatal(err)
	}
	checkValues(t, r, table)
	for _, field := range []string{"none", ""} {
		if _, err := r.Values(field); !errors.Is(err, rows.ErrFields) {
			t.Errorf("values of %q: %v", field, err)
		}
	}
}

func TestValuesOfVectorsAreRefused(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	for _, kind := range []int{6, 9, 10, 11, 12, 13, 14, 15, 16, 17} {
		r, err := rows.Parse([][]byte{marshal(t, randomColumn(rng, "x", kind, 2))}, 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Values("x"); !errors.Is(err, rows.ErrFields) {
			t.Errorf("values of a %s: %v", dataType(kind), err)
		}
	}
}

func TestValuesOfABrokenArray(t *testing.T) {
	// Two rows; the second is no ScalarField.
	array := []byte{0x0a, 0x00, 0x0a, 0x01, 0xff}
	scalars := append([]byte{8<<3 | 2, byte(len(array))}, array...)
	column := append([]byte{1 << 3, 22, 2<<3 | 2, 1, 'a', 3<<3 | 2, byte(len(scalars))}, scalars...)
	r, err := rows.Parse([][]byte{column}, 2)
	if err != nil {
		t.Fatal(err)
	}
	v, err := r.Values("a")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.At(0); err != nil || !same(got, []any{}) {
		t.Errorf("row 0 = %v, %v", got, err)
	}
	if got, err := v.At(1); !errors.Is(err, rows.ErrMalformed) {
		t.Errorf("row 1 = %v, %v", got, err)
	}
}

// FuzzValues: whatever Parse accepts, Values reads as the generated code does, or says that it can't.
func FuzzValues(f *testing.F) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, n := range []int{0, 1, 3} {
		for _, fd := range randomTable(rng, n) {
			f.Add(marshal(f, fd), n)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		r, err := rows.Parse([][]byte{b}, n)
		if err != nil {
			return
		}
		table, err := r.FieldData()
		if err == nil {
			checkValues(t, r, table)
			return
		}
		v, err := r.Values(r.Fields()[0]) // an array that generated code can't read
		for i := range r.Len() {
			if err == nil {
				_, _ = v.At(i)
			}
		}
	})
}
