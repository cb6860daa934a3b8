//go:build servers

package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"
	"github.com/nats-io/nats-server/v2/server"

	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// stopTime is how long a process may take to end when it is told to.
const stopTime = 10 * time.Second

// stop ends processes gracefully, all at once.
func stop(t *testing.T, processes ...*rig.Process) {
	t.Helper()
	errs := make(chan error)
	for _, p := range processes {
		go func() { errs <- p.Stop(stopTime) }()
	}
	for range processes {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestFleet runs each role in a process of its own, two workers among them, and stops and restarts them: under load,
// and with something left to apply.
func TestFleet(t *testing.T) {
	r, dst := rig.New(t), servers.Target2(t)
	r.Clean("fleet_", dst)
	start := func(verbs ...string) (all []*rig.Process) {
		for _, v := range verbs {
			all = append(all, r.Start(v))
		}
		return all
	}
	fleet := start("control", "bridge", "worker", "worker")
	l := r.Load("fleet_", rig.Seed(t), 5*time.Millisecond)
	r.Create("fleet", 4, rig.Prefix("default", "fleet_"), dst)
	l.Calls(80)
	r.Until("both workers have their share", func() bool {
		n := map[string]int{}
		for _, lane := range r.View("fleet").Targets[0].Lanes {
			n[lane.Holder]++
		}
		return len(n) == 2 && n[""] == 0
	})
	stop(t, fleet...)
	if held := holders(r); len(held) > 0 {
		t.Errorf("after all have stopped, leases are held: %v", held)
	}
	l.Calls(40)
	fleet = start("control", "bridge", "worker", "worker")
	l.Calls(40)
	l.Stop()
	r.Wait("fleet")
	r.Equal(dst, "default", "fleet_")
	r.CheckStream("fleet")
	idle(r, "fleet")
	t.Run("lag_after_a_restart", func(t *testing.T) {
		r := r.For(t)
		stop(t, fleet[2:]...)
		tb := r.Table("default", plain("fleet_late"), 2)
		tb.Insert("", rows(0, 700, 1)...)
		r.Captured("fleet")
		lags(r)
		stop(t, fleet[:2]...)
		start("control", "bridge")
		lags(r)
		start("worker")
		r.Wait("fleet")
		tb.Check(dst)
		idle(r, "fleet")
	})
}

// lags returns when the task shows 700 rows that nobody has applied; it must not show any other number meanwhile.
func lags(r *rig.Rig) {
	r.Helper()
	r.Until("700 rows are behind", func() bool {
		v, err := r.Tasks.Get(r.Context(), "fleet")
		if err != nil {
			return false // control is starting
		}
		for _, c := range v.Targets[0].Collections {
			if c.Collection != "fleet_late" || c.Lag.Rows == nil || *c.Lag.Rows == 0 {
				continue // the bridge has not said anything since its start
			}
			if *c.Lag.Rows != 700 || c.Lag.Seconds == nil || !strings.Contains(c.Lag.Text, "700 rows") {
				r.Fatalf("the lag is %q, %d rows", c.Lag.Text, *c.Lag.Rows)
			}
			return *c.Lag.Seconds > 0 && *v.Targets[0].Lag.Rows == 700
		}
		return false
	})
}

// holders are who holds any lease.
func holders(r *rig.Rig) map[string]string {
	r.Helper()
	kv, err := r.JS.KeyValue(r.Context(), jetstream.BucketLeases)
	if err != nil {
		r.Fatal(err)
	}
	leases, err := jetstream.NewLeases(r.JS, kv, jetstream.LeaseConfig{})
	if err != nil {
		r.Fatal(err)
	}
	all := map[string]string{}
	for _, prefix := range []string{"bridge", "lane", "worker"} {
		held, err := leases.Holders(r.Context(), prefix)
		if err != nil {
			r.Fatal(err)
		}
		for k, v := range held {
			all[k] = v
		}
	}
	return all
}

// TestRowTooLarge has a row that no message of the NATS server can hold: its collection stops with an error that says
// so, and nothing else does.
func TestRowTooLarge(t *testing.T) {
	const payload = 128 << 10
	r, dst := rig.New(t, func(o *server.Options) { o.MaxPayload = payload }), servers.Target(t)
	r.Clean("large_", dst)
	for _, verb := range []string{"control", "bridge", "worker"} {
		r.Start(verb)
	}
	const dim = 32768 // 128 KiB of vector, the most that Milvus takes
	large := r.Table("default", entity.NewSchema().WithName("large_a").
		WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(dim)), 1)
	other := r.Table("default", plain("large_b"), 1)
	r.Create("large", 2, rig.Prefix("default", "large_"), dst)
	other.Upsert("", rows(0, 6000, 1)...) // more than a message holds, but not in one row
	large.Insert("", ids(1, 2), entity.NewColumnFloatVector("vec", dim, [][]float32{make([]float32, dim)}))
	other.Upsert("", rows(5000, 7000, 2)...)
	r.PassedBy("large")
	other.Check(dst)
	r.Until("the collection is said to be stopped", func() bool { return view(r, "large", "large_a").State == control.Stopped })
	a, b := view(r, "large", "large_a"), view(r, "large", "large_b")
	for _, say := range []string{"does not fit", "max_payload", "large_a"} {
		if !strings.Contains(a.Why, say) {
			t.Errorf("the stopped collection's reason lacks %q: %s", say, a.Why)
		}
	}
	if b.State != control.Running || b.Why != "" {
		t.Errorf("the other collection shows as %+v", b)
	}
	r.CheckStream("large")
}
