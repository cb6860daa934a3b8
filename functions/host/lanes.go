package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// LanesConfig is what a process needs to apply lanes. Every field but Secret must be set.
type LanesConfig struct {
	NC      *nats.Conn
	JS      natsjs.JetStream
	Buckets *jetstream.Buckets
	Leases  *jetstream.Leases
	Tasks   *jetstream.Tasks
	Connect func(ctx context.Context, t jetstream.TargetSpec) (Target, error) // opens a target cluster
	Holder  string                                                            // this process; unique among live ones; of letters, digits, '_' and '-'
	Log     *slog.Logger
	Metrics *Metrics
	Apply   *handlers.Metrics
	Secret  *jetstream.SecretKey // opens passwords; may be nil
}

// Target is a target cluster that is connected to; *milvus.Target is one.
type Target interface {
	handlers.Target
	Close() error
}

// Lanes applies the lanes that this process holds. All workers that are there share the lanes evenly.
type Lanes struct {
	cfg     LanesConfig
	targets map[targetKey]*target // by task incarnation and target
}

// NewLanes makes a host; it does nothing until Run.
func NewLanes(cfg LanesConfig) *Lanes { return &Lanes{cfg: cfg, targets: map[targetKey]*target{}} }

// The prefixes of lease keys: by the one workers see one another, by the other the lanes' holders.
const (
	workerPrefix = "worker"
	lanePrefix   = "lane"
)

// errLeft says that the worker's own lease was lost: it joins anew.
var errLeft = errors.New("lost the lease by which the other workers see this one")

