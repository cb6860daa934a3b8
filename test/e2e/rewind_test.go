//go:build servers

package e2e_test

import (
	"github.com/milvus-io/milvus-sdk-go/v2/client"

	"kitestream/functions/control"
	"kitestream/test/oracle"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// rewound damages a target by hand, has it apply again from before, over drops, renames and names that mean something else by
// now, while more is written, and finds it equal.
func rewound(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("rewind_", dst)
	kept := r.Table("default", plain("rewind_kept"), 2)
	r.Create("rewind", 3, rig.Prefix("default", "rewind_"), dst)
	kept.Upsert("", rows(0, 200, 1)...)
	r.Table("default", plain("rewind_gone"), 1).Upsert("", rows(0, 50, 1)...)
	kept.CreatePartition("p")
	kept.Upsert("p", rows(0, 100, 1)...)
	r.Wait("rewind")
	place := r.Published("rewind") + 1

	kept.Upsert("", rows(100, 300, 2)...)
	kept.Delete("", ids(0, 20))
	kept.Upsert("p", rows(50, 150, 2)...)
	kept.DropPartition("p")
	kept.CreatePartition("p") // has other rows by now
	kept.Upsert("p", rows(400, 450, 3)...)
	must(r, kept.Client.CreateIndex(r.Context(), "rewind_kept", "vec", graph(r, 40), false))
	must(r, kept.Client.LoadCollection(r.Context(), "rewind_kept", false))
	first := r.Table("default", plain("rewind_a"), 1)
	first.Upsert("", rows(0, 60, 4)...)
	must(r, first.Client.RenameCollection(r.Context(), "rewind_a", "rewind_b"))
	target := r.Client(dst, "")
	r.Until("the target has the new name", func() bool {
		there, err := target.HasCollection(r.Context(), "rewind_b")
		return err == nil && there
	})
	second := r.Table("default", plain("rewind_a"), 1) // another one of the name
	second.Upsert("", rows(500, 560, 5)...)
	must(r, kept.Client.DropCollection(r.Context(), "rewind_gone"))
	r.Wait("rewind")
	r.Same(dst, only("rewind_"))

	must(r, target.DeleteByPks(r.Context(), "rewind_kept", "_default", ids(150, 250)))
	must(r, target.DeleteByPks(r.Context(), "rewind_kept", "p", ids(400, 420)))
	upsert(r, target, "rewind_b", 0, 30) // by somebody else
	upsert(r, target, "rewind_kept", 5, 15)
	must(r, target.DropCollection(r.Context(), "rewind_a"))
	d, err := oracle.CompareClusters(r.Context(), r.Oracle(r.Source), r.Oracle(dst), only("rewind_"))
	must(r, err)
	if d.Equal() {
		r.Fatal("the damage does not show")
	}

	if o := r.Run("task", "rewind", "rewind", "--target", "t1", "--to", itoa(int64(r.Published("rewind")+1000))); o.Code != 1 {
		r.Errorf("rewind to what has not happened yet: %+v", o)
	}
	var a control.RewindAnswer
	r.Ask(0, &a, "task", "rewind", "rewind", "--target", "t1", "--to", itoa(int64(place)))
	if a.Seq != place {
		r.Errorf("rewound to %+v, want %d", a, place)
	}
	kept.Upsert("p", rows(440, 460, 6)...)
	r.Wait("rewind")
	r.Same(dst, only("rewind_"))
	if v := r.View("rewind").Targets[0]; v.Rewound == nil || v.Rewound.Seq != place || len(v.Unmet) > 0 {
		r.Errorf("the target is shown as %+v", v)
	}

	must(r, target.DeleteByPks(r.Context(), "rewind_kept", "_default", ids(20, 100))) // older than that
	r.Ask(0, &a, "task", "rewind", "rewind", "--target", "t1", "--to", "1h")
	r.Wait("rewind")
	r.Same(dst, only("rewind_"))
	r.CheckStream("rewind")
}

// upsert writes to a server what no source knows of.
func upsert(r *rig.Rig, c client.Client, collection string, from, to int64) {
	r.Helper()
	_, err := c.Upsert(r.Context(), collection, "", rows(from, to, 99)...)
	must(r, err)
}
