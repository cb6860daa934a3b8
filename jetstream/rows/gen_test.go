package rows_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"
)

// The naive model: columns in their generated form, made at random and picked value by value.

const (
	testDim = 16 // a multiple of 8, for binary vectors
	kinds   = 18
)

func list[T any](n int, value func() T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = value()
	}
	return out
}

func randomBytes(rng *rand.Rand, n int) []byte {
	return list(n, func() byte { return byte(rng.Uint32()) })
}

func randomText(rng *rand.Rand) string {
	const letters = "abcdefgh éß漢字🪁"
	runes := []rune(letters)
	return string(list(rng.IntN(12), func() rune { return runes[rng.IntN(len(runes))] }))
}

// randomInt is of every length as a varint.
func randomInt(rng *rand.Rand) int64 { return int64(rng.Uint64()) >> rng.IntN(64) }

func randomBlob(rng *rand.Rand) []byte { return randomBytes(rng, rng.IntN(20)) }

func randomScalars(rng *rand.Rand, kind, n int) *schemapb.ScalarField {
	s := &schemapb.ScalarField{}
	switch kind {
	case 0:
		s.Data = &schemapb.ScalarField_BoolData{BoolData: &schemapb.BoolArray{Data: list(n, func() bool { return rng.IntN(2) == 0 })}}
	case 1:
		s.Data = &schemapb.ScalarField_IntData{IntData: &schemapb.IntArray{Data: list(n, func() int32 { return int32(randomInt(rng)) })}}
	case 2:
		s.Data = &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: list(n, func() int64 { return randomInt(rng) })}}
	case 3:
		s.Data = &schemapb.ScalarField_FloatData{FloatData: &schemapb.FloatArray{Data: list(n, rng.Float32)}}
	case 4:
		s.Data = &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: list(n, rng.NormFloat64)}}
	case 5:
		s.Data = &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: list(n, func() string { return randomText(rng) })}}
	case 6:
		s.Data = &schemapb.ScalarField_BytesData{BytesData: &schemapb.BytesArray{Data: list(n, func() []byte { return randomBlob(rng) })}}
	case 7:
		s.Data = &schemapb.ScalarField_ArrayData{ArrayData: &schemapb.ArrayArray{ElementType: schemapb.DataType_VarChar,
			Data: list(n, func() *schemapb.ScalarField { return randomScalars(rng, rng.IntN(6), rng.IntN(4)) })}}
	case 8:
		s.Data = &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: list(n, func() []byte { return fmt.Appendf(nil, `{"a":%d}`, rng.IntN(1000)) })}}
	case 9:
		s.Data = &schemapb.ScalarField_GeometryData{GeometryData: &schemapb.GeometryArray{Data: list(n, func() []byte { return randomBlob(rng) })}}
	case 10:
		s.Data = &schemapb.ScalarField_TimestamptzData{TimestamptzData: &schemapb.TimestamptzArray{Data: list(n, func() int64 { return randomInt(rng) })}}
	case 11:
		s.Data = &schemapb.ScalarField_GeometryWktData{GeometryWktData: &schemapb.GeometryWktArray{Data: list(n, func() string { return randomText(rng) })}}
	}
	return s
}

func randomVectors(rng *rand.Rand, kind, n int) *schemapb.VectorField {
	v := &schemapb.VectorField{Dim: testDim}
	switch kind {
	case 12:
		v.Data = &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: list(n*testDim, rng.Float32)}}
	case 13:
		v.Data = &schemapb.VectorField_BinaryVector{BinaryVector: randomBytes(rng, n*testDim/8)}
	case 14:
		v.Data = &schemapb.VectorField_Float16Vector{Float16Vector: randomBytes(rng, n*testDim*2)}
	case 15:
		v.Data = &schemapb.VectorField_Bfloat16Vector{Bfloat16Vector: randomBytes(rng, n*testDim*2)}
	case 16:
		v.Dim = int64(rng.IntN(1000)) + 1
		v.Data = &schemapb.VectorField_SparseFloatVector{SparseFloatVector: &schemapb.SparseFloatArray{Dim: v.Dim,
			Contents: list(n, func() []byte { return randomBytes(rng, 8*rng.IntN(5)) })}}
	case 17:
		v.Data = &schemapb.VectorField_Int8Vector{Int8Vector: randomBytes(rng, n*testDim)}
	}
	return v
}