// Run takes over this process's share of all lanes and applies them, until ctx ends. It returns when what was in flight
// is settled and the leases are free for others.
func (h *Lanes) Run(ctx context.Context) error {
	stop, err := h.answerPlans(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for {
		err := h.runJoined(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		h.cfg.Log.Warn("worker joins anew", "error", err)
		select {
		case <-time.After(lookRound):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// runJoined makes this worker known and has it apply its share, until its lease is lost or ctx ends.
func (h *Lanes) runJoined(ctx context.Context) error {
	self, err := h.cfg.Leases.Acquire(ctx, workerPrefix+"."+h.cfg.Holder, h.cfg.Holder)
	if err != nil {
		return fmt.Errorf("join the workers as %s: %w", h.cfg.Holder, err)
	}
	renew, stopRenew := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = self.Run(renew) // its end is all there is to know
	}()
	err = h.balanceUntil(ctx, ended)
	h.closeAll()
	stopRenew()
	<-ended
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = self.Release(release) // it expires by itself if NATS is gone
	return err
}

func (h *Lanes) balanceUntil(ctx context.Context, left <-chan struct{}) error {
	tasks := h.cfg.Tasks.Watch(ctx)
	workers, err := h.cfg.Leases.Watch(ctx, workerPrefix)
	if err != nil {
		return fmt.Errorf("watch workers: %w", err)
	}
	lanes, err := h.cfg.Leases.Watch(ctx, lanePrefix)
	if err != nil {
		return fmt.Errorf("watch lanes: %w", err)
	}
	t := time.NewTicker(lookRound)
	defer t.Stop()
	var all []jetstream.Task
	for {
		select {
		case all = <-tasks:
		case <-workers:
		case <-lanes:
		case <-t.C:
		case <-left:
			return errLeft
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := h.balance(ctx, all); err != nil && ctx.Err() == nil {
			h.cfg.Log.Debug("lanes not balanced", "error", err)
		}
	}
}

// balance gives up lanes that are not wanted or are beyond this worker's share, and takes free ones up to its share.
func (h *Lanes) balance(ctx context.Context, tasks []jetstream.Task) error {
	wanted := wantedLanes(tasks)
	h.dropUnwanted(wanted)
	workers, err := h.cfg.Leases.Holders(ctx, workerPrefix)
	if err != nil {
		return fmt.Errorf("read who works: %w", err)
	}
	holders, err := h.cfg.Leases.Holders(ctx, lanePrefix)
	if err != nil {
		return fmt.Errorf("read who holds which lane: %w", err)
	}
	h.cfg.Metrics.held.Set(float64(len(h.held())))
	quota := quota(h.cfg.Holder, slices.Sorted(maps.Values(workers)), len(wanted))
	mine := h.held()
	if len(mine) > quota {
		for _, id := range mine[quota:] {
			h.give(id)
		}
		return nil
	}
	for _, w := range wanted {
		if len(mine) >= quota {
			break
		}
		if holders[w.id.LeaseKey()] != "" || slices.Contains(mine, w.id) {
			continue
		}
		ok, err := h.take(ctx, w)
		if err != nil {
			return err
		}
		if ok {
			mine = append(mine, w.id)
		}
	}
	return nil
}

// wantedLane is a lane that some worker is to hold.
type wantedLane struct {
	id   jetstream.LaneID
	task *jetstream.Task
	spec jetstream.TargetSpec
}

func wantedLanes(tasks []jetstream.Task) []wantedLane {
	var out []wantedLane
	for _, t := range tasks {
		if t.State != jetstream.TaskRunning {
			continue
		}
		for _, spec := range t.Spec.Targets {
			if t.Rewinds[spec.Name].Pending {
				continue
			}
			for lane := range t.Spec.Lanes {
				out = append(out, wantedLane{id: t.Ref().Target(spec.Name).Lane(lane), task: &t, spec: spec})
			}
		}
	}
	return out
}

// quota is how many of all lanes this worker is to hold. Workers agree on it without a word: the remainder goes to the
// first ones by name.
func quota(self string, workers []string, lanes int) int {
	at := slices.Index(workers, self)
	if at < 0 {
		return 0
	}
	n := lanes / len(workers)
	if at < lanes%len(workers) {
		n++
	}
	return n
}

// held are the lanes this process holds, in order.
func (h *Lanes) held() []jetstream.LaneID {
	var out []jetstream.LaneID
	for _, t := range h.targets {
		out = append(out, t.heldLanes()...)
	}
	slices.SortFunc(out, func(a, b jetstream.LaneID) int {
		return cmp.Or(cmp.Compare(a.Target.String(), b.Target.String()), cmp.Compare(a.Lane, b.Lane))
	})
	return out
}

// dropUnwanted closes targets that are paused, rewound or gone.
func (h *Lanes) dropUnwanted(wanted []wantedLane) {
	keep := map[targetKey]bool{}
	for _, w := range wanted {
		keep[w.key()] = true
	}
	for key, t := range h.targets {
		if !keep[key] {
			t.close()
			delete(h.targets, key)
		}
	}
}

// targetKey names a target as it was when its lanes were wanted: one that left its task and came back, with another address say, is
// another one, and so is one that was rewound: what is in memory of it does not hold after that.
type targetKey struct {
	task    string
	spec    jetstream.TargetSpec
	rewinds int
}

func (w wantedLane) key() targetKey {
	return targetKey{w.task.ID, w.spec, w.task.Rewinds[w.spec.Name].Number}
}

// take acquires one lane; false says that another worker was first.
func (h *Lanes) take(ctx context.Context, w wantedLane) (bool, error) {
	lease, err := acquire(ctx, h.cfg.Leases, h.cfg.Tasks, w.task, claim{key: w.id.LeaseKey(), holder: h.cfg.Holder, target: &w.spec})
	if errors.Is(err, jetstream.ErrHeld) || errors.Is(err, jetstream.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	key := w.key()
	t := h.targets[key]
	if t == nil {
		t = newTarget(h.cfg, w.task, w.spec)
		h.targets[key] = t
	}
	t.add(w.id.Lane, lease)
	return true, nil
}

func (h *Lanes) give(id jetstream.LaneID) {
	for _, t := range h.targets {
		if t.id == id.Target {
			t.drop(id.Lane)
		}
	}
}

func (h *Lanes) closeAll() {
	for key, t := range h.targets {
		t.close()
		delete(h.targets, key)
	}
}
