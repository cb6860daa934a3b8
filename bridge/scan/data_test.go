package scan_test

import (
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// field is a field of a schema; how changes it.
func field(name string, typ schemapb.DataType, how ...func(*schemapb.FieldSchema)) *schemapb.FieldSchema {
	f := &schemapb.FieldSchema{Name: name, DataType: typ}
	for _, h := range how {
		h(f)
	}
	return f
}

func primary(f *schemapb.FieldSchema)      { f.IsPrimaryKey = true }
func auto(f *schemapb.FieldSchema)         { f.AutoID = true }
func partitionKey(f *schemapb.FieldSchema) { f.IsPartitionKey = true }
func nullable(f *schemapb.FieldSchema)     { f.Nullable = true }

func elements(typ schemapb.DataType) func(*schemapb.FieldSchema) {
	return func(f *schemapb.FieldSchema) { f.ElementType = typ }
}

func param(key string, value int) func(*schemapb.FieldSchema) {
	return func(f *schemapb.FieldSchema) {
		f.TypeParams = append(f.TypeParams, &commonpb.KeyValuePair{Key: key, Value: strconv.Itoa(value)})
	}
}

// The fields that most tests use.
func idField(how ...func(*schemapb.FieldSchema)) *schemapb.FieldSchema {
	return field("id", schemapb.DataType_Int64, append(how, primary)...)
}

func textID() *schemapb.FieldSchema {
	return field("id", schemapb.DataType_VarChar, primary, param("max_length", 512))
}

func numberField() *schemapb.FieldSchema { return field("n", schemapb.DataType_Int64) }

func vectorField(dim int) *schemapb.FieldSchema {
	return field("v", schemapb.DataType_FloatVector, param("dim", dim))
}

func scalars(name string, typ schemapb.DataType, f *schemapb.ScalarField) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: name, Type: typ, Field: &schemapb.FieldData_Scalars{Scalars: f}}
}

func longs(name string, v ...int64) *schemapb.FieldData {
	return scalars(name, schemapb.DataType_Int64, &schemapb.ScalarField{
		Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}},
	})
}

func texts(name string, v ...string) *schemapb.FieldData {
	return scalars(name, schemapb.DataType_VarChar, &schemapb.ScalarField{
		Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}},
	})
}

// vectors is float vectors of which each begins with a row's number.
func vectors(name string, dim int, begin ...int64) *schemapb.FieldData {
	v := make([]float32, dim*len(begin))
	for i := range v {
		v[i] = float32(i%dim) * 0.37
		if i%dim == 0 {
			v[i] = float32(begin[i/dim])
		}
	}
	return &schemapb.FieldData{
		FieldName: name, Type: schemapb.DataType_FloatVector,
		Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{
			Dim: int64(dim), Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: v}},
		}},
	}
}

// height is how many rows the columns have, of which one is longs or texts.
func height(columns []*schemapb.FieldData) int {
	n := 0
	for _, c := range columns {
		n = max(n, len(c.GetScalars().GetLongData().GetData()), len(c.GetScalars().GetStringData().GetData()))
	}
	return n
}

func analysed(f *schemapb.FieldSchema) {
	f.TypeParams = append(f.TypeParams, &commonpb.KeyValuePair{Key: "enable_analyzer", Value: "true"})
}
