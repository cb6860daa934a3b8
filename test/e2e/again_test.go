//go:build servers

package e2e_test

import (
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// dropWaited has things dropped and waits at once: Milvus answers a drop up to a second before its queue tells of it.
func dropWaited(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("dropwait_", dst)
	r.Create("dropwait", 2, rig.Prefix("default", "dropwait_"), dst)
	for range 4 {
		tb := r.Table("default", plain("dropwait_a"), 2)
		tb.CreatePartition("p")
		tb.Upsert("p", rows(0, 20, 1)...)
		r.Wait("dropwait")
		must(r, tb.Client.DropPartition(r.Context(), "dropwait_a", "p"))
		r.Wait("dropwait")
		r.Same(dst, only("dropwait_"))
		tb.Drop()
		r.Wait("dropwait")
		if d := r.Same(dst, only("dropwait_")); d.Collections != 0 {
			r.Errorf("the source has %d collections", d.Collections)
		}
	}
	r.CheckStream("dropwait")
}

// loadedAgain loads by parts, then the rest, and then what was made since.
func loadedAgain(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("loadagain_", dst)
	tb := r.Table("default", plain("loadagain_a"), 1)
	tb.CreatePartition("p1")
	must(r, tb.Client.CreateIndex(r.Context(), "loadagain_a", "vec", graph(r, 40), false))
	r.Create("loadagain", 3, rig.Prefix("default", "loadagain_"), dst)
	for _, p := range []string{"p2", "p3"} {
		must(r, tb.Client.LoadPartitions(r.Context(), "loadagain_a", []string{"_default", "p1"}, false))
		must(r, tb.Client.LoadCollection(r.Context(), "loadagain_a", false))
		tb.CreatePartition(p)
		must(r, tb.Client.LoadCollection(r.Context(), "loadagain_a", false))
		r.Wait("loadagain")
		r.Same(dst, only("loadagain_"))
	}
	r.CheckStream("loadagain")
}
