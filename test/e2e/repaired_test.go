//go:build servers

package e2e_test

import (
	"slices"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/functions/control"
	"kitestream/functions/verify"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// repaired has one of two targets changed by hand in every way that a comparison is to find. All is found, and repaired.
func repaired(r *rig.Rig) {
	dst, second := servers.Target(r), servers.Target2(r)
	r.Clean("rep_", dst, second)
	books := searched(r, "rep_books")
	books.CreatePartition("old")
	books.CreatePartition("new")
	gone, released := searched(r, "rep_gone"), searched(r, "rep_released")
	must(r, books.Client.CreateAlias(r.Context(), "rep_books", "rep_alias"))
	must(r, gone.Client.CreateAlias(r.Context(), "rep_gone", "rep_gone_alias"))
	r.CreateTask(jetstream.TaskSpec{Name: "repaired", Lanes: 3, Select: rig.Prefix("default", "rep_"),
		Targets: []jetstream.TargetSpec{{Name: "t1", URI: dst.URI}, {Name: "t2", URI: second.URI}}})
	books.Upsert("", rows(0, 500, 1)...)
	books.Upsert("old", rows(500, 700, 1)...)
	gone.Upsert("", rows(0, 2500, 1)...)
	released.Upsert("", rows(0, 10, 1)...)
	r.Wait("repaired")
	r.Ask(0, &control.VerifyAnswer{}, "verify", "repaired")

	damage(r, r.Client(dst, ""))
	var a control.VerifyAnswer
	r.Ask(1, &a, "verify", "repaired")
	if len(a.Reports) != 2 || a.Reports[0].Verdict != verify.Different || a.Reports[1].Verdict != verify.Equal {
		r.Errorf("verdicts: %+v", a.Reports)
	}
	of := map[string]verify.Collection{}
	for _, c := range a.Reports[0].Collections {
		of[c.Source.Collection] = c
	}
	expect(r, of["rep_books"],
		verify.Difference{Kind: verify.MissingRow, Partition: "_default", Key: "5"},
		verify.Difference{Kind: verify.ExtraRow, Partition: "_default", Key: "9000"},
		verify.Difference{Kind: verify.DifferentRow, Partition: "_default", Key: "10", Field: "n"},
		verify.Difference{Kind: verify.DifferentRow, Partition: "_default", Key: "11", Field: "vec[2]"},
		verify.Difference{Kind: verify.OfPartition, Name: "old"},
		verify.Difference{Kind: verify.OfPartition, Name: "odd"},
		verify.Difference{Kind: verify.OfIndex, Name: "vec", Field: "vec"},
		verify.Difference{Kind: verify.OfAlias, Name: "rep_alias"},
		verify.Difference{Kind: verify.OfAlias, Name: "rep_odd"})
	expect(r, of["rep_gone"], verify.Difference{Kind: verify.OfCollection, Name: "default.rep_gone"})
	expect(r, of["rep_released"], verify.Difference{Kind: verify.OfLoad, Name: "_default"})
	if c := of["rep_books"]; c.Found() != 9 {
		r.Errorf("found %d differences of rep_books: %+v", c.Found(), c.Differences)
	}

	r.Ask(0, &a, "verify", "repaired", "--target", "t1", "--repair")
	r.Ask(0, &a, "verify", "repaired")
	if a.Verdict != verify.Equal || a.Reports[0].Rows() != 3210 {
		r.Errorf("after the repair: %+v", a.Reports)
	}
	for _, m := range []*servers.Milvus{dst, second} {
		r.Equal(m, "default", "rep_")
	}
	books.Upsert("old", rows(500, 600, 2)...) // and it goes on
	gone.Delete("", ids(0, 100))
	r.Wait("repaired")
	r.Ask(0, &a, "verify", "repaired")
}

// damage changes a target by hand.
func damage(r *rig.Rig, there client.Client) {
	ctx := r.Context()
	row := func(id, version int64, change func(n []int64, v []float32)) {
		cols := rows(id, id+1, version)
		n, _ := cols[1].(*entity.ColumnInt64)
		v, _ := cols[2].(*entity.ColumnFloatVector)
		change(n.Data(), v.Data()[0])
		_, err := there.Upsert(ctx, "rep_books", "", cols...)
		must(r, err)
	}
	must(r, there.DeleteByPks(ctx, "rep_books", "", ids(5, 6)))
	row(9000, 1, func([]int64, []float32) {})
	row(10, 1, func(n []int64, _ []float32) { n[0]++ })
	row(11, 1, func(_ []int64, v []float32) { v[2] += 0.001 })
	must(r, there.DropAlias(ctx, "rep_alias"))
	must(r, there.CreateAlias(ctx, "rep_books", "rep_odd"))
	must(r, there.ReleaseCollection(ctx, "rep_books"))
	must(r, there.DropPartition(ctx, "rep_books", "old"))
	must(r, there.CreatePartition(ctx, "rep_books", "odd"))
	must(r, there.DropIndex(ctx, "rep_books", "vec"))
	flat, err := entity.NewIndexFlat(entity.L2)
	must(r, err)
	must(r, there.CreateIndex(ctx, "rep_books", "vec", flat, false))
	must(r, there.LoadCollection(ctx, "rep_books", false))
	must(r, there.ReleaseCollection(ctx, "rep_released"))
	must(r, there.DropAlias(ctx, "rep_gone_alias"))
	must(r, there.DropCollection(ctx, "rep_gone"))
}

// expect has these among a collection's differences, whatever either side has.
func expect(r *rig.Rig, c verify.Collection, want ...verify.Difference) {
	r.Helper()
	for _, w := range want {
		if !slices.ContainsFunc(c.Differences, func(d verify.Difference) bool {
			d.Source, d.Target = "", ""
			return d == w
		}) {
			r.Errorf("%s: %+v was not found; there are %+v", c.Source, w, c.Differences)
		}
	}
}
