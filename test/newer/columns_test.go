//go:build servers

package newer_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// column is a field and its rows, in the full form that queues have.
type column struct {
	field *schemapb.FieldSchema
	rows  *schemapb.FieldData
}

// ids are the keys; the last row is deleted again.
var ids = []int64{1, 2, 3, 4}

func idOf(name string) int64 {
	return 100 + int64(slices.IndexFunc(allColumns(), func(c column) bool { return c.field.GetName() == name }))
}

func kvs(list ...string) []*commonpb.KeyValuePair {
	var out []*commonpb.KeyValuePair
	for i := 0; i < len(list); i += 2 {
		out = append(out, &commonpb.KeyValuePair{Key: list[i], Value: list[i+1]})
	}
	return out
}

// scalar is a column of four rows; params are those of its type.
func scalar(name string, typ schemapb.DataType, s *schemapb.ScalarField, params ...string) column {
	return column{
		&schemapb.FieldSchema{Name: name, DataType: typ, TypeParams: kvs(params...)},
		&schemapb.FieldData{Field: &schemapb.FieldData_Scalars{Scalars: s}},
	}
}

// null makes the column nullable, and its second row null.
func (c column) null() column {
	c.field.Nullable, c.rows.ValidData = true, []bool{true, false, true, true}
	return c
}

func vector(name string, typ schemapb.DataType, dim int, v *schemapb.VectorField) column {
	v.Dim = int64(dim)
	c := column{&schemapb.FieldSchema{Name: name, DataType: typ}, &schemapb.FieldData{Field: &schemapb.FieldData_Vectors{Vectors: v}}}
	if typ != schemapb.DataType_SparseFloatVector {
		c.field.TypeParams = kvs("dim", fmt.Sprint(dim))
	}
	return c
}

func floats(name string, dim int, v ...float32) column {
	return vector(name, schemapb.DataType_FloatVector, dim, &schemapb.VectorField{Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: v}}})
}

// sparse are rows of pairs, an index and a value.
func sparse(rows ...[]float32) *schemapb.VectorField {
	a := &schemapb.SparseFloatArray{}
	for _, row := range rows {
		var b []byte
		for i := 0; i < len(row); i += 2 {
			b = binary.LittleEndian.AppendUint32(b, uint32(row[i]))
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(row[i+1]))
			a.Dim = max(a.Dim, int64(row[i])+1)
		}
		a.Contents = append(a.Contents, b)
	}
	return &schemapb.VectorField{Data: &schemapb.VectorField_SparseFloatVector{SparseFloatVector: a}}
}

func key() column {
	c := scalar("id", schemapb.DataType_Int64, &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: ids}}})
	c.field.IsPrimaryKey = true
	return c
}

func ints(v ...int32) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_IntData{IntData: &schemapb.IntArray{Data: v}}}
}

func longs(v ...int64) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}}}
}

func texts(v ...string) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}}}
}

func jsons(v ...string) *schemapb.ScalarField {
	a := &schemapb.JSONArray{}
	for _, text := range v {
		a.Data = append(a.Data, []byte(text))
	}
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_JsonData{JsonData: a}}
}

// allColumns are what the target can hold.
func allColumns() []column {
	text := scalar("text", schemapb.DataType_VarChar, texts("kites fly high", "", "streams flow", "gone"), "max_length", "256", "enable_analyzer", "true")
	words := vector("words", schemapb.DataType_SparseFloatVector, 0, sparse())
	words.field.IsFunctionOutput = true
	seven := scalar("seven", schemapb.DataType_Int64, longs(7, 0, math.MinInt64, 7))
	seven.field.DefaultValue = &schemapb.ValueField{Data: &schemapb.ValueField_LongData{LongData: 7}}
	meta := scalar("$meta", schemapb.DataType_JSON, jsons(`{"x":1}`, `{}`, `{"y":[null,"ü"]}`, `{}`))
	meta.field.IsDynamic = true
	array := scalar("array", schemapb.DataType_Array, &schemapb.ScalarField{Data: &schemapb.ScalarField_ArrayData{
		ArrayData: &schemapb.ArrayArray{ElementType: schemapb.DataType_Int64, Data: []*schemapb.ScalarField{longs(), {}, longs(1, math.MinInt64), longs()}},
	}}, "max_capacity", "8")
	array.field.ElementType = schemapb.DataType_Int64
	return []column{
		key(), floats("v", 2, 1, -0.5, math.MaxFloat32, 0, 3e-45, 1, 0, 0), floats("w", 1, 1, 2, 3, 4),
		vector("s", schemapb.DataType_SparseFloatVector, 0, sparse([]float32{0, 0.1}, []float32{7, 1, 100000, 2}, []float32{1, math.MaxFloat32}, []float32{1, 1})),
		text, words, seven, meta, array.null(),
		scalar("bool", schemapb.DataType_Bool, &schemapb.ScalarField{Data: &schemapb.ScalarField_BoolData{BoolData: &schemapb.BoolArray{Data: []bool{false, false, true, true}}}}).null(),
		scalar("i8", schemapb.DataType_Int8, ints(0, 0, -128, 1)).null(), scalar("i16", schemapb.DataType_Int16, ints(0, 0, 32767, 1)).null(),
		scalar("i32", schemapb.DataType_Int32, ints(0, 0, math.MinInt32, 1)).null(), scalar("i64", schemapb.DataType_Int64, longs(0, 0, math.MaxInt64, 1)).null(),
		scalar("f", schemapb.DataType_Float, &schemapb.ScalarField{Data: &schemapb.ScalarField_FloatData{FloatData: &schemapb.FloatArray{Data: []float32{0, 0, 0.1, 1}}}}).null(),
		scalar("d", schemapb.DataType_Double, &schemapb.ScalarField{Data: &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: []float64{0, 0, 0.1, 1}}}}).null(),
		scalar("t", schemapb.DataType_VarChar, texts("", "", "ü\x00", "x"), "max_length", "64").null(),
		scalar("j", schemapb.DataType_JSON, jsons(`{}`, ``, `{"a":[1.5,null,9007199254740993]}`, `{}`)).null(),
	}
}

