//go:build servers

package crash_test

import (
	"testing"

	"kitestream/test/rig"
)

// TestKilledBridge kills the process that reads the source, between any two events.
func TestKilledBridge(t *testing.T) {
	r := rig.New(t)
	r.Env(leaseTTL)
	r.Start("control")
	r.Start("worker")
	p := r.Start("bridge")
	s := begin(r, "kbridge")
	n := points(t)
	for range n {
		s.takenOverBy(p)
		s.after("the stream", 300, s.published)
		p.Kill()
		p = r.Start("bridge")
	}
	s.takenOverBy(p)
	if h := s.end(); len(h.Fences) != n+1 {
		t.Errorf("%d take-overs for %d bridges", len(h.Fences), n+1)
	}
}

// TestKilledWorker kills one of two processes that write to the target, between any two writes.
func TestKilledWorker(t *testing.T) {
	r := rig.New(t)
	r.Env(leaseTTL)
	r.Start("control")
	r.Start("bridge")
	p := []*rig.Process{r.Start("worker"), r.Start("worker")}
	s := begin(r, "kworker")
	for range points(t) {
		i := s.rng.IntN(len(p))
		s.worksFor(p[i])
		s.after("what is applied", 1200, s.applied)
		p[i].Kill()
		p[i] = r.Start("worker")
	}
	s.end()
}

// TestKilledUp kills everything at once, NATS with it.
func TestKilledUp(t *testing.T) {
	r, p := rig.Up(t, leaseTTL)
	s := begin(r, "kup")
	for range points(t) {
		s.takenOverBy(p)
		s.worksFor(p)
		if s.rng.IntN(2) == 0 {
			s.after("the stream", 300, s.published)
		} else {
			s.after("what is applied", 1200, s.applied)
		}
		p.Kill()
		p = r.Start("up")
	}
	s.end()
}
