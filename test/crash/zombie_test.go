//go:build servers

package crash_test

import (
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/test/rig"
)

// rounds is how often a process is frozen until its work has moved to another.
const rounds = 5

// TestFrozenBridge freezes the bridge until the other one has taken over and published. When it wakes up it changes
// nothing, and is good for the next round, in which the other one is frozen.
func TestFrozenBridge(t *testing.T) {
	r := rig.New(t)
	r.Env(leaseTTL)
	r.Start("control")
	r.Start("worker")
	bridges := []*rig.Process{r.Start("bridge"), r.Start("bridge")}
	s := begin(r, "fbridge")
	holder := func() string {
		v, err := r.Tasks.Get(t.Context(), s.task)
		if err != nil {
			return ""
		}
		return v.Bridge.Holder
	}
	var held []string
	for range rounds {
		s.after("the stream", 300, s.published)
		frozen := holder()
		p, other := bridges[0], bridges[1]
		if !p.Is(frozen) {
			p, other = other, p
		}
		if !p.Is(frozen) {
			t.Fatalf("the bridge is held by %q, which is neither process %d nor %d", frozen, p.Pid(), other.Pid())
		}
		held = append(held, frozen)
		r.Send(p, syscall.SIGSTOP)
		r.Until("the other bridge has taken over", func() bool { h := holder(); return h != frozen && other.Is(h) })
		s.after("the stream", 100, s.published)
		r.Send(p, syscall.SIGCONT)
		s.after("the stream", 300, s.published)
		if now := holder(); now == frozen {
			t.Errorf("the bridge that was frozen holds the task: %s", now)
		}
		r.Until("the bridge that was frozen is well", func() bool { return r.Healthy(p) })
	}
	held = append(held, holder())
	// On a busy machine a lease may move without a freeze, too: those take-overs stand between the others.
	h, next := s.end(), 0
	for _, f := range h.Fences {
		if next < len(held) && f.Holder == held[next] {
			next++
		}
	}
	if next < len(held) {
		t.Errorf("take-overs %v, want among them, in this order, those by %v", h.Fences, held)
	}
}

// TestFrozenWorker freezes one of two workers in the middle of its work until the other one has written newer values of
// the same keys. When it wakes up, none of the old ones comes back.
func TestFrozenWorker(t *testing.T) {
	r := rig.New(t)
	r.Env(leaseTTL)
	r.Start("control")
	r.Start("bridge")
	workers := []*rig.Process{r.Start("worker"), r.Start("worker")}
	s := begin(r, "fworker")
	tb := r.Table("default", entity.NewSchema().WithName("fworker_same").
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName("vec").WithDataType(entity.FieldTypeFloatVector).WithDim(64)), 2)
	version := float32(0)
	upsert := func() { version++; tb.Upsert("", versions(version)...) }
	both := func() bool { n := s.shares(); return len(n) == 2 && n[""] == 0 }
	r.Until("both workers have their share", both)
	for range rounds {
		p := workers[s.rng.IntN(len(workers))]
		for range 3 + s.rng.IntN(5) {
			upsert()
		}
		s.after("what is applied", 60, s.applied)
		r.Send(p, syscall.SIGSTOP)
		upsert()
		r.Until("the lanes have moved", func() bool { n := s.shares(); return len(n) == 1 && n[""] == 0 })
		upsert()
		s.Wait(s.task)
		tb.Check(s.target)
		r.Send(p, syscall.SIGCONT)
		r.Until("the worker that was frozen has its share again", both)
		tb.Check(s.target)
		if !r.Healthy(p) {
			t.Error("the worker that was frozen is not well")
		}
	}
	s.end()
}

// versions are 2000 rows, always of the same keys, that all say which version they are.
func versions(version float32) []entity.Column {
	const n, dim = 2000, 64
	rng := rand.New(rand.NewPCG(uint64(version), 1))
	ids, vecs := make([]int64, n), make([][]float32, n)
	for i := range n {
		ids[i], vecs[i] = int64(i), make([]float32, dim)
		for j := range dim {
			vecs[i][j] = version + rng.Float32()/2
		}
	}
	return []entity.Column{entity.NewColumnInt64("id", ids), entity.NewColumnFloatVector("vec", dim, vecs)}
}
