//go:build servers

package e2e_test

import (
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/functions/control"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// joined has a second target join a task while the source is written to, leave it, miss something, be changed by hand, and join again.
func joined(r *rig.Rig) {
	dst, second := servers.Target(r), servers.Target2(r)
	r.Clean("join_", dst, second)
	seed := rig.Seed(r)
	tb := searched(r, "join_books")
	tb.CreatePartition("p")
	must(r, tb.Client.CreateAlias(r.Context(), "join_books", "join_alias"))
	quiet := searched(r, "join_quiet")
	quiet.Upsert("", rows(0, 300, 1)...)
	tb.Upsert("", rows(0, 2000, 1)...)
	r.Create("joined", 3, rig.Prefix("default", "join_"), dst)
	r.Wait("joined")

	add := []string{"task", "add-target", "joined", "--target", "t2", "--uri", second.URI}
	stop := hammer(r, tb, seed)
	r.Ask(0, &control.TargetAnswer{}, add...)
	r.Until("existing rows are copied", func() bool {
		for _, c := range r.View("joined").Targets[1].Collections {
			if c.Snapshot == nil || !c.Snapshot.Done || c.Snapshot.Target != "t2" {
				return false
			}
		}
		return true
	})
	stop()
	r.Wait("joined")
	for _, m := range []*servers.Milvus{dst, second} {
		r.Equal(m, "default", "join_")
	}
	var a control.VerifyAnswer
	r.Ask(0, &a, "verify", "joined")
	if len(a.Reports) != 2 || a.Reports[1].Target != "t2" {
		r.Errorf("compared %+v", a.Reports)
	}

	r.Ask(0, &control.TargetAnswer{}, "task", "remove-target", "joined", "--target", "t2")
	quiet.Delete("", ids(0, 100))
	quiet.CreatePartition("new")
	quiet.Upsert("new", rows(400, 450, 1)...)
	r.Wait("joined")
	there := r.Client(second, "")
	all, err := there.Query(r.Context(), "join_quiet", nil, "id >= 0", []string{"id"})
	must(r, err)
	if n := all.GetColumn("id").Len(); n != 300 {
		r.Errorf("the target that left has %d rows of 300", n)
	}
	_, err = there.Upsert(r.Context(), "join_quiet", "", rows(9000, 9010, 1)...)
	must(r, err)
	must(r, there.Flush(r.Context(), "join_quiet", false))
	stop = hammer(r, tb, seed+1)
	r.Ask(0, &control.TargetAnswer{}, add...)
	stop()
	r.Wait("joined")
	quiet.Upsert("", rows(50, 60, 3)...)
	flat, err := entity.NewIndexFlat(entity.L2)
	must(r, err)
	must(r, quiet.Client.ReleaseCollection(r.Context(), "join_quiet"))
	must(r, quiet.Client.DropIndex(r.Context(), "join_quiet", "vec"))
	must(r, quiet.Client.CreateIndex(r.Context(), "join_quiet", "vec", flat, false))
	must(r, quiet.Client.LoadCollection(r.Context(), "join_quiet", false))
	r.Wait("joined")
	for _, m := range []*servers.Milvus{dst, second} {
		r.Equal(m, "default", "join_")
	}
	r.Ask(0, &a, "verify", "joined")
}
