package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kitestream/jetstream"
)

func (r *rig) barriers() *jetstream.Barriers {
	return jetstream.NewBarriers(r.js, r.lanes, ref().Target("standby_1"))
}

func (r *rig) arrive(b *jetstream.Barriers, seq uint64, lane, lanes int, want jetstream.BarrierState) {
	r.t.Helper()
	got, err := b.Arrive(r.ctx, seq, lane, lanes)
	if err != nil {
		r.t.Fatal(err)
	}
	if got != want {
		r.t.Errorf("lane %d at barrier %d: %v, want %v", lane, seq, got, want)
	}
}

// Four lanes on three workers come to twenty barriers. Each is carried out once, when all lanes have arrived and
// before any goes on.
func TestBarrierIsCarriedOutOnceWhenAllHaveArrived(t *testing.T) {
	r := newRig(t)
	const lanes, barriers = 4, 20
	var arrived [barriers + 1]atomic.Int32
	var carried [barriers + 1]atomic.Int32
	worker := func(own ...int) {
		b := r.barriers()
		for i := 1; i <= barriers; i++ {
			seq := uint64(i * 10)
			for _, lane := range own {
				arrived[i].Add(1)
				state, err := b.Arrive(r.ctx, seq, lane, lanes)
				if err != nil {
					t.Error(err)
					return
				}
				if state != jetstream.BarrierReady {
					continue
				}
				if n := arrived[i].Load(); n != lanes {
					t.Errorf("barrier %d is carried out when %d have arrived", i, n)
				}
				carried[i].Add(1)
				if err := b.Done(r.ctx, seq); err != nil {
					t.Error(err)
				}
			}
			if err := b.Wait(r.ctx, seq); err != nil {
				t.Error(err)
				return
			}
			if n := carried[i].Load(); n != 1 {
				t.Errorf("a lane passes barrier %d, carried out %d times", i, n)
			}
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { worker(0, 1) })
	wg.Go(func() { worker(2) })
	wg.Go(func() { worker(3) })
	wg.Wait()
}

func TestBarrierOf64Lanes(t *testing.T) {
	r := newRig(t)
	const lanes = 64
	b := r.barriers()
	var ready atomic.Int32
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			state, err := b.Arrive(r.ctx, 7, lane, lanes)
			if err == nil && state == jetstream.BarrierReady {
				ready.Add(1)
				err = b.Done(r.ctx, 7)
			}
			if err == nil {
				err = b.Wait(r.ctx, 7)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := ready.Load(); n != 1 {
		t.Errorf("%d lanes carried it out", n)
	}
}

// The worker of the lane that carries the barrier out dies between that and Done. Its lane's next holder does it
// again, and nobody else.
func TestBarrierOutlivesItsExecutor(t *testing.T) {
	r := newRig(t)
	b := r.barriers()
	r.arrive(b, 5, 2, 3, jetstream.BarrierWaiting)
	r.arrive(b, 5, 0, 3, jetstream.BarrierWaiting)
	r.arrive(b, 5, 1, 3, jetstream.BarrierReady)
	next := r.barriers()
	r.arrive(next, 5, 0, 3, jetstream.BarrierWaiting) // another lane that moved
	r.arrive(next, 5, 1, 3, jetstream.BarrierReady)
	if err := next.Done(r.ctx, 5); err != nil {
		t.Fatal(err)
	}
	if err := b.Done(r.ctx, 5); err != nil { // a zombie
		t.Errorf("second Done: %v", err)
	}
	for lane := range 3 { // delivered again after Done
		r.arrive(b, 5, lane, 3, jetstream.BarrierPassed)
	}
	r.arrive(b, 3, 1, 3, jetstream.BarrierPassed)
	if err := b.Wait(r.ctx, 5); err != nil {
		t.Error(err)
	}
}

// A lane that passed over a barrier arrives at the next: nobody waits at the earlier one for ever.
func TestLaterBarrierOvertakes(t *testing.T) {
	r := newRig(t)
	b := r.barriers()
	r.arrive(b, 5, 0, 2, jetstream.BarrierWaiting)
	waited := make(chan error, 1)
	go func() { waited <- b.Wait(r.ctx, 5) }()
	r.arrive(b, 9, 1, 2, jetstream.BarrierWaiting)
	if err := <-waited; err != nil {
		t.Error(err)
	}
	r.arrive(b, 5, 0, 2, jetstream.BarrierPassed)
	if err := b.Done(r.ctx, 5); err != nil {
		t.Errorf("Done of an overtaken barrier: %v", err)
	}
	r.arrive(b, 9, 0, 2, jetstream.BarrierReady)
}

func TestBarrierRefusesWhatCannotBe(t *testing.T) {
	r := newRig(t)
	b := r.barriers()
	r.arrive(b, 5, 0, 2, jetstream.BarrierWaiting)
	if err := b.Done(r.ctx, 5); err == nil {
		t.Error("done before all have arrived")
	}
	if err := b.Done(r.ctx, 6); err == nil {
		t.Error("done before anybody has arrived")
	}
	for _, args := range [][2]int{{2, 2}, {-1, 2}, {1, 3}} {
		if _, err := b.Arrive(r.ctx, 5, args[0], args[1]); err == nil {
			t.Errorf("lane %d of %d arrived", args[0], args[1])
		}
	}
}

func TestBarrierWaitIsPrompt(t *testing.T) {
	r := newRig(t)
	b := r.barriers()
	var took []time.Duration
	for i := range 30 {
		seq := uint64(i + 1)
		r.arrive(b, seq, 0, 2, jetstream.BarrierWaiting)
		passed := make(chan time.Time, 1)
		go func() {
			if err := b.Wait(r.ctx, seq); err != nil {
				t.Error(err)
			}
			passed <- time.Now()
		}()
		r.wait(5 * time.Millisecond)
		r.arrive(b, seq, 1, 2, jetstream.BarrierReady)
		start := time.Now()
		if err := b.Done(r.ctx, seq); err != nil {
			t.Fatal(err)
		}
		took = append(took, (<-passed).Sub(start))
	}
	slices.Sort(took)
	t.Logf("from Done to passed: p50 %v, max %v", took[15], took[29])
	if took[15] > 50*time.Millisecond {
		t.Errorf("p50 = %v", took[15])
	}
}

func TestBarrierWaitOutlivesARestart(t *testing.T) {
	r := newRig(t)
	b := r.barriers()
	r.arrive(b, 5, 0, 2, jetstream.BarrierWaiting)
	waited := make(chan error, 1)
	go func() { waited <- b.Wait(r.ctx, 5) }()
	short, cancel := context.WithTimeout(r.ctx, 50*time.Millisecond)
	defer cancel()
	if err := b.Wait(short, 5); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait = %v", err)
	}
	r.Restart()
	r.until("the other lane arrives", func() bool {
		_, err := b.Arrive(r.ctx, 5, 1, 2)
		return err == nil
	})
	r.until("done", func() bool { return b.Done(r.ctx, 5) == nil })
	start := time.Now()
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("passed %v after Done", took)
	}
}