// dataType is the type that a kind of data goes with.
func dataType(kind int) schemapb.DataType {
	return [kinds]schemapb.DataType{
		schemapb.DataType_Bool, schemapb.DataType_Int16, schemapb.DataType_Int64, schemapb.DataType_Float, schemapb.DataType_Double,
		schemapb.DataType_VarChar, schemapb.DataType_String, schemapb.DataType_Array, schemapb.DataType_JSON, schemapb.DataType_Geometry,
		schemapb.DataType_Timestamptz, schemapb.DataType_Geometry, schemapb.DataType_FloatVector, schemapb.DataType_BinaryVector,
		schemapb.DataType_Float16Vector, schemapb.DataType_BFloat16Vector, schemapb.DataType_SparseFloatVector, schemapb.DataType_Int8Vector,
	}[kind]
}

func randomColumn(rng *rand.Rand, name string, kind, n int) *schemapb.FieldData {
	fd := &schemapb.FieldData{Type: dataType(kind), FieldName: name, FieldId: int64(100 + kind), IsDynamic: kind == 8}
	if kind < 12 {
		fd.Field = &schemapb.FieldData_Scalars{Scalars: randomScalars(rng, kind, n)}
	} else {
		fd.Field = &schemapb.FieldData_Vectors{Vectors: randomVectors(rng, kind, n)}
	}
	if kind < 12 && rng.IntN(2) == 0 {
		nulls := rng.IntN(3) // none, some, all
		fd.ValidData = list(n, func() bool { return nulls == 0 || nulls == 1 && rng.IntN(2) == 0 })
	}
	return fd
}

// randomTable is a column of every kind.
func randomTable(rng *rand.Rand, n int) []*schemapb.FieldData {
	table := make([]*schemapb.FieldData, kinds)
	for kind := range table {
		table[kind] = randomColumn(rng, fmt.Sprintf("f%d_é", kind), kind, n)
	}
	return table
}

// pick appends the rows in index, of width values each.
func pick[T any](to *[]T, from []T, index []int, width int) {
	for _, i := range index {
		*to = append(*to, from[i*width:(i+1)*width]...)
	}
}

// naiveGather appends the rows in index of from to to.
func naiveGather(to, from *schemapb.FieldData, index []int) {
	if from.ValidData != nil {
		pick(&to.ValidData, from.ValidData, index, 1)
	}
	switch s := to.GetScalars().GetData().(type) {
	case *schemapb.ScalarField_BoolData:
		pick(&s.BoolData.Data, from.GetScalars().GetBoolData().Data, index, 1)
	case *schemapb.ScalarField_IntData:
		pick(&s.IntData.Data, from.GetScalars().GetIntData().Data, index, 1)
	case *schemapb.ScalarField_LongData:
		pick(&s.LongData.Data, from.GetScalars().GetLongData().Data, index, 1)
	case *schemapb.ScalarField_FloatData:
		pick(&s.FloatData.Data, from.GetScalars().GetFloatData().Data, index, 1)
	case *schemapb.ScalarField_DoubleData:
		pick(&s.DoubleData.Data, from.GetScalars().GetDoubleData().Data, index, 1)
	case *schemapb.ScalarField_StringData:
		pick(&s.StringData.Data, from.GetScalars().GetStringData().Data, index, 1)
	case *schemapb.ScalarField_BytesData:
		pick(&s.BytesData.Data, from.GetScalars().GetBytesData().Data, index, 1)
	case *schemapb.ScalarField_ArrayData:
		pick(&s.ArrayData.Data, from.GetScalars().GetArrayData().Data, index, 1)
	case *schemapb.ScalarField_JsonData:
		pick(&s.JsonData.Data, from.GetScalars().GetJsonData().Data, index, 1)
	case *schemapb.ScalarField_GeometryData:
		pick(&s.GeometryData.Data, from.GetScalars().GetGeometryData().Data, index, 1)
	case *schemapb.ScalarField_TimestamptzData:
		pick(&s.TimestamptzData.Data, from.GetScalars().GetTimestamptzData().Data, index, 1)
	case *schemapb.ScalarField_GeometryWktData:
		pick(&s.GeometryWktData.Data, from.GetScalars().GetGeometryWktData().Data, index, 1)
	}
	switch v := to.GetVectors().GetData().(type) {
	case *schemapb.VectorField_FloatVector:
		pick(&v.FloatVector.Data, from.GetVectors().GetFloatVector().Data, index, testDim)
	case *schemapb.VectorField_BinaryVector:
		pick(&v.BinaryVector, from.GetVectors().GetBinaryVector(), index, testDim/8)
	case *schemapb.VectorField_Float16Vector:
		pick(&v.Float16Vector, from.GetVectors().GetFloat16Vector(), index, testDim*2)
	case *schemapb.VectorField_Bfloat16Vector:
		pick(&v.Bfloat16Vector, from.GetVectors().GetBfloat16Vector(), index, testDim*2)
	case *schemapb.VectorField_SparseFloatVector:
		to.GetVectors().Dim = max(to.GetVectors().Dim, from.GetVectors().Dim)
		v.SparseFloatVector.Dim = to.GetVectors().Dim
		pick(&v.SparseFloatVector.Contents, from.GetVectors().GetSparseFloatVector().Contents, index, 1)
	case *schemapb.VectorField_Int8Vector:
		pick(&v.Int8Vector, from.GetVectors().GetInt8Vector(), index, testDim)
	}
}

