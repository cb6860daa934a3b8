//go:build servers

package verify_test

import (
	"strconv"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/functions/verify"
)

// BenchmarkRun compares 100,000 rows of 128 dimensions.
func BenchmarkRun(b *testing.B) {
	const n, batch, dims = 100_000, 5000, 128
	w := newWorld(b)
	s := &schemapb.CollectionSchema{Name: orders, Fields: []*schemapb.FieldSchema{
		{FieldID: 100, Name: "id", DataType: schemapb.DataType_Int64, IsPrimaryKey: true},
		{FieldID: 101, Name: "v", DataType: schemapb.DataType_FloatVector, TypeParams: []*commonpb.KeyValuePair{pair("dim", strconv.Itoa(dims))}},
	}}
	w.create(s)
	for at := 0; at < n; at += batch {
		var keys []int64
		var vecs []float32
		for id := at; id < at+batch; id++ {
			keys = append(keys, int64(id))
			for d := range dims {
				vecs = append(vecs, float32(id)+float32(d)/256)
			}
		}
		fields := []*schemapb.FieldData{
			{FieldName: "id", Type: schemapb.DataType_Int64, Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{
				Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: keys}}}}},
			{FieldName: "v", Type: schemapb.DataType_FloatVector, Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{
				Dim: dims, Data: &schemapb.VectorField_FloatVector{FloatVector: &schemapb.FloatArray{Data: vecs}}}}},
		}
		w.upsertN(w.src, w.source(), "", fields, batch)
		w.upsertN(w.dst, w.place(orders), "", fields, batch)
	}
	for b.Loop() {
		r := w.run()
		w.is(r, verify.Equal)
		if r.Rows() != n {
			b.Fatalf("compared %d rows", r.Rows())
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
}
