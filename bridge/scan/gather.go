package scan

import (
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// place is where a row is: in one of several columns of the same field. Row -1 is a zero value.
type place struct{ part, row int }

// pick are the rows of a column that the index names, in that order.
func pick(f *schemapb.FieldData, index []int) *schemapb.FieldData {
	at := make([]place, len(index))
	for i, row := range index {
		at[i].row = row
	}
	return gather([]*schemapb.FieldData{f}, at)
}

// join are the rows of both, of which other's keys come after.
func (r *Rows) join(other *Rows) *Rows {
	at := make([]place, 0, r.N+other.N)
	for i := range r.N {
		at = append(at, place{0, i})
	}
	for i := range other.N {
		at = append(at, place{1, i})
	}
	out := &Rows{
		N: r.N + other.N, Keys: append(r.Keys, other.Keys...), Stored: r.Stored + other.Stored,
		Fields: make([]*schemapb.FieldData, len(r.Fields)),
	}
	for i := range r.Fields {
		switch {
		case r.N == 0:
			out.Fields[i] = other.Fields[i]
		case other.N == 0:
			out.Fields[i] = r.Fields[i]
		default:
			out.Fields[i] = gather([]*schemapb.FieldData{r.Fields[i], other.Fields[i]}, at)
		}
	}
	return out
}

// gather makes a column of rows of others.
func gather(parts []*schemapb.FieldData, at []place) *schemapb.FieldData {
	f := parts[0]
	out := &schemapb.FieldData{Type: f.GetType(), FieldName: f.GetFieldName(), FieldId: f.GetFieldId(), IsDynamic: f.GetIsDynamic()}
	if len(f.GetValidData()) > 0 {
		out.ValidData = taken(at, 1, func(i int) []bool { return parts[i].GetValidData() })
	}
	switch {
	case f.GetScalars() != nil:
		out.Field = &schemapb.FieldData_Scalars{Scalars: gatherScalars(parts, at)}
	case f.GetVectors() != nil:
		out.Field = &schemapb.FieldData_Vectors{Vectors: gatherVectors(parts, at)}
	}
	return out
}

// taken are the values in those places, of which each row has as many as the stride.
func taken[T any](at []place, stride int, part func(int) []T) []T {
	out, zero := make([]T, 0, len(at)*stride), make([]T, stride)
	for _, p := range at {
		if p.row < 0 {
			out = append(out, zero...)
			continue
		}
		out = append(out, part(p.part)[p.row*stride:(p.row+1)*stride]...)
	}
	return out
}

func gatherScalars(parts []*schemapb.FieldData, at []place) *schemapb.ScalarField {
	of := func(i int) *schemapb.ScalarField { return parts[i].GetScalars() }
	out := &schemapb.ScalarField{}
	switch data := of(0).GetData().(type) {
	case *schemapb.ScalarField_BoolData:
		v := taken(at, 1, func(i int) []bool { return of(i).GetBoolData().GetData() })
		out.Data = &schemapb.ScalarField_BoolData{BoolData: &schemapb.BoolArray{Data: v}}
	case *schemapb.ScalarField_IntData:
		v := taken(at, 1, func(i int) []int32 { return of(i).GetIntData().GetData() })
		out.Data = &schemapb.ScalarField_IntData{IntData: &schemapb.IntArray{Data: v}}
	case *schemapb.ScalarField_LongData:
		v := taken(at, 1, func(i int) []int64 { return of(i).GetLongData().GetData() })
		out.Data = &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}}
	case *schemapb.ScalarField_FloatData:
		v := taken(at, 1, func(i int) []float32 { return of(i).GetFloatData().GetData() })
		out.Data = &schemapb.ScalarField_FloatData{FloatData: &schemapb.FloatArray{Data: v}}
	case *schemapb.ScalarField_DoubleData:
		v := taken(at, 1, func(i int) []float64 { return of(i).GetDoubleData().GetData() })
		out.Data = &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{Data: v}}
	case *schemapb.ScalarField_StringData:
		v := taken(at, 1, func(i int) []string { return of(i).GetStringData().GetData() })
		out.Data = &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}}
	case *schemapb.ScalarField_TimestamptzData:
		v := taken(at, 1, func(i int) []int64 { return of(i).GetTimestamptzData().GetData() })
		out.Data = &schemapb.ScalarField_TimestamptzData{TimestamptzData: &schemapb.TimestamptzArray{Data: v}}
	case *schemapb.ScalarField_JsonData:
		v := taken(at, 1, func(i int) [][]byte { return of(i).GetJsonData().GetData() })
		out.Data = &schemapb.ScalarField_JsonData{JsonData: &schemapb.JSONArray{Data: v}}
	case *schemapb.ScalarField_GeometryData:
		v := taken(at, 1, func(i int) [][]byte { return of(i).GetGeometryData().GetData() })
		out.Data = &schemapb.ScalarField_GeometryData{GeometryData: &schemapb.GeometryArray{Data: v}}
	case *schemapb.ScalarField_ArrayData:
		v := taken(at, 1, func(i int) []*schemapb.ScalarField { return of(i).GetArrayData().GetData() })
		for i := range v {
			if v[i] == nil {
				v[i] = &schemapb.ScalarField{}
			}
		}
		out.Data = &schemapb.ScalarField_ArrayData{ArrayData: &schemapb.ArrayArray{Data: v, ElementType: data.ArrayData.GetElementType()}}
	}
	return out
}

