package milvus_test

import (
	"strconv"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream/rows"
)

// pack makes Rows of columns, as a bridge does.
func pack(t testing.TB, columns ...*schemapb.FieldData) *rows.Rows {
	t.Helper()
	data := make([][]byte, len(columns))
	for i, c := range columns {
		b, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		data[i] = b
	}
	n := 0
	for _, c := range columns {
		n = max(n, len(c.GetScalars().GetLongData().GetData()), len(c.GetScalars().GetStringData().GetData()))
	}
	r, err := rows.Parse(data, n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

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
func clustering(f *schemapb.FieldSchema)   { f.IsClusteringKey = true }
func dynamic(f *schemapb.FieldSchema)      { f.IsDynamic = true }

func elements(typ schemapb.DataType) func(*schemapb.FieldSchema) {
	return func(f *schemapb.FieldSchema) { f.ElementType = typ }
}

func param(key string, value int) func(*schemapb.FieldSchema) {
	return func(f *schemapb.FieldSchema) {
		f.TypeParams = append(f.TypeParams, &commonpb.KeyValuePair{Key: key, Value: strconv.Itoa(value)})
	}
}

// The fields that most tests use.
func idField() *schemapb.FieldSchema { return field("id", schemapb.DataType_Int64, primary) }
func textID() *schemapb.FieldSchema {
	return field("id", schemapb.DataType_VarChar, primary, param("max_length", 512))
}
func vectorField(dim int) *schemapb.FieldSchema {
	return field("v", schemapb.DataType_FloatVector, param("dim", dim))
}
func metaField() *schemapb.FieldSchema { return field("$meta", schemapb.DataType_JSON, dynamic) }

func scalars(name string, typ schemapb.DataType, f *schemapb.ScalarField) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: name, Type: typ, FieldId: 777, Field: &schemapb.FieldData_Scalars{Scalars: f}}
}

func longs(name string, v ...int64) *schemapb.FieldData {
	return scalars(name, schemapb.DataType_Int64, &schemapb.ScalarField{
		Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}},
	})
}

func ints(name string, typ schemapb.DataType, v ...int32) *schemapb.FieldData {
	return scalars(name, typ, &schemapb.ScalarField{
		Data: &schemapb.ScalarField_IntData{IntData: &schemapb.IntArray{Data: v}},
	})
}

func texts(name string, v ...string) *schemapb.FieldData {
	return scalars(name, schemapb.DataType_VarChar, &schemapb.ScalarField{
		Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}},
	})
}

func jsons(name string, v ...string) *schemapb.FieldData {
	b := make([][]byte, len(v))
	for i := range v {
		b[i] = []byte(v[i])
	}
	return scalars(name, schemapb.DataType_JSON, &schemapb.ScalarField{
		Data: &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: b}},
	})
}

// metas is the column of dynamic fields.
func metas(v ...string) *schemapb.FieldData {
	f := jsons("$meta", v...)
	f.IsDynamic = true
	return f
}

// vectors is n float vectors, of which row i begins with from+i.
func vectors(name string, dim, n int, from float32) *schemapb.FieldData {
	v := make([]float32, dim*n)
	for i := range v {
		v[i] = float32(i%dim) * 0.37
		if i%dim == 0 {
			v[i] = from + float32(i/dim)
		}
	}
	return &schemapb.FieldData{
		FieldName: name, Type: schemapb.DataType_FloatVector,
		Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{
			Dim: int64(dim), Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: v}},
		}},
	}
}

// bits is binary vectors.
func bits(name string, dim int, v ...byte) *schemapb.FieldData {
	return &schemapb.FieldData{
		FieldName: name, Type: schemapb.DataType_BinaryVector,
		Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{
			Dim: int64(dim), Data: &schemapb.VectorField_BinaryVector{BinaryVector: v},
		}},
	}
}

func intKeys(v ...int64) rows.Keys   { return rows.Keys{Ints: v} }
func textKeys(v ...string) rows.Keys { return rows.Keys{Strings: v} }
