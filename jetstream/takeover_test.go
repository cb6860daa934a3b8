package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"kitestream/jetstream"
)

// model is a target that remembers what was applied, and complains.
type model struct {
	t     *testing.T
	mu    sync.Mutex
	want  map[int][]uint64 // by lane, in order
	at    map[int]int      // by lane: how many of want are applied
	drops map[uint64]int   // by barrier: how often it was carried out
}

// apply applies an event, again or for the first time: never the one after the next. A barrier that was carried out need
// not come again.
func (m *model) apply(lane int, seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.at[lane]
	if n < len(m.want[lane]) && m.want[lane][n] < seq && m.drops[m.want[lane][n]] > 0 {
		n++
		m.at[lane] = n
	}
	switch {
	case n < len(m.want[lane]) && m.want[lane][n] == seq:
		m.at[lane]++
	case n == 0 || seq > m.want[lane][n-1]:
		m.t.Errorf("lane %d: %d is applied after %d events", lane, seq, n)
	}
}

// drop carries a barrier out: everything before it is applied and nothing after it.
func (m *model) drop(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drops[seq]++
	for lane, want := range m.want {
		if n := m.at[lane]; want[n] != seq {
			m.t.Errorf("barrier %d is carried out when lane %d is at %d", seq, lane, want[n])
		}
	}
}

// passed says that a lane goes on after a barrier.
func (m *model) passed(lane int, seq uint64) {
	m.mu.Lock()
	n := m.drops[seq]
	m.mu.Unlock()
	if n == 0 {
		m.t.Errorf("lane %d passes barrier %d before it was carried out", lane, seq)
	}
	m.apply(lane, seq)
}

func (m *model) through() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for lane, want := range m.want {
		if m.at[lane] < len(want) {
			return false
		}
	}
	return true
}

// crashing is a worker's life: it holds what lanes it can get, and dies at a random point, leaving leases and lanes as
// they are.
type crashing struct {
	r        *rig
	m        *model
	leases   *jetstream.Leases
	barriers *jetstream.Barriers
	lanes    int
}

var errCrash = errors.New("crash")

func (c *crashing) live(ctx context.Context, name string) {
	ctx, die := context.WithCancelCause(ctx)
	defer die(nil)
	var wg sync.WaitGroup
	for lane := range c.lanes {
		wg.Go(func() {
			for ctx.Err() == nil && !c.m.through() {
				lease, err := c.leases.Acquire(ctx, laneID(lane).LeaseKey(), name)
				if err != nil {
					c.r.wait(10 * time.Millisecond)
					continue
				}
				wg.Go(func() { _ = lease.Run(ctx) })
				if err := c.work(ctx, lease, lane); errors.Is(err, errCrash) {
					die(err)
				}
			}
		})
	}
	wg.Wait()
}

func (c *crashing) work(ctx context.Context, lease *jetstream.Lease, n int) error {
	ctx, cancel := lease.Context(ctx)
	defer cancel()
	lane, err := jetstream.OpenLane(ctx, c.r.js, c.r.lanes, jetstream.LaneConfig{ID: laneID(n), Epoch: lease.Epoch()})
	if err != nil {
		return err
	}
	c.r.t.Cleanup(func() { _ = lane.Close(context.WithoutCancel(ctx)) })
	for {
		d, err := lane.Next(ctx)
		if err != nil {
			return err
		}
		if rand.IntN(300) == 0 {
			return errCrash // delivered
		}
		if d.Event.Kind.Barrier() {
			if err := c.pass(ctx, n, lane, d); err != nil {
				return err
			}
			continue
		}
		if !time.Now().Before(lease.Deadline()) {
			return jetstream.ErrFenced
		}
		c.m.apply(n, d.Seq)
		if rand.IntN(10) == 0 {
			if err := lane.Ack(ctx, d.Seq); err != nil {
				return err
			}
		}
	}
}

