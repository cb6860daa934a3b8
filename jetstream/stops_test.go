package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"kitestream/jetstream"
)

func (r *rig) openStops() *jetstream.Stops {
	r.t.Helper()
	s, err := jetstream.OpenStops(r.ctx, r.js, r.lanes, ref().Target("standby_1"))
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// followedStops are stops with Run running.
func (r *rig) followedStops() *jetstream.Stops {
	s := r.openStops()
	r.soon(func(ctx context.Context) { _ = s.Run(ctx, nil) })
	return s
}

func stop(id int64, lanes map[int]uint64) jetstream.Stop {
	return jetstream.Stop{
		Database: "default", Collection: fmt.Sprint("c", id), CollectionID: id, Reason: "its schema differs", Code: "schema",
		Since: time.Unix(1000, 0).UTC(), Lanes: lanes,
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStopFromFirstEventToRetry(t *testing.T) {
	r := newRig(t)
	a, b := r.followedStops(), r.followedStops()
	if _, ok := a.Lookup(7); ok {
		t.Fatal("stopped before it was")
	}
	if _, err := a.Touch(r.ctx, 7, 0, 10); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("touch of what is not stopped = %v, want ErrNotFound", err)
	}
	must(t, a.Put(r.ctx, stop(7, map[int]uint64{0: 10})))
	if got, ok := a.Lookup(7); !ok || !got.Holds(0) || !got.Holds(1) || got.Reason != "its schema differs" {
		t.Errorf("the process that stopped it sees %+v", got)
	}
	r.until("the other process hears of it", func() bool { _, ok := b.Lookup(7); return ok })
	for _, seq := range []uint64{20, 30} { // the first counts
		got, err := b.Touch(r.ctx, 7, 1, seq)
		if err != nil || got.Lanes[1] != 20 {
			t.Errorf("touch = %+v, %v", got, err)
		}
	}
	control := r.openStops()
	if got := control.List(); len(got) != 1 || !maps.Equal(got[0].Lanes, map[int]uint64{0: 10, 1: 20}) {
		t.Errorf("list = %+v", got)
	}
	must(t, b.LaneDone(r.ctx, 7, 1)) // nobody asked for a retry
	must(t, control.MarkRetry(r.ctx, 7))
	r.until("a lane hears of the retry", func() bool { got, _ := a.Lookup(7); return got.Retry })
	if got, _ := a.Lookup(7); !got.Holds(0) || !got.Holds(1) || got.Holds(2) {
		t.Errorf("lanes 0 and 1 have to replay, lane 2 has nothing to: %+v", got)
	}
	if got, err := a.Touch(r.ctx, 7, 2, 40); err != nil || got.Holds(2) {
		t.Errorf("touch by lane 2 during the retry = %+v, %v", got, err)
	}
	must(t, a.LaneDone(r.ctx, 7, 0))
	if got, ok := a.Lookup(7); !ok || got.Holds(0) || !got.Holds(1) {
		t.Errorf("lane 0 is done: %+v", got)
	}
	must(t, b.LaneDone(r.ctx, 7, 1))
	if got, ok := b.Lookup(7); ok {
		t.Errorf("all lanes are done, and still it is stopped: %+v", got)
	}
	r.until("the other process hears of the end", func() bool { _, ok := a.Lookup(7); return !ok })
	must(t, a.LaneDone(r.ctx, 7, 0)) // again
	if err := control.MarkRetry(r.ctx, 7); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("retry of what is not stopped = %v, want ErrNotFound", err)
	}
}

func TestStopAgainDuringARetry(t *testing.T) {
	r := newRig(t)
	s := r.openStops()
	must(t, s.Put(r.ctx, stop(7, map[int]uint64{0: 10, 1: 11})))
	must(t, s.MarkRetry(r.ctx, 7))
	must(t, s.LaneDone(r.ctx, 7, 1))
	again := stop(7, map[int]uint64{0: 15, 1: 16})
	again.Reason, again.Since = "still differs", time.Unix(2000, 0)
	must(t, s.Put(r.ctx, again))
	got, _ := s.Lookup(7)
	if got.Retry || got.Reason != "still differs" || !got.Since.Equal(time.Unix(1000, 0)) || !maps.Equal(got.Lanes, map[int]uint64{0: 10, 1: 16}) {
		t.Errorf("stopped again: %+v", got)
	}
}

func TestRetryOfWhatWasNotPassedOver(t *testing.T) {
	r := newRig(t)
	s := r.openStops()
	must(t, s.Put(r.ctx, stop(7, nil)))
	must(t, s.Put(r.ctx, stop(8, map[int]uint64{0: 1})))
	must(t, s.MarkRetry(r.ctx, 7))
	must(t, s.Clear(r.ctx, 8))
	must(t, s.Clear(r.ctx, 9))
	if got := s.List(); len(got) != 0 {
		t.Errorf("still stopped: %+v", got)
	}
}

// What Lookup gives belongs to the caller.
func TestLookupGivesACopy(t *testing.T) {
	r := newRig(t)
	s := r.openStops()
	must(t, s.Put(r.ctx, stop(7, map[int]uint64{0: 10})))
	got, _ := s.Lookup(7)
	got.Lanes[0] = 99
	if again, _ := s.Lookup(7); again.Lanes[0] != 10 {
		t.Error("a caller changed the local copy")
	}
}

// A process always sees its own change at once, whatever its watch hears of meanwhile, late or twice.
func TestOwnChangesAreSeenAtOnce(t *testing.T) {
	r := newRig(t)
	s := r.followedStops()
	other := r.followedStops()
	r.soon(func(ctx context.Context) { // another process makes noise, the connection comes and goes
		for i := int64(0); ctx.Err() == nil; i++ {
			_ = other.Put(ctx, stop(1000+i%5, nil))
			_ = other.Clear(ctx, 1000+(i+2)%5)
		}
	})
	var wg sync.WaitGroup
	for worker := range int64(4) {
		wg.Go(func() {
			for i := range 60 {
				id := 1 + worker
				if err := s.Put(r.ctx, stop(id, map[int]uint64{0: uint64(i + 1)})); err != nil {
					t.Error(err)
				}
				if _, ok := s.Lookup(id); !ok {
					t.Errorf("round %d: a put is not seen", i)
				}
				if rand.IntN(2) == 0 {
					if _, err := s.Touch(r.ctx, id, 3, 5); err != nil {
						t.Error(err)
					}
					if got, _ := s.Lookup(id); got.Lanes[3] != 5 {
						t.Errorf("round %d: a touch is not seen", i)
					}
				}
				if err := s.Clear(r.ctx, id); err != nil {
					t.Error(err)
				}
				if _, ok := s.Lookup(id); ok {
					t.Errorf("round %d: a clear is not seen", i)
				}
			}
		})
	}
	wg.Wait()
}

// While a process is cut off, one stop goes and another comes. It learns both when it is back.
func TestStopsAreHeardOfAfterAReconnect(t *testing.T) {
	r := newRig(t)
	s := r.followedStops()
	control := r.openStops()
	must(t, control.Put(r.ctx, stop(1, nil)))
	r.until("the first is heard of", func() bool { _, ok := s.Lookup(1); return ok })
	for i := range int64(5) {
		r.Restart()
		r.until("the old one is cleared", func() bool { return control.Clear(r.ctx, 1+i) == nil })
		r.until("a new one is put", func() bool { return control.Put(r.ctx, stop(2+i, nil)) == nil })
		r.until("both are heard of", func() bool {
			_, old := s.Lookup(1 + i)
			_, now := s.Lookup(2 + i)
			return !old && now
		})
	}
}
