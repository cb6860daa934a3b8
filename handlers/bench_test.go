package handlers_test

import (
	"fmt"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// BenchmarkApply is the cost of everything but the target, at 128 dimensions and 10,000 rows in ten events.
func BenchmarkApply(b *testing.B) {
	const dim, perEvent, count = 128, 1000, 10
	made := eventsOf(b, "c", 1)
	var batch []*jetstream.Event
	for e := range count {
		keys := make([]int64, perEvent)
		for i := range keys {
			keys[i] = int64(e*perEvent+i) * 7919
		}
		batch = append(batch, made.event(jetstream.Insert, "_default", &msgpb.InsertRequest{
			Base: &commonpb.MsgBase{MsgType: commonpb.MsgType_Insert}, NumRows: perEvent, Timestamps: make([]uint64, perEvent),
			Version: msgpb.InsertDataVersion_ColumnBased, FieldsData: []*schemapb.FieldData{longs("id", keys...), {
				FieldName: "v", Type: schemapb.DataType_FloatVector,
				Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{Dim: dim, Data: &schemapb.VectorField_FloatVector{
					FloatVector: &schemapb.FloatArray{Data: make([]float32, dim*perEvent)},
				}}},
			}},
		}))
	}
	for _, n := range []int{1, 4} {
		b.Run(fmt.Sprint("concurrency_", n), func(b *testing.B) {
			h, err := handlers.New(&fake{}, handlers.Options{Concurrency: n})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if res := h.Apply(b.Context(), batch); res.Err != nil || len(res.Stopped) > 0 {
					b.Fatalf("Apply = %+v", res)
				}
			}
			b.ReportMetric(float64(b.N)*perEvent*count/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
