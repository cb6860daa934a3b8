package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// target applies all lanes of one target that this process holds, together: what has come on any of them makes one
// batch, so that lanes cost nothing when workers are few. One goroutine applies; lanes come and go between batches.
type target struct {
	cfg  LanesConfig
	id   jetstream.TargetID
	task *jetstream.Task
	spec jetstream.TargetSpec
	log  *slog.Logger

	mu      sync.Mutex // guards the next four
	joining map[int]*jetstream.Lease
	leaving map[int]bool
	holding map[int]*heldLane
	cut     context.CancelFunc // cuts the running batch short

	wake  chan struct{}
	quit  context.CancelFunc
	ended chan struct{}

	barriers *jetstream.Barriers
	stops    *jetstream.Stops
	unmets   *jetstream.Unmets
	past     *jetstream.Past
	handlers *handlers.Handlers
	report   *reporter
}

// leaveAfter is how long a batch may go on when one of its lanes is to be given up.
const leaveAfter = 2 * time.Second

func newTarget(cfg LanesConfig, task *jetstream.Task, spec jetstream.TargetSpec) *target {
	ctx, quit := context.WithCancel(context.Background()) //nolint:contextcheck // it outlives the round that made it: close ends it
	t := &target{
		cfg: cfg, id: task.Ref().Target(spec.Name), task: task, spec: spec, log: cfg.Log.With("task", task.Spec.Name, "target", spec.Name),
		joining: map[int]*jetstream.Lease{}, leaving: map[int]bool{}, holding: map[int]*heldLane{},
		wake: make(chan struct{}, 1), quit: quit, ended: make(chan struct{}),
	}
	t.report = newReporter(cfg, t.id)
	go t.run(ctx)
	return t
}

// add hands a lane over to be applied.
func (t *target) add(lane int, lease *jetstream.Lease) {
	t.mu.Lock()
	t.joining[lane] = lease
	t.mu.Unlock()
	t.notify()
}

// drop gives a lane up, as soon as what of it is in flight is settled.
func (t *target) drop(lane int) {
	t.mu.Lock()
	t.leaving[lane] = true
	cut := t.cut
	t.mu.Unlock()
	if cut != nil {
		time.AfterFunc(leaveAfter, cut)
	}
	t.notify()
}

// close gives up all lanes and waits until they are free.
func (t *target) close() {
	t.mu.Lock()
	for n := range t.holding {
		t.leaving[n] = true
	}
	cut := t.cut
	t.mu.Unlock()
	if cut != nil {
		time.AfterFunc(leaveAfter, cut)
	}
	t.quit()
	<-t.ended
}

// heldLanes are the lanes that are held or about to be.
func (t *target) heldLanes() []jetstream.LaneID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []jetstream.LaneID
	for _, set := range []map[int]bool{keys(t.joining), keys(t.holding)} {
		for n := range set {
			if !t.leaving[n] {
				out = append(out, t.id.Lane(n))
			}
		}
	}
	return out
}

func keys[V any](m map[int]V) map[int]bool {
	out := make(map[int]bool, len(m))
	for k := range m {
		out[k] = true
	}
	return out
}

func (t *target) notify() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// run applies until quit is called, and then lets every lane go.
func (t *target) run(ctx context.Context) {
	defer close(t.ended)
	flushing, stopFlushing := context.WithCancel(context.WithoutCancel(ctx))
	var flush sync.WaitGroup
	flush.Go(func() { t.report.run(flushing) })
	defer flush.Wait()
	defer stopFlushing()
	defer t.letAllGo(ctx)

	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 200*time.Millisecond, 5*time.Second
	for ctx.Err() == nil {
		err := t.applyAll(ctx)
		if ctx.Err() != nil {
			return
		}
		t.log.Error("target waits", "error", err)
		t.report.waiting(err)
		t.settleMembers(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(pause.NextBackOff()):
		}
	}
}