func gatherVectors(parts []*schemapb.FieldData, at []place) *schemapb.VectorField {
	of := func(i int) *schemapb.VectorField { return parts[i].GetVectors() }
	dim := int(of(0).GetDim())
	out := &schemapb.VectorField{Dim: int64(dim)}
	switch of(0).GetData().(type) {
	case *schemapb.VectorField_FloatVector:
		v := taken(at, dim, func(i int) []float32 { return of(i).GetFloatVector().GetData() })
		out.Data = &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: v}}
	case *schemapb.VectorField_BinaryVector:
		out.Data = &schemapb.VectorField_BinaryVector{BinaryVector: taken(at, dim/8, func(i int) []byte { return of(i).GetBinaryVector() })}
	case *schemapb.VectorField_Float16Vector:
		out.Data = &schemapb.VectorField_Float16Vector{Float16Vector: taken(at, 2*dim, func(i int) []byte { return of(i).GetFloat16Vector() })}
	case *schemapb.VectorField_Bfloat16Vector:
		out.Data = &schemapb.VectorField_Bfloat16Vector{Bfloat16Vector: taken(at, 2*dim, func(i int) []byte { return of(i).GetBfloat16Vector() })}
	case *schemapb.VectorField_Int8Vector:
		out.Data = &schemapb.VectorField_Int8Vector{Int8Vector: taken(at, dim, func(i int) []byte { return of(i).GetInt8Vector() })}
	case *schemapb.VectorField_SparseFloatVector:
		v := taken(at, 1, func(i int) [][]byte { return of(i).GetSparseFloatVector().GetContents() })
		widest := int64(0)
		for i := range parts {
			widest = max(widest, of(i).GetSparseFloatVector().GetDim())
		}
		out.Dim = of(0).GetDim()
		out.Data = &schemapb.VectorField_SparseFloatVector{SparseFloatVector: &schemapb.SparseFloatArray{Contents: v, Dim: widest}}
	}
	return out
}

// height is how many rows a column has.
func height(f *schemapb.FieldData) int {
	if v := f.GetVectors(); v != nil {
		return vectorHeight(v)
	}
	s := f.GetScalars()
	switch s.GetData().(type) {
	case *schemapb.ScalarField_BoolData:
		return len(s.GetBoolData().GetData())
	case *schemapb.ScalarField_IntData:
		return len(s.GetIntData().GetData())
	case *schemapb.ScalarField_LongData:
		return len(s.GetLongData().GetData())
	case *schemapb.ScalarField_FloatData:
		return len(s.GetFloatData().GetData())
	case *schemapb.ScalarField_DoubleData:
		return len(s.GetDoubleData().GetData())
	case *schemapb.ScalarField_StringData:
		return len(s.GetStringData().GetData())
	case *schemapb.ScalarField_TimestamptzData:
		return len(s.GetTimestamptzData().GetData())
	case *schemapb.ScalarField_JsonData:
		return len(s.GetJsonData().GetData())
	case *schemapb.ScalarField_GeometryData:
		return len(s.GetGeometryData().GetData())
	case *schemapb.ScalarField_ArrayData:
		return len(s.GetArrayData().GetData())
	}
	return 0
}

func vectorHeight(v *schemapb.VectorField) int {
	size, per := 0, int(v.GetDim())
	switch v.GetData().(type) {
	case *schemapb.VectorField_FloatVector:
		size = len(v.GetFloatVector().GetData())
	case *schemapb.VectorField_BinaryVector:
		size, per = len(v.GetBinaryVector()), per/8
	case *schemapb.VectorField_Float16Vector:
		size, per = len(v.GetFloat16Vector()), 2*per
	case *schemapb.VectorField_Bfloat16Vector:
		size, per = len(v.GetBfloat16Vector()), 2*per
	case *schemapb.VectorField_Int8Vector:
		size = len(v.GetInt8Vector())
	case *schemapb.VectorField_SparseFloatVector:
		return len(v.GetSparseFloatVector().GetContents())
	}
	if per <= 0 {
		return 0
	}
	return size / per
}

// empty is a column without rows.
func empty(f *schemapb.FieldSchema) *schemapb.FieldData {
	return &schemapb.FieldData{Type: f.GetDataType(), FieldName: f.GetName(), FieldId: f.GetFieldID(), IsDynamic: f.GetIsDynamic()}
}