func (c *crashing) pass(ctx context.Context, n int, lane *jetstream.Lane, d jetstream.Delivery) error {
	if before := d.Seq - 1; lane.Floor() < before {
		// What was applied before is acked: the last event of the lane.
		last := lane.Floor()
		for _, seq := range c.m.want[n] {
			if seq <= before {
				last = seq
			}
		}
		if err := lane.Ack(ctx, last); err != nil {
			return err
		}
	}
	state, err := c.barriers.Arrive(ctx, d.Seq, n, c.lanes)
	if err == nil && state == jetstream.BarrierReady {
		if rand.IntN(4) == 0 {
			return errCrash // before it is carried out
		}
		c.m.drop(d.Seq)
		if rand.IntN(4) == 0 {
			return errCrash // between that and Done
		}
		err = c.barriers.Done(ctx, d.Seq)
	}
	if err == nil {
		err = c.barriers.Wait(ctx, d.Seq)
	}
	if err != nil {
		return err
	}
	c.m.passed(n, d.Seq)
	if rand.IntN(10) == 0 {
		return errCrash // before it is acked
	}
	return lane.Ack(ctx, d.Seq)
}

// Three workers share four lanes and crash all the time: before and after applying, acking, carrying barriers out and
// saying so. Every event is applied in order, and every barrier is carried out between what is before and after it.
func TestWorkersCrashAndTakeOver(t *testing.T) {
	r := newRig(t)
	r.stream(ref().Name)
	const lanes = 4
	m := &model{t: t, want: map[int][]uint64{}, at: map[int]int{}, drops: map[uint64]int{}}
	for range 4 {
		for lane := range lanes {
			m.want[lane] = append(m.want[lane], r.publish(rows(lane, 100)...)...)
		}
		bar := r.publish(event(jetstream.DropPartition, jetstream.AllLanes))[0]
		for lane := range lanes {
			m.want[lane] = append(m.want[lane], bar)
		}
	}
	for lane := range lanes {
		m.want[lane] = append(m.want[lane], r.publish(rows(lane, 1)...)...)
	}
	c := &crashing{r: r, m: m, leases: r.openLeases(r.js), barriers: r.barriers(), lanes: lanes}
	var wg sync.WaitGroup
	lives := make([]int, 3)
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	for w := range lives {
		wg.Go(func() {
			for ; ctx.Err() == nil && !m.through(); lives[w]++ {
				c.live(ctx, fmt.Sprintf("worker %d, life %d", w, lives[w]))
			}
		})
	}
	for tick := time.NewTicker(10 * time.Millisecond); !m.through() && r.ctx.Err() == nil; {
		<-tick.C
	}
	cancel()
	wg.Wait()
	t.Logf("lives: %v, barriers carried out: %v", lives, m.drops)
	if !m.through() {
		t.Errorf("not everything is applied: %v", m.at)
	}
}

// A bridge is taken over while a lane is read: the lane gets what both published, in order, and no fences.
func TestLaneReadsOnWhenTheBridgeChanges(t *testing.T) {
	r := newRig(t)
	must(t, jetstream.EnsureStream(r.ctx, r.js, ref().Name, jetstream.StreamConfig{}))
	l := r.openLane(0, 1)
	for epoch := range uint64(4) {
		p, err := jetstream.OpenPublisher(r.ctx, r.js, jetstream.PublisherConfig{Task: ref().Name, Holder: "bridge", Epoch: epoch + 1})
		must(t, err)
		r.soon(func(ctx context.Context) { _ = p.Run(ctx) })
		var want []string
		for i := range 60 {
			e := event(jetstream.Insert, i%2)
			if i%10 == 0 {
				e = event(jetstream.CreatePartition, jetstream.AllLanes)
			}
			if e.Lane != 1 {
				want = append(want, e.ID)
			}
			must(t, p.Publish(r.ctx, e))
		}
		for _, id := range want {
			d, err := l.Next(r.ctx)
			must(t, err)
			if d.Event.ID != id {
				t.Fatalf("event %s, want %s", d.Event.ID, id)
			}
			r.ack(l, d.Seq)
		}
	}
	if _, ok := l.TryNext(); ok {
		t.Error("there is more")
	}
}
