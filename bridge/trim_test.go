package bridge_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// TestTrimming has streams lose what has been applied, at once, while bridges are killed at random points: each event is applied to a
// strict model before it may go, and a bridge that begins anew with what is left publishes nothing twice and misses nothing.
func TestTrimming(t *testing.T) {
	srv := jetstreamtest.Run(t)
	trimmed := 0
	for seed := range uint64(copySeeds) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			s := copySimulation(t, srv, seed)
			s.spec.Name, s.spec.RBAC, s.spec.History = "trim"+strconv.FormatUint(seed, 10), seed%2 == 0, "1ns"
			var applied atomic.Uint64
			s.needed = func(context.Context) (uint64, error) { return applied.Load() + 1, nil }
			m := newModel(t, modelTarget{name: "t"})
			consume := func() {
				err := jetstream.Scan(s.ctx, srv.JetStream(), s.spec.Name, []string{jetstream.StreamSubjects(s.spec.Name)}, applied.Load()+1, func(e *jetstream.Event) error {
					m.apply(e)
					applied.Store(e.Seq)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			for kills := 2 + s.rng.IntN(3); kills > 0; kills-- {
				s.epoch++
				s.killAt(s.ctx, t, s.epoch, uint64(s.rng.IntN(200)))
				consume()
			}
			s.epoch++
			s.finish(s.ctx, t, s.epoch)
			consume()
			if diff := cmp.Diff(s.h.expected(), m.rows()); diff != "" {
				t.Errorf("seed %d: target differs from source (-source +target):\n%s", seed, diff)
			}
			if diff := cmp.Diff(s.h.settings(s.spec), m.settings()); diff != "" {
				t.Errorf("seed %d: settings differ (-source +target):\n%s", seed, diff)
			}
			held, err := jetstream.StreamHolds(s.ctx, srv.JetStream(), s.spec.Name)
			if err != nil {
				t.Fatal(err)
			}
			trimmed += int(held.First) - 1
		})
	}
	if trimmed < 100*copySeeds {
		t.Errorf("only %d events were trimmed", trimmed)
	}
}

// trimEvery is how often a simulated bridge trims.
const trimEvery = 3 * time.Millisecond
