package scan_test

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// column is a field and its three rows, in the full form that queues have.
type column struct {
	field *schemapb.FieldSchema
	rows  *schemapb.FieldData
}

func plain(f *schemapb.FieldSchema, s *schemapb.ScalarField) column {
	return column{f, scalars(f.GetName(), f.GetDataType(), s)}
}

// with has the rows marked valid or not, as a nullable field's are.
func (c column) with(valid ...bool) column {
	c.rows.ValidData = valid
	return c
}

func boolList(v ...bool) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_BoolData{BoolData: &schemapb.BoolArray{Data: v}}}
}

func intList(v ...int32) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_IntData{IntData: &schemapb.IntArray{Data: v}}}
}

func longList(v ...int64) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}}}
}

func floatList(v ...float32) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_FloatData{FloatData: &schemapb.FloatArray{Data: v}}}
}

func doubleList(v ...float64) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: v}}}
}

func textList(v ...string) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}}}
}

func jsonList(v ...string) *schemapb.ScalarField {
	b := make([][]byte, len(v))
	for i := range v {
		b[i] = []byte(v[i])
	}
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: b}}}
}

func arrayList(of schemapb.DataType, v ...*schemapb.ScalarField) *schemapb.ScalarField {
	return &schemapb.ScalarField{Data: &schemapb.ScalarField_ArrayData{ArrayData: &schemapb.ArrayArray{Data: v, ElementType: of}}}
}

// scalarColumns are of every scalar type: the ends of each range, nothing, and something in between. How changes the fields.
func scalarColumns(how ...func(*schemapb.FieldSchema)) []column {
	f := func(typ schemapb.DataType, more ...func(*schemapb.FieldSchema)) *schemapb.FieldSchema {
		return field("f_"+strings.ToLower(typ.String()), typ, append(more, how...)...)
	}
	return []column{
		plain(f(schemapb.DataType_Bool), boolList(true, false, true)),
		plain(f(schemapb.DataType_Int8), intList(-128, 0, 127)),
		plain(f(schemapb.DataType_Int16), intList(-32768, 0, 32767)),
		plain(f(schemapb.DataType_Int32), intList(math.MinInt32, 0, math.MaxInt32)),
		plain(f(schemapb.DataType_Int64), longList(math.MinInt64, 0, math.MaxInt64)),
		plain(f(schemapb.DataType_Float), floatList(math.MaxFloat32, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32)),
		plain(f(schemapb.DataType_Double), doubleList(math.MaxFloat64, math.Copysign(0, -1), math.SmallestNonzeroFloat64)),
		plain(f(schemapb.DataType_VarChar, param("max_length", 256)), textList("käse \"\\\n\x00\U0010ffff", "", "漢字")),
		plain(f(schemapb.DataType_JSON), jsonList(`{"a":[1,-2.5,null,true,"ü\n"],"b":{}}`, `{}`, `{"big":9007199254740993}`)),
	}
}

// arrayColumns are arrays of every type of element: several, none, one.
func arrayColumns(how ...func(*schemapb.FieldSchema)) []column {
	array := func(of schemapb.DataType, v ...*schemapb.ScalarField) column {
		more := append([]func(*schemapb.FieldSchema){elements(of), param("max_capacity", 8), param("max_length", 64)}, how...)
		return plain(field("a_"+strings.ToLower(of.String()), schemapb.DataType_Array, more...), arrayList(of, v...))
	}
	return []column{
		array(schemapb.DataType_Bool, boolList(true, false), boolList(), boolList(false)),
		array(schemapb.DataType_Int8, intList(-128, 127), intList(), intList(0)),
		array(schemapb.DataType_Int16, intList(-32768, 32767), intList(), intList(0)),
		array(schemapb.DataType_Int32, intList(math.MinInt32, math.MaxInt32), intList(), intList(0)),
		array(schemapb.DataType_Int64, longList(math.MinInt64, math.MaxInt64), longList(), longList(0)),
		array(schemapb.DataType_Float, floatList(math.MaxFloat32, math.SmallestNonzeroFloat32), floatList(), floatList(0)),
		array(schemapb.DataType_Double, doubleList(math.MaxFloat64, 0.1), doubleList(), doubleList(0)),
		array(schemapb.DataType_VarChar, textList("", "ü\"\\"), textList(), textList("x")),
	}
}

// sparse is a row of a sparse vector: pairs of index and value.
func sparse(pairs ...float32) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = binary.LittleEndian.AppendUint32(b, uint32(pairs[i]))
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(pairs[i+1]))
	}
	return b
}

func sparseColumn(name string, rows ...[]byte) column {
	f := field(name, schemapb.DataType_SparseFloatVector)
	return column{f, &schemapb.FieldData{
		FieldName: name, Type: f.GetDataType(),
		Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{Dim: 1 << 20, Data: &schemapb.VectorField_SparseFloatVector{
			SparseFloatVector: &schemapb.SparseFloatArray{Dim: 1 << 20, Contents: rows},
		}}},
	}}
}

func floatColumn(name string, dim int, v ...float32) column {
	return column{field(name, schemapb.DataType_FloatVector, param("dim", dim)), &schemapb.FieldData{
		FieldName: name, Type: schemapb.DataType_FloatVector,
		Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{
			Dim: int64(dim), Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: v}},
		}},
	}}
}
