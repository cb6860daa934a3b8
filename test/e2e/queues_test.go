//go:build servers

package e2e_test

import (
	"testing"

	"kitestream/test/rig"
	"kitestream/test/servers"
)

// The core of this suite on the queues that most sources have, with the bridge killed in between. `make e2e MQ=pulsar` has
// all of it on one of them.
func TestSourceOnPulsar(t *testing.T) { onQueue(t, servers.PulsarMQ) }

func TestSourceOnKafka(t *testing.T) { onQueue(t, servers.KafkaMQ) }

func onQueue(t *testing.T, kind string) {
	r := rig.New(t)
	r.From(servers.SourceOn(t, kind))
	dst := servers.Target(t)
	prefix := "on" + kind + "_"
	r.Clean(prefix, dst)
	r.Start("control")
	r.Start("worker")
	bridge := r.Start("bridge")
	l := r.Load(prefix, rig.Seed(t), 0)
	r.Create("on"+kind, 4, rig.Prefix("default", prefix), dst)
	const kills = 3
	for range kills {
		l.Calls(100)
		r.Until("the stream is taken over by the new bridge", func() bool { return bridge.Is(r.Publisher("on" + kind)) })
		bridge.Kill()
		bridge = r.Start("bridge")
	}
	l.Calls(100)
	l.Stop()
	r.Wait("on" + kind)
	if d := r.Equal(dst, "default", prefix); d.Collections < 5 || d.Rows == 0 {
		t.Errorf("only %d collections and %d rows were compared", d.Collections, d.Rows)
	}
	if h := r.CheckStream("on" + kind); len(h.Fences) != kills+1 {
		t.Errorf("%d take-overs for %d bridges", len(h.Fences), kills+1)
	}
}
