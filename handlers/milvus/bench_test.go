//go:build servers

package milvus_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

const (
	benchDim   = 128
	benchRows  = 5000  // in a call
	benchRound = 20000 // rows written by each way in a round
	benchEvent = 1000  // rows in an event: about half a MiB
)

// benchData is rows of a round, in each form that a way needs.
type benchData struct {
	ids     []int64
	vectors [][]float32
	events  []*jetstream.Event
	packed  []*rows.Rows // of benchRows each
}

func makeBenchData(t testing.TB, ref handlers.Ref, from int64) *benchData {
	d := &benchData{}
	for i := range int64(benchRound) {
		v := make([]float32, benchDim)
		for k := range v {
			v[k] = rand.Float32()
		}
		d.ids, d.vectors = append(d.ids, from+i), append(d.vectors, v)
	}
	columns := func(lo, hi int) []*schemapb.FieldData {
		return []*schemapb.FieldData{longs("id", d.ids[lo:hi]...), {
			FieldName: "v", Type: schemapb.DataType_FloatVector,
			Field: &schemapb.FieldData_Vectors{Vectors: &schemapb.VectorField{Dim: benchDim, Data: &schemapb.VectorField_FloatVector{
				FloatVector: &schemapb.FloatArray{Data: slices.Concat(d.vectors[lo:hi]...)},
			}}},
		}}
	}
	for lo := 0; lo < benchRound; lo += benchRows {
		d.packed = append(d.packed, pack(t, columns(lo, lo+benchRows)...))
	}
	for lo := 0; lo < benchRound; lo += benchEvent {
		body, err := proto.Marshal(&msgpb.InsertRequest{
			Base: &commonpb.MsgBase{MsgType: commonpb.MsgType_Insert}, NumRows: benchEvent, Timestamps: make([]uint64, benchEvent),
			Version: msgpb.InsertDataVersion_ColumnBased, FieldsData: columns(lo, lo+benchEvent),
		})
		if err != nil {
			t.Fatal(err)
		}
		d.events = append(d.events, &jetstream.Event{
			ID: fmt.Sprint(lo), Kind: jetstream.Insert, Database: ref.Database, Collection: ref.Collection, CollectionID: 1,
			Partition: "_default", PartitionID: 1, Rows: benchEvent, Body: body,
		})
	}
	return d
}

// BenchmarkRows writes rows in several ways, turn by turn, and reports of each the medians of rows a second, of its ratio
// to the SDK's plain insert in the same round, and of this process's own work.
func BenchmarkRows(b *testing.B) {
	w := newWorld(b)
	plain, err := client.NewClient(b.Context(), client.Config{Address: w.addr, DBName: w.db})
	w.must(err)
	b.Cleanup(func() { _ = plain.Close() })
	one, err := handlers.New(w.target, handlers.Options{Concurrency: 1})
	w.must(err)
	four, err := handlers.New(w.target, handlers.Options{})
	w.must(err)
	calls := func(write func(ids entity.Column, vectors entity.Column) error) func(*benchData) {
		return func(d *benchData) {
			for lo := 0; lo < benchRound; lo += benchRows {
				w.must(write(entity.NewColumnInt64("id", d.ids[lo:lo+benchRows]),
					entity.NewColumnFloatVector("v", benchDim, d.vectors[lo:lo+benchRows])))
			}
		}
	}
	apply := func(h *handlers.Handlers) func(*benchData) {
		return func(d *benchData) {
			for batch := range slices.Chunk(d.events, 2*benchRows/benchEvent) {
				if res := h.Apply(b.Context(), batch); res.Err != nil || len(res.Stopped) > 0 {
					b.Fatalf("Apply = %+v", res)
				}
			}
		}
	}
	ways := []struct {
		name, collection string
		write            func(*benchData)
	}{
		{"sdk-insert", "sdk_insert", calls(func(ids, vectors entity.Column) error {
			_, err := plain.Insert(b.Context(), "sdk_insert", "", ids, vectors)
			return err
		})},
		{"sdk-upsert", "sdk_upsert", calls(func(ids, vectors entity.Column) error {
			_, err := plain.Upsert(b.Context(), "sdk_upsert", "", ids, vectors)
			return err
		})},
		{"raw-insert", "raw_insert", func(d *benchData) {
			for _, r := range d.packed {
				req := &milvuspb.InsertRequest{DbName: w.db, CollectionName: "raw_insert", NumRows: uint32(r.Len())}
				req.ProtoReflect().SetUnknown(r.AppendTo(nil, 5))
				res, err := w.look.Insert(b.Context(), req)
				w.said(res.GetStatus(), err)
			}
		}},
		{"raw-upsert", "raw_upsert", func(d *benchData) {
			for _, r := range d.packed {
				w.must(w.target.Upsert(b.Context(), w.ref("raw_upsert"), "", r))
			}
		}},
		{"apply-1", "apply_1", apply(one)},
		{"apply-4", "apply_4", apply(four)},
	}
	for _, way := range ways {
		w.create(way.collection, idField(), vectorField(benchDim))
	}
	rates, work := make([][]float64, len(ways)), make([][]float64, len(ways))
	round := 0
	for b.Loop() {
		round++
		for _, k := range rand.Perm(len(ways)) { // each pays for what the server still does for the one before
			d := makeBenchData(b, w.ref(ways[k].collection), int64(round*benchRound))
			began, used := time.Now(), cpu(b)
			ways[k].write(d)
			rates[k] = append(rates[k], benchRound/time.Since(began).Seconds())
			work[k] = append(work[k], float64((cpu(b)-used).Nanoseconds())/benchRound)
		}
	}
	ratios := make([][]float64, len(ways))
	for i := range ways {
		for k := range rates[i] {
			ratios[i] = append(ratios[i], rates[i][k]/rates[0][k])
		}
	}
	for i, way := range ways {
		b.ReportMetric(median(rates[i]), way.name+"-rows/s")
		b.ReportMetric(median(work[i]), way.name+"-cpu-ns/row")
		if i > 0 {
			b.ReportMetric(median(ratios[i]), way.name+"/sdk-insert")
		}
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// cpu is the processor time that this process has used: what a way costs, whatever else the machine does.
func cpu(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDelete looks for how many keys one delete should carry.
func BenchmarkDelete(b *testing.B) {
	w := newWorld(b)
	ref := w.create("c", idField(), vectorField(4))
	for _, n := range []int{500, 1000, 2000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			keys := make([]int64, n)
			for i := range keys {
				keys[i] = rand.Int64()
			}
			for b.Loop() {
				w.must(w.target.Delete(b.Context(), ref, "", intKeys(keys...)))
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}
