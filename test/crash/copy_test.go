//go:build servers

package crash_test

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

const (
	copiedRows = 30_000
	copyRate   = 2_000 // rows a second: slow, so that there is time for many deaths. A page has no more rows
)

// TestKilledCopy kills the bridge, and the worker, while existing rows are copied to a target that joins, and the source is written to.
// The copy goes on where it was, and the target has everything in the end.
func TestKilledCopy(t *testing.T) {
	r := rig.New(t)
	r.Env(leaseTTL)
	first, second := servers.Target(t), servers.Target2(t)
	r.Clean("kcopy_", first, second)
	r.Start("control")
	worker, bridge := r.Start("worker"), r.Start("bridge")
	rng := rand.New(rand.NewPCG(rig.Seed(t), 8))
	books := bookshelf(r)
	for at := int64(0); at < copiedRows; at += 5_000 {
		books.Upsert([]string{"", "p"}[at/5_000%2], bookRows(at, at+5_000, 1)...)
	}
	r.CreateTask(jetstream.TaskSpec{Name: "kcopy", Lanes: lanes, Select: rig.Prefix("default", "kcopy_"), SnapshotRowsPerSecond: copyRate, SnapshotLoad: true,
		Targets: []jetstream.TargetSpec{{Name: "t1", URI: first.URI}}})
	r.Wait("kcopy")
	stop := scribble(r, books, rng.Uint64())
	r.Ask(0, nil, "task", "add-target", "kcopy", "--target", "t2", "--uri", second.URI)

	seen := int64(0)
	for i := range copyPoints(t) {
		to := seen + 1 + rng.Int64N(1_000)
		r.Until("more is copied", func() bool { return progress(r).Rows >= to })
		if seen = progress(r).Rows; progress(r).Done {
			t.Fatal("the copy has ended: there is nothing to interrupt")
		}
		if i%2 == 0 {
			bridge.Kill()
			bridge = r.Start("bridge")
		} else {
			worker.Kill()
			worker = r.Start("worker")
		}
		r.Until("the task is taken over", func() bool { v := r.View("kcopy"); return v.State == control.Running && bridge.Is(v.Bridge.Holder) })
		if now := progress(r).Rows; now < seen-copyRate {
			t.Errorf("killed at %d rows, the copy goes on at %d: more than a page is lost", seen, now)
		}
	}
	r.Until("all is copied", func() bool { return progress(r).Done })
	loaded, err := books.Client.GetLoadState(t.Context(), books.Name, nil)
	if err != nil || loaded == entity.LoadStateLoaded {
		t.Errorf("the source's collection is %v after its copy, %v", loaded, err)
	}
	read := progress(r).Rows
	stop()
	r.Wait("kcopy")
	if has := r.Equal(first, "default", "kcopy_").Rows; read < copiedRows*9/10 || read > int64(has)+int64(copyPoints(t)+1)*copyRate {
		t.Errorf("%d rows were read for a copy of %d to %d", read, copiedRows, has)
	}
	for _, m := range []*servers.Milvus{first, second} {
		books.Check(m)
		r.Equal(m, "default", "kcopy_")
	}
	r.CheckStream("kcopy")
}

// bookshelf is a collection that could be loaded, and is not.
func bookshelf(r *rig.Rig) *rig.Table {
	r.Helper()
	field := func(name string, t entity.FieldType) *entity.Field {
		return entity.NewField().WithName(name).WithDataType(t)
	}
	tb := r.Table("default", entity.NewSchema().WithName("kcopy_books").WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(field("n", entity.FieldTypeInt64)).WithField(field("vec", entity.FieldTypeFloatVector).WithDim(8)), 2)
	tb.CreatePartition("p")
	index, err := entity.NewIndexFlat(entity.L2)
	if err == nil {
		err = tb.Client.CreateIndex(r.Context(), tb.Name, "vec", index, false)
	}
	if err != nil {
		r.Fatal(err)
	}
	return tb
}

// bookRows are those with the keys from, …, to-1, whose values tell which version they are.
func bookRows(from, to, version int64) []entity.Column {
	var ids, ns []int64
	var vecs [][]float32
	for id := from; id < to; id++ {
		ids, ns = append(ids, id), append(ns, version)
		vecs = append(vecs, []float32{float32(id), float32(version), 0, 0, 0, 0, 0, 1})
	}
	return []entity.Column{entity.NewColumnInt64("id", ids), entity.NewColumnInt64("n", ns), entity.NewColumnFloatVector("vec", 8, vecs)}
}

// scribble upserts, deletes and adds rows all over a collection until it is stopped.
func scribble(r *rig.Rig, tb *rig.Table, seed uint64) (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	ended := make(chan struct{})
	rng := rand.New(rand.NewPCG(seed, 9))
	go func() {
		defer close(ended)
		for version := int64(2); ctx.Err() == nil; version++ {
			at, partition := rng.Int64N(copiedRows*21/20), []string{"_default", "p"}[rng.IntN(2)]
			if rng.IntN(4) == 0 {
				tb.Delete(partition, bookRows(at, at+1+rng.Int64N(20), 0)[0])
			} else {
				tb.Upsert(partition, bookRows(at, at+1+rng.Int64N(20), version)...)
			}
		}
	}()
	r.Cleanup(cancel)
	return func() { cancel(); <-ended }
}

// copyPoints is how often a copy is interrupted.
func copyPoints(t *testing.T) int {
	if os.Getenv("KITESTREAM_CRASH_POINTS") == "" {
		return 2
	}
	return points(t)
}

// progress is how far the copy to t2 is.
func progress(r *rig.Rig) *jetstream.SnapshotStatus {
	v, err := r.Tasks.Get(r.Context(), "kcopy")
	if err != nil || len(v.Targets) < 2 || len(v.Targets[1].Collections) == 0 {
		return &jetstream.SnapshotStatus{}
	}
	if s := v.Targets[1].Collections[0].Snapshot; s != nil && s.Target == "t2" {
		return s
	}
	return &jetstream.SnapshotStatus{}
}