// A NATS server that is killed may forget a consumer's last acks. A lane comes to stand at a barrier again, not before.
func TestBarrierKeepsTheFloor(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	seqs := r.publish(append(rows(0, 4), event(jetstream.DropCollection, jetstream.AllLanes), event(jetstream.Insert, 0))...)
	at := seqs[4]
	b := r.barriers()
	for step, want := range []struct {
		do    func()
		floor uint64
	}{
		{func() {}, 0},
		{func() { r.arrive(b, at, 0, 2, jetstream.BarrierWaiting) }, at - 1},
		{func() {
			r.arrive(b, at, 1, 2, jetstream.BarrierReady)
			if err := b.Done(r.ctx, at); err != nil {
				t.Fatal(err)
			}
		}, at},
		{func() { r.arrive(b, at+1, 1, 2, jetstream.BarrierWaiting) }, at},
	} {
		want.do()
		if l := r.openLane(0, uint64(step+1)); l.Floor() != want.floor {
			t.Errorf("step %d: floor = %d, want %d", step, l.Floor(), want.floor)
		}
	}
}

func ExampleBarriers() {
	// A lane's worker at a drop event:
	_ = func(ctx context.Context, b *jetstream.Barriers, lane *jetstream.Lane, d jetstream.Delivery, dropIt func() error) error {
		// Everything before d has been applied and acked.
		state, err := b.Arrive(ctx, d.Seq, 2, 4)
		if err != nil {
			return err
		}
		switch state {
		case jetstream.BarrierReady:
			if err := dropIt(); err != nil {
				return err // on the next try Arrive says Ready again
			}
			err = b.Done(ctx, d.Seq)
		case jetstream.BarrierWaiting:
			err = b.Wait(ctx, d.Seq)
		}
		if err != nil {
			return err
		}
		return lane.Ack(ctx, d.Seq)
	}
	fmt.Println(jetstream.BarrierReady)
	// Output: ready
}
