//go:build servers

package e2e_test

import (
	"strings"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// streamFull writes more than a task's stream may hold while nothing is applied. The bridge waits and says so, and leaves the rest in the
// source's queue; when the task goes on, what is applied makes room, and everything arrives.
func streamFull(r *rig.Rig) {
	const dim, calls, most = 768, 24, 32 << 20
	dst := servers.Target(r)
	r.Clean("full_", dst)
	schema := entity.NewSchema().WithName("full_books").
		WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(dim))
	books := r.Table("default", schema, 1)
	r.CreateTask(jetstream.TaskSpec{Name: "full", Lanes: 2, Select: rig.Prefix("default", "full_"), MaxBytes: "32MiB", History: "1m",
		Targets: []jetstream.TargetSpec{{Name: "t1", URI: dst.URI}}})
	r.Wait("full")
	r.Ask(0, nil, "task", "pause", "full")
	write := func(call int64) {
		var ids []int64
		var vecs [][]float32
		for id := call * 1000; id < (call+1)*1000; id++ {
			v := make([]float32, dim)
			v[id%dim], v[0] = float32(id), 1
			ids, vecs = append(ids, id), append(vecs, v)
		}
		books.Upsert("", entity.NewColumnInt64("id", ids), entity.NewColumnFloatVector("vec", dim, vecs))
	}
	for call := range int64(calls) {
		write(call)
	}
	r.Until("the bridge says that the stream is full", func() bool {
		b := r.View("full").Bridge
		return b.State == control.Waiting && strings.Contains(b.Why, "full")
	})
	r.Ask(0, nil, "task", "resume", "full")
	r.Wait("full")
	r.Same(dst, only("full_"))
	held, err := jetstream.StreamHolds(r.Context(), r.JS, "full")
	must(r, err)
	if held.First == 1 || held.Bytes > most {
		r.Errorf("the stream holds %d to %d, %d bytes", held.First, held.Last, held.Bytes)
	}
}
