//go:build servers

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/functions/control"
	"kitestream/functions/verify"
	"kitestream/jetstream"
	"kitestream/test/rig"
)

const (
	copyDim   = 128
	copyCalls = 200 // of 5,000 rows: a million
	pairCalls = 40  // of the plain loop, before and after
)

// TestCopy has a million rows copied that the source's queue does not hold any more, while others are written, and then the two sides
// compared. Rows over the time from the task's creation until the target has acknowledged all; beside it, in the same run, a plain loop
// that reads 5,000 rows by their keys and inserts them, before and after.
func TestCopy(t *testing.T) {
	b := around(t, rig.New(t, func(o *server.Options) { o.MaxPayload = 8 << 20 })) // as `up` has it
	name := fmt.Sprintf("bench_copy_%d", time.Now().Unix())
	b.collection(b.source, name, copyDim)
	b.loop(b.source.Insert, name, copyDim, copyCalls)
	b.load(b.source, name)
	rows := copyCalls * 5000
	if n := b.count(b.source, name); n != int64(rows) {
		t.Fatalf("the source has %d rows", n)
	}
	must(0, b.source.Flush(t.Context(), name, false))(t) // else the queue is all that holds them
	b.forget(name)
	plain := []float64{b.readAndInsert(name, "_plain0")}
	boss, worker, bridge := b.Start("control"), b.Start("worker"), b.Start("bridge")
	written, stop := b.disturb(name)
	b.rest()
	began := time.Now()
	b.Create("bench", lanes, []jetstream.Selection{{Collections: []string{name}}}, b.standby)
	b.long("the copy has ended", func() bool {
		cs := b.View("bench").Targets[0].Collections
		return len(cs) == 1 && cs[0].Snapshot != nil && cs[0].Snapshot.Done
	})
	stop()
	must(b.Tasks.Wait(t.Context(), "bench", control.WaitOptions{}))(t)
	rate := float64(rows) / time.Since(began).Seconds()
	figures := map[string]float64{"rows": float64(rows), "rows_per_s": rate, "written_meanwhile": float64(written.Load()),
		"bridge_peak_mb": peakMemory(t, bridge), "worker_peak_mb": peakMemory(t, worker)}
	a := b.compare(false)
	found := a.Reports[0]
	first := found.Collections[0]
	// A 2.3.5 goes on serving some deleted rows (TestDeletedRows), most of them until the collection is loaded anew. Deleted again they go.
	figures["deleted_and_served"] = float64(first.Extra)
	if a.Verdict == verify.Different {
		t.Logf("before the target is loaded anew: %+v", found)
		must(0, b.target.ReleaseCollection(t.Context(), name))(t)
		must(0, b.target.LoadCollection(t.Context(), name, false))(t)
		if a = b.compare(false); a.Verdict == verify.Different {
			t.Logf("after: %+v", a.Reports[0])
			figures["deleted_and_served_after_loading"] = float64(a.Reports[0].Collections[0].Extra)
			b.compare(true)
			a = b.compare(false)
		}
	}
	if a.Verdict != verify.Equal || first.Missing+first.Different > 0 || first.SourceRows < int64(rows)*9/10 {
		t.Fatalf("compared %+v, at last %+v", found, a.Reports[0])
	}
	plain = append(plain, b.readAndInsert(name, "_plain1"))
	figures["compared"], figures["verify_rows_per_s"] = float64(found.Collections[0].SourceRows), float64(found.Collections[0].SourceRows)/found.Seconds
	figures["worker_peak_with_verify_mb"], figures["control_peak_mb"] = peakMemory(t, worker), peakMemory(t, boss)
	figures["plain_before"], figures["plain_after"], figures["ratio"] = plain[0], plain[1], rate/median(plain)
	report(t, "copy_128", figures)
}

// compare has the two sides compared, however long it takes.
func (r *bench) compare(repair bool) *control.VerifyAnswer {
	r.t.Helper()
	return must(r.Tasks.Verify(r.t.Context(), control.VerifyRequest{Name: "bench", Repair: repair}, func(string) {}))(r.t)
}

// long waits for what takes minutes.
func (r *bench) long(what string, done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(15 * time.Minute); !done(); {
		if time.Now().After(end) {
			r.t.Fatalf("not yet: %s", what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// forget has the source's queue, natsmq, forget all that it holds of a collection's channels.
func (r *bench) forget(collection string) {
	r.t.Helper()
	ctx := r.t.Context()
	col := must(r.source.DescribeCollection(ctx, collection))(r.t)
	nc := must(nats.Connect(r.Source.MQURL))(r.t)
	defer nc.Close()
	js := must(natsjs.New(nc))(r.t)
	for _, channel := range col.PhysicalChannels {
		if err := must(js.Stream(ctx, channel))(r.t).Purge(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
}

// readAndInsert is how many rows a second a loop moves that reads them from the source by their keys and inserts them into the target.
func (r *bench) readAndInsert(name, suffix string) float64 {
	r.t.Helper()
	ctx := r.t.Context()
	r.collection(r.target, name+suffix, copyDim)
	r.rest()
	began := time.Now()
	for call := range pairCalls {
		got := must(r.source.Query(ctx, name, nil, fmt.Sprintf("id >= %d && id < %d", call*5000, (call+1)*5000), []string{"id", "vec"},
			client.WithSearchQueryConsistencyLevel(entity.ClStrong)))(r.t)
		must(r.target.Insert(ctx, name+suffix, "", got.GetColumn("id"), got.GetColumn("vec")))(r.t)
	}
	rate := pairCalls * 5000 / time.Since(began).Seconds()
	if err := r.target.DropCollection(ctx, name+suffix); err != nil {
		r.t.Fatal(err)
	}
	return rate
}

// disturb upserts and deletes rows all over the collection, some 40 calls a second, until it is stopped.
func (r *bench) disturb(name string) (rows *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	rows = &atomic.Int64{}
	rng := rand.New(rand.NewPCG(3, 4))
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			at, n := rng.IntN(copyCalls*5000), 1+rng.IntN(20)
			ids, vecs := make([]int64, n), make([][]float32, n)
			for i := range ids {
				ids[i], vecs[i] = int64(at+i), make([]float32, copyDim)
				vecs[i][rng.IntN(copyDim)] = rng.Float32()
			}
			var err error
			if rng.IntN(4) == 0 {
				err = r.source.DeleteByPks(ctx, name, "", entity.NewColumnInt64("id", ids))
			} else {
				_, err = r.source.Upsert(ctx, name, "", entity.NewColumnInt64("id", ids), entity.NewColumnFloatVector("vec", copyDim, vecs))
			}
			if err != nil && ctx.Err() == nil {
				r.t.Errorf("write to the source: %v", err)
				return
			}
			rows.Add(int64(n))
			time.Sleep(25 * time.Millisecond)
		}
	}()
	r.t.Cleanup(cancel)
	return rows, func() { cancel(); <-ended }
}
