//go:build servers

package e2e_test

import (
	"kitestream/functions/control"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// targetDown kills one of two targets while the source is written to: the other one keeps up, and the first has all of
// it when it is back.
func targetDown(r *rig.Rig) {
	up := servers.Target2(r)
	down, err := servers.StartMilvus(r.Context(), servers.MilvusConfig{Dir: r.TempDir(), QuickRestart: true})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = down.Close() })
	r.Clean("down_", up)
	l := r.Load("down_", rig.Seed(r), 0)
	r.Create("down", 4, rig.Prefix("default", "down_"), up, down)
	l.Calls(50)
	r.Wait("down", "t2")
	if err := down.Kill(); err != nil {
		r.Fatal(err)
	}
	l.Calls(50)
	r.Wait("down", "t1") // while the writing goes on
	r.Until("the target that is down is said to be waited for", func() bool {
		v := r.View("down")
		return v.Targets[0].State == control.Running && v.Targets[1].State == control.Waiting && v.Targets[1].Why != ""
	})
	l.Calls(20)
	l.Stop()
	r.Wait("down", "t1")
	r.Equal(up, "default", "down_")
	if lag := r.View("down").Targets[1].Lag; lag.Rows == nil || *lag.Rows == 0 {
		r.Errorf("the lag of the target that is down is %q", lag.Text)
	}
	if err := down.Restart(r.Context()); err != nil {
		r.Fatal(err)
	}
	r.Wait("down")
	r.Equal(down, "default", "down_")
	r.CheckStream("down")
}
