//go:build servers

// Package crash_test kills and freezes kitestream processes under load, at moments chosen by how far the work has come,
// and then finds the targets as the source is and the stream with every event once.
//
// KITESTREAM_CRASH_POINTS says how often each process is killed (default 5; `make crash` asks for more), KITESTREAM_SEED
// repeats a run's load and choices.
package crash_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"kitestream/test/rig"
	"kitestream/test/servers"
)

func TestMain(m *testing.M) {
	os.Exit(rig.Main(m, servers.RoleSource, servers.RoleTarget, servers.RoleTarget2))
}

const (
	// leaseTTL makes what a dead process held move soon, so that there is time for many deaths.
	leaseTTL = "KITESTREAM_LEASE_TTL=2s"
	lanes    = 4
)

// points is how often to kill.
func points(t *testing.T) int {
	t.Helper()
	s := os.Getenv("KITESTREAM_CRASH_POINTS")
	if s == "" {
		return 5
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("KITESTREAM_CRASH_POINTS=%q is no number of times", s)
	}
	return n
}

// scene is one task under load, and the seeded choices.
type scene struct {
	*rig.Rig
	task   string
	target *servers.Milvus
	load   *rig.Load
	rng    *rand.Rand
}

// begin makes the task and the load for it.
func begin(r *rig.Rig, task string) *scene {
	r.Helper()
	return beginWith(r, task, r.Load)
}

func beginWith(r *rig.Rig, task string, load func(prefix string, seed uint64, pause time.Duration) *rig.Load) *scene {
	r.Helper()
	seed := rig.Seed(r)
	s := &scene{Rig: r, task: task, target: servers.Target(r), rng: rand.New(rand.NewPCG(seed, 7))}
	prefix := task + "_"
	r.Clean(prefix, s.target)
	s.load = load(prefix, seed, 2*time.Millisecond)
	r.Create(task, lanes, rig.Prefix("default", prefix), s.target)
	s.load.Calls(10)
	return s
}

// after returns when a measure of progress has grown by a chosen number up to most, at least by one.
func (s *scene) after(what string, most uint64, measure func() uint64) {
	s.Helper()
	from := uint64(0)
	s.Until(what+" can be asked for", func() bool { from = measure(); return from > 0 })
	to := from + 1 + s.rng.Uint64N(most)
	s.Until(fmt.Sprintf("%s grows from %d to %d", what, from, to), func() bool { return measure() >= to })
}

func (s *scene) published() uint64 { return s.Published(s.task) }
func (s *scene) applied() uint64   { return s.Applied(s.task) }

// takenOverBy returns when the process has taken the stream over: what grows from then on is its work.
func (s *scene) takenOverBy(p *rig.Process) {
	s.Helper()
	s.Until("the stream is taken over by the new process", func() bool { return p.Is(s.Publisher(s.task)) })
}

// worksFor returns when the process holds a lane.
func (s *scene) worksFor(p *rig.Process) {
	s.Helper()
	s.Until("a lane is held by the new process", func() bool {
		for holder := range s.shares() {
			if p.Is(holder) {
				return true
			}
		}
		return false
	})
}

// shares counts the lanes by who holds them; nothing when nobody can be asked.
func (s *scene) shares() map[string]int {
	v, err := s.Tasks.Get(s.Context(), s.task)
	if err != nil {
		return nil
	}
	n := map[string]int{}
	for _, l := range v.Targets[0].Lanes {
		n[l.Holder]++
	}
	return n
}

// end stops the load, has the target catch up, and judges.
func (s *scene) end() *rig.History {
	s.Helper()
	s.load.Stop()
	s.Wait(s.task)
	s.Equal(s.target, "default", s.task+"_")
	return s.CheckStream(s.task)
}
