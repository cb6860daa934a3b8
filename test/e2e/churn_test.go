//go:build servers

package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"kitestream/jetstream"
	"kitestream/test/load"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// envSeeds says how many seeds TestChurn takes; KITESTREAM_SEED which is the first of them.
const envSeeds = "KITESTREAM_CHURN_SEEDS"

// churnSteps are the operations of one seed: before the task is there, and under it.
const churnBefore, churnSteps = 20, 100

// TestChurn does to the source whatever can be done to it, while processes are killed, and finds the target to be what the
// source is: every row, every name, every setting.
func TestChurn(t *testing.T) {
	seeds := 1
	if s := os.Getenv(envSeeds); s != "" {
		var err error
		if seeds, err = strconv.Atoi(s); err != nil || seeds < 1 {
			t.Fatalf("%s=%q is no number of seeds", envSeeds, s)
		}
	}
	first := rig.Seed(t)
	for i := range uint64(seeds) {
		t.Run(fmt.Sprintf("seed_%d", first+i), func(t *testing.T) { churn(t, first+i) })
	}
}

func churn(t *testing.T, seed uint64) {
	r, dst := rig.New(t), servers.Target(t)
	prefix := "churn" + strconv.FormatUint(seed%100_000, 10) + "_"
	c, err := load.DialChurn(r.Source.Addr, seed, prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what was done, KITESTREAM_SEED=%d:\n%s", seed, strings.Join(numbered(c.Log), "\n"))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.Clean(ctx); err != nil {
			t.Logf("clean up: %v", err)
		}
	})
	r.Env("KITESTREAM_LEASE_TTL=2s")
	r.Start("control")
	running := []*rig.Process{r.Start("bridge"), r.Start("worker"), r.Start("worker")}
	rng := rand.New(rand.NewPCG(seed, 13))
	steps := func(n int) {
		for range n {
			if err := c.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	began := time.Now()
	steps(churnBefore)
	task := "churn" + strconv.FormatUint(seed%100_000, 10)
	r.CreateTask(jetstream.TaskSpec{
		Name: task, Lanes: 3, Targets: []jetstream.TargetSpec{{Name: "t1", URI: dst.URI}},
		Select: []jetstream.Selection{{Database: prefix + "*", Collections: []string{"*"}}, {Database: "default", Collections: []string{prefix + "*"}}},
	})
	kills := 0
	for range churnSteps {
		steps(1)
		if rng.IntN(2) == 0 { // bursts, and moments in which what was done is seen
			select {
			case <-time.After(time.Duration(rng.IntN(300)) * time.Millisecond):
			case <-t.Context().Done():
			}
		}
		if rng.IntN(12) == 0 {
			i := rng.IntN(len(running))
			running[i].Kill()
			running[i] = r.Start(running[i].Verb)
			kills++
		}
	}
	done := time.Since(began)
	defer func() { // while it is there
		if t.Failed() {
			t.Logf("the task: %+v", r.View(task))
		}
	}()
	r.Wait(task)
	caught := time.Since(began)
	defer r.CheckStream(task) // which is kept if the next line fails
	d := r.Same(dst, c.Selects)
	t.Logf("%d operations and %d kills in %v, caught up after %v, judged after %v: %d collections, %d rows", len(c.Log), kills,
		done.Round(time.Second), caught.Round(time.Second), time.Since(began).Round(time.Second), d.Collections, d.Rows)
}

func numbered(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = fmt.Sprintf("%3d %s", i+1, l)
	}
	return out
}
