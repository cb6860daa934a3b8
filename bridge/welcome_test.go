package bridge_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"kitestream/bridge"
	"kitestream/jetstream/jetstreamtest"
)

// TestJoining has two targets join in the middle of histories, in which bridges are killed and API calls fail, and wants all targets to
// have in the end what the source has, each from its own place of the stream on.
func TestJoining(t *testing.T) {
	srv := jetstreamtest.Run(t)
	for seed := range uint64(copySeeds) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			s := copySimulation(t, srv, seed)
			s.spec.Name, s.spec.RBAC = "join"+strconv.FormatUint(seed, 10), seed%2 == 0
			targets := []modelTarget{{name: "t"}}
			for _, name := range []string{"second", "third"} {
				targets = append(targets, modelTarget{name, s.join(t, name)})
			}
			s.epoch++
			s.finish(s.ctx, t, s.epoch)
			for _, to := range targets {
				s.compare(t, seed, to)
			}
		})
	}
}

// join has a bridge run for a while, and a target join on the way; then the bridge is cut off as kill -9 would.
func (s *copySim) join(t *testing.T, target string) (behind uint64) {
	t.Helper()
	s.epoch++
	nc := must(nats.Connect(s.srv.URL(), nats.NoReconnect()))
	b := s.bridge(t, nc, s.epoch)
	ctx, cancel := context.WithCancel(s.ctx)
	var run sync.WaitGroup
	run.Go(func() { _ = b.Run(ctx) })
	pause := func() { time.Sleep(time.Duration(s.rng.IntN(40)) * time.Millisecond) }
	pause()
	for {
		var err error
		if behind, err = b.Welcome(ctx, bridge.WelcomeRequest{Target: target}); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		pause()
	}
	pause()
	nc.Close()
	cancel()
	run.Wait()
	return behind
}
