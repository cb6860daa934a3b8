package bridge_test

import (
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// TestPresent has tasks whose targets have all existing rows: of what the source makes after the task, targets have nothing, and get all.
func TestPresent(t *testing.T) {
	srv := jetstreamtest.Run(t)
	later, earlier := 0, 0
	for seed := range uint64(copySeeds) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			s := copySimulation(t, srv, seed)
			made := jetstream.Physical(s.meta.time()).Add(time.Millisecond) // so fine are the source's times
			s.spec.Name, s.spec.Snapshot, s.created = "present"+strconv.FormatUint(seed, 10), jetstream.SnapshotPresent, made.Add(time.Minute)
			for kills := s.rng.IntN(3); kills > 0; kills-- {
				s.epoch++
				s.killAt(s.ctx, t, s.epoch, uint64(s.rng.IntN(300)))
			}
			s.epoch++
			s.finish(s.ctx, t, s.epoch)
			want := s.h.expected()
			maps.DeleteFunc(want, func(name string, _ map[string]map[int64]int64) bool {
				return jetstream.Physical(s.h.live[name].created).Before(made)
			})
			earlier, later = earlier+len(s.h.expected())-len(want), later+len(want)
			have := replayTo(s.ctx, t, srv.JetStream(), s.spec, modelTarget{name: "t"}).rows()
			maps.DeleteFunc(have, func(name string, _ map[string]map[int64]int64) bool { return want[name] == nil })
			if diff := cmp.Diff(want, have); diff != "" {
				t.Errorf("seed %d: what was made after the task differs (-source +target):\n%s", seed, diff)
			}
		})
	}
	if later == 0 || earlier == 0 {
		t.Errorf("%d collections that were there and %d that came: the histories show nothing", earlier, later)
	}
}