// applyAll connects to the target and applies batch by batch. It returns for reasons that a new start may mend.
func (t *target) applyAll(ctx context.Context) error {
	conn, err := t.cfg.Connect(ctx, t.spec)
	if err != nil {
		return fmt.Errorf("connect to target %s: %w", t.spec.Name, err)
	}
	defer func() { _ = conn.Close() }()
	if t.stops, err = jetstream.OpenStops(ctx, t.cfg.JS, t.cfg.Buckets.Lanes, t.id); err != nil {
		return fmt.Errorf("read the stopped collections of target %s: %w", t.spec.Name, err)
	}
	if t.unmets, err = jetstream.OpenUnmets(ctx, t.cfg.JS, t.cfg.Buckets.Lanes, t.id); err != nil {
		return fmt.Errorf("read the unmet settings of target %s: %w", t.spec.Name, err)
	}
	if t.past, err = jetstream.OpenPast(ctx, t.cfg.JS, t.cfg.Buckets.Lanes, t.id); err != nil {
		return fmt.Errorf("read what was rewound of target %s: %w", t.spec.Name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var follow sync.WaitGroup
	follow.Go(func() { _ = t.stops.Run(ctx, t.notify) }) // ends with ctx only
	follow.Go(func() { _ = t.unmets.Run(ctx, t.notify) })
	defer follow.Wait()
	defer cancel()
	t.barriers = jetstream.NewBarriers(t.cfg.JS, t.cfg.Buckets.Lanes, t.id)
	if t.handlers, err = handlers.New(conn, t.options()); err != nil {
		return err
	}
	t.report.resumed()
	for ctx.Err() == nil {
		t.settleMembers(ctx)
		t.cfg.Metrics.unmet.WithLabelValues(t.task.Spec.Name, t.spec.Name).Set(float64(len(t.unmets.List())))
		worked, err := t.round(ctx)
		if err != nil {
			return err
		}
		if !worked {
			t.waitForWork(ctx)
		}
	}
	return ctx.Err()
}

func (t *target) options() handlers.Options {
	return handlers.Options{
		Task: t.task.Spec.Name, Target: t.spec.Name, Spec: t.task.Spec, Secret: t.cfg.Secret, Until: t.until, Metrics: t.cfg.Apply,
		OnWait: func(err *handlers.Error, since time.Time) { t.report.waitingSince(err, since) }, OnResume: t.report.resumed, Log: t.cfg.Log,
	}
}

// barrierPoll is how often a lane that waits at a barrier looks whether the others have come.
const barrierPoll = 20 * time.Millisecond

func (t *target) waitForWork(ctx context.Context) {
	var poll <-chan time.Time
	if slices.ContainsFunc(t.lanes(), func(l *heldLane) bool { return l.barrier() != nil }) {
		poll = time.After(barrierPoll)
	}
	select {
	case <-t.wake:
	case <-poll:
	case <-ctx.Done():
	}
}

// until is the moment to which this process surely holds every lane that it applies (Guarantee 4).
func (t *target) until() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	var first time.Time
	for _, l := range t.holding {
		if d := l.lease.Deadline(); first.IsZero() || d.Before(first) {
			first = d
		}
	}
	return first
}

// lanes are the lanes in hand, in order.
func (t *target) lanes() []*heldLane {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*heldLane, 0, len(t.holding))
	for _, n := range slices.Sorted(maps.Keys(t.holding)) {
		out = append(out, t.holding[n])
	}
	return out
}

// settleMembers lets go of lanes that were lost or are to leave, and opens those that have come.
func (t *target) settleMembers(ctx context.Context) {
	t.mu.Lock()
	joining := t.joining
	t.joining = map[int]*jetstream.Lease{}
	var going []*heldLane
	for n, l := range t.holding {
		if t.leaving[n] || l.lost() {
			going = append(going, l)
		}
	}
	t.mu.Unlock()
	for _, l := range going {
		t.letGo(ctx, l)
	}
	for n, lease := range joining {
		l, err := t.openLane(ctx, n, lease, t.notify)
		if err != nil {
			t.log.Warn("lane not opened", "lane", n, "error", err)
			continue
		}
		t.mu.Lock()
		delete(t.leaving, n)
		t.holding[n] = l
		t.mu.Unlock()
		if t.handlers != nil { // since this worker held a lane last, others may have done anything
			t.handlers.Forget()
		}
		t.report.opened(ctx, l)
		t.log.Info("lane taken", "lane", n, "epoch", lease.Epoch(), "after", l.lane.Floor())
	}
}

func (t *target) letGo(ctx context.Context, l *heldLane) {
	l.letGo(ctx)
	t.mu.Lock()
	delete(t.holding, l.number)
	delete(t.leaving, l.number)
	t.mu.Unlock()
	t.report.closed(ctx, l)
	t.log.Info("lane given up", "lane", l.number, "at", l.lane.Floor())
}

func (t *target) letAllGo(ctx context.Context) {
	t.mu.Lock()
	joining := t.joining
	t.joining = map[int]*jetstream.Lease{}
	t.mu.Unlock()
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	for _, lease := range joining {
		_ = lease.Release(release) // one that can't be released expires
	}
	var all sync.WaitGroup
	for _, l := range t.lanes() {
		all.Go(func() { t.letGo(ctx, l) })
	}
	all.Wait()
}

// fenced reports whether the error only says that lanes were lost, which settleMembers mends.
func fenced(err error) bool {
	return errors.Is(err, jetstream.ErrFenced) || errors.Is(err, context.Canceled)
}