// halfColumns are what the target can't hold.
func halfColumns() []column {
	return []column{
		key(), floats("v", 1, 1, 2, 3, 4),
		vector("h", schemapb.DataType_Float16Vector, 2, &schemapb.VectorField{Data: &schemapb.VectorField_Float16Vector{
			Float16Vector: []byte{0, 0x3c, 0, 0xc0, 0xff, 0x7b, 1, 0, 0, 0x80, 0, 0x7c, 0x66, 0x2e, 0, 0},
		}}),
		vector("b", schemapb.DataType_BFloat16Vector, 1, &schemapb.VectorField{Data: &schemapb.VectorField_Bfloat16Vector{
			Bfloat16Vector: []byte{0x80, 0x3f, 0, 0xc0, 0x7f, 0x7f, 1, 0},
		}}),
		vector("i", schemapb.DataType_Int8Vector, 2, &schemapb.VectorField{Data: &schemapb.VectorField_Int8Vector{Int8Vector: []byte{0, 128, 127, 255, 1, 2, 3, 4}}}),
	}
}

// values are a column's, each to be compared.
func values(s *schemapb.ScalarField) (out []string) {
	switch d := s.GetData().(type) {
	case *schemapb.ScalarField_BoolData:
		out = each(d.BoolData.GetData(), func(v bool) string { return fmt.Sprint(v) })
	case *schemapb.ScalarField_IntData:
		out = each(d.IntData.GetData(), func(v int32) string { return fmt.Sprint(v) })
	case *schemapb.ScalarField_LongData:
		out = each(d.LongData.GetData(), func(v int64) string { return fmt.Sprint(v) })
	case *schemapb.ScalarField_FloatData:
		out = each(d.FloatData.GetData(), func(v float32) string { return fmt.Sprintf("%08x", math.Float32bits(v)) })
	case *schemapb.ScalarField_DoubleData:
		out = each(d.DoubleData.GetData(), func(v float64) string { return fmt.Sprintf("%016x", math.Float64bits(v)) })
	case *schemapb.ScalarField_StringData:
		out = each(d.StringData.GetData(), func(v string) string { return fmt.Sprintf("%q", v) })
	case *schemapb.ScalarField_JsonData:
		out = each(d.JsonData.GetData(), canonical)
	case *schemapb.ScalarField_ArrayData:
		out = each(d.ArrayData.GetData(), func(v *schemapb.ScalarField) string { return fmt.Sprint(values(v)) })
	}
	return out
}

func each[T any](list []T, text func(T) string) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = text(v)
	}
	return out
}

// canonical is JSON without what Milvus Lite writes otherwise: spaces.
func canonical(b []byte) string {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return string(b)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return string(b)
	}
	return string(out)
}

// row is one value of a column, to be compared.
func row(f *schemapb.FieldData, i int) string {
	if valid := f.GetValidData(); len(valid) > 0 && !valid[i] {
		return "null"
	}
	if f.GetScalars() != nil {
		return values(f.GetScalars())[i]
	}
	v := f.GetVectors()
	dim := int(v.GetDim())
	switch d := v.GetData().(type) {
	case *schemapb.VectorField_FloatVector:
		return fmt.Sprint(each(d.FloatVector.GetData()[i*dim:(i+1)*dim], func(v float32) string { return fmt.Sprintf("%08x", math.Float32bits(v)) }))
	case *schemapb.VectorField_SparseFloatVector:
		return fmt.Sprintf("%x", d.SparseFloatVector.GetContents()[i])
	case *schemapb.VectorField_Float16Vector:
		return fmt.Sprintf("%x", d.Float16Vector[2*i*dim:2*(i+1)*dim])
	case *schemapb.VectorField_Bfloat16Vector:
		return fmt.Sprintf("%x", d.Bfloat16Vector[2*i*dim:2*(i+1)*dim])
	case *schemapb.VectorField_Int8Vector:
		return fmt.Sprintf("%x", d.Int8Vector[i*dim:(i+1)*dim])
	}
	return "nothing"
}