// naiveEmpty is the columns of table without rows.
func naiveEmpty(table []*schemapb.FieldData) []*schemapb.FieldData {
	out := make([]*schemapb.FieldData, len(table))
	for i, fd := range table {
		empty := randomColumn(rand.New(rand.NewPCG(0, 0)), fd.FieldName, int(fd.FieldId-100), 0)
		empty.ValidData = nil
		if empty.GetVectors() != nil {
			empty.GetVectors().Dim = fd.GetVectors().Dim
		}
		if sparse := empty.GetVectors().GetSparseFloatVector(); sparse != nil {
			sparse.Dim = fd.GetVectors().Dim
		}
		out[i] = empty
	}
	return out
}

func naiveTake(table []*schemapb.FieldData, index []int) []*schemapb.FieldData {
	out := naiveEmpty(table)
	for i, fd := range table {
		naiveGather(out[i], fd, index)
	}
	return out
}

// naiveCompress leaves out the values of null rows.
func naiveCompress(table []*schemapb.FieldData) []*schemapb.FieldData {
	out := naiveEmpty(table)
	for i, fd := range table {
		var index []int
		for k := range rowsOf(fd) {
			if fd.ValidData == nil || fd.ValidData[k] {
				index = append(index, k)
			}
		}
		naiveGather(out[i], fd, index)
		out[i].ValidData = fd.ValidData
	}
	return out
}

// rowsOf counts the rows of a column that has a valid list, or is a vector of bytes.
func rowsOf(fd *schemapb.FieldData) int {
	if fd.ValidData != nil {
		return len(fd.ValidData)
	}
	m := fd.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().ByName("field"))
	part := m.Get(field).Message()
	member := part.WhichOneof(part.Descriptor().Oneofs().ByName("data"))
	switch member.Name() {
	case "binary_vector":
		return len(part.Get(member).Bytes()) / (testDim / 8)
	case "float16_vector", "bfloat16_vector":
		return len(part.Get(member).Bytes()) / (testDim * 2)
	case "int8_vector":
		return len(part.Get(member).Bytes()) / testDim
	}
	array := part.Get(member).Message()
	n := array.Get(array.Descriptor().Fields().ByNumber(1)).List().Len()
	if member.Name() == "float_vector" {
		return n / testDim
	}
	return n
}

func marshal(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		tb.Fatalf("marshal: %v", err)
	}
	return b
}

func marshalAll(tb testing.TB, table []*schemapb.FieldData) [][]byte {
	tb.Helper()
	out := make([][]byte, len(table))
	for i, fd := range table {
		out[i] = marshal(tb, fd)
	}
	return out
}
