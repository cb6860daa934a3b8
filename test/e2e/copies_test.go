//go:build servers

package e2e_test

import (
	"strings"
	"sync"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// copied: rows that there were before are copied to a target that is not to follow; a collection whose target was changed by
// hand is found to differ, is copied anew while its source is written to, and is equal then, rows that are too many gone.
func copied(r *rig.Rig) {
	dst, second := servers.Target(r), servers.Target2(r)
	r.Clean("cop_", dst, second)
	books := r.Table("default", plain("cop_books"), 2)
	src := r.Client(r.Source, "")
	books.CreatePartition("old")
	index, err := entity.NewIndexFlat(entity.L2)
	if err != nil {
		r.Fatal(err)
	}
	if err := src.CreateIndex(r.Context(), "cop_books", "vec", index, false); err != nil {
		r.Fatal(err)
	}
	if err := src.LoadCollection(r.Context(), "cop_books", false); err != nil {
		r.Fatal(err)
	}
	books.Upsert("", rows(0, 6000, 1)...)
	books.Upsert("old", rows(7000, 7500, 1)...)
	there := r.Client(second, "") // which has the collection already, with rows of its own
	must(r, there.CreateCollection(r.Context(), plain("cop_books"), 2))
	must(r, there.CreateIndex(r.Context(), "cop_books", "vec", index, false))
	must(r, there.LoadCollection(r.Context(), "cop_books", false))
	_, err = there.Insert(r.Context(), "cop_books", "", rows(5990, 6020, 5)...)
	must(r, err)
	sel := []jetstream.Selection{{Database: "default", Collections: []string{"cop_*"}}}
	r.CreateTask(jetstream.TaskSpec{Name: "copied_only", Lanes: 2, Select: sel, Snapshot: jetstream.SnapshotOnly,
		Targets: []jetstream.TargetSpec{{Name: "t2", URI: second.URI}}})
	r.Wait("copied_only")
	r.Equal(second, "default", "cop_")
	if c := r.View("copied_only").Targets[0].Collections[0]; c.Snapshot == nil || !c.Snapshot.Done || c.Snapshot.Rows != 6500 {
		r.Errorf("task get shows %+v of the copy", c.Snapshot)
	}

	r.Create("copied", 3, sel, dst)
	r.Wait("copied")
	r.Equal(dst, "default", "cop_")
	r.Ask(0, &control.VerifyAnswer{}, "verify", "copied")
	target := r.Client(dst, "")
	if err := target.DeleteByPks(r.Context(), "cop_books", "", ids(100, 120)); err != nil {
		r.Fatal(err)
	}
	if _, err := target.Upsert(r.Context(), "cop_books", "", rows(5000, 5010, 9)...); err != nil {
		r.Fatal(err)
	}
	if _, err := target.Upsert(r.Context(), "cop_books", "old", rows(90_000, 90_020, 9)...); err != nil {
		r.Fatal(err)
	}
	r.Ask(1, &control.VerifyAnswer{}, "verify", "copied")
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for version := int64(2); ; version++ {
			select {
			case <-stop:
				return
			default:
				books.Upsert("", rows(version%60*100, version%60*100+50, version)...)
				books.Delete("", ids(version%60*100+50, version%60*100+60))
			}
		}
	})
	r.Ask(0, &control.ResnapshotAnswer{}, "task", "resnapshot", "copied", "--collection", "default.cop_books")
	r.Until("the copy has ended", func() bool {
		s := r.View("copied").Targets[0].Collections[0].Snapshot
		return s != nil && s.Done
	})
	close(stop)
	writing.Wait()
	r.Wait("copied")
	r.Equal(dst, "default", "cop_")
	r.Ask(0, &control.VerifyAnswer{}, "verify", "copied")
	if _, err := target.Upsert(r.Context(), "cop_books", "", rows(95_000, 95_003, 9)...); err != nil {
		r.Fatal(err)
	}
	if err := target.DeleteByPks(r.Context(), "cop_books", "old", ids(7000, 7002)); err != nil {
		r.Fatal(err)
	}
	r.Ask(0, &control.VerifyAnswer{}, "verify", "copied", "--repair")
	r.Equal(dst, "default", "cop_")
}

// halfLoaded: the copy of a collection of which only a partition is loaded waits, says why, and goes on when somebody has loaded it.
func halfLoaded(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("half_", dst)
	books := r.Table("default", plain("half_books"), 1)
	books.CreatePartition("p")
	index, err := entity.NewIndexFlat(entity.L2)
	must(r, err)
	must(r, books.Client.CreateIndex(r.Context(), "half_books", "vec", index, false))
	must(r, books.Client.LoadPartitions(r.Context(), "half_books", []string{"p"}, false))
	books.Upsert("", rows(0, 100, 1)...)
	books.Upsert("p", rows(200, 300, 1)...)
	r.Create("half", 2, rig.Prefix("default", "half_"), dst)
	r.Wait("half")
	r.Ask(0, &control.ResnapshotAnswer{}, "task", "resnapshot", "half", "--collection", "default.half_books")
	snapshot := func() *jetstream.SnapshotStatus { return r.View("half").Targets[0].Collections[0].Snapshot }
	r.Until("the copy says that it waits", func() bool { s := snapshot(); return s != nil && strings.Contains(s.Error, "load") })
	if s := snapshot(); s.Done {
		r.Errorf("a copy that waits is %+v", s)
	}
	must(r, books.Client.LoadCollection(r.Context(), "half_books", false))
	r.Until("the copy has ended", func() bool { return snapshot().Done })
	r.Wait("half")
	r.Same(dst, only("half_"))
	r.Ask(0, nil, "verify", "half")
}
