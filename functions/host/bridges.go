package host

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge"
	"kitestream/bridge/catalog"
	"kitestream/bridge/mq"
	"kitestream/jetstream"
)

// lookRound is how often a host looks for work even if nothing tells it to.
const lookRound = 500 * time.Millisecond

// BridgesConfig is what a process needs to run bridges for one source. Every field but Secret must be set.
type BridgesConfig struct {
	NC      *nats.Conn
	JS      natsjs.JetStream
	Buckets *jetstream.Buckets
	Leases  *jetstream.Leases
	Tasks   *jetstream.Tasks
	Source  string // the name that tasks give
	Catalog bridge.Meta
	Queue   mq.Queue
	Holder  string // this process, for people: host and pid
	Log     *slog.Logger
	Metrics *bridge.Metrics
	Publish jetstream.PublisherConfig
	Secret  *jetstream.SecretKey // seals passwords; may be nil
	API     bridge.SourceAPI     // the source's Milvus, for existing rows; may be nil
}

// Bridges runs the bridges of a source's tasks.
type Bridges struct {
	cfg     BridgesConfig
	mu      sync.Mutex
	running map[string]context.CancelCauseFunc // by incarnation of the task
}

// errTaskGone ends the bridge of a task that is being deleted.
var errTaskGone = errors.New("task is deleted")

// NewBridges makes a host; it does nothing until Run.
func NewBridges(cfg BridgesConfig) *Bridges {
	return &Bridges{cfg: cfg, running: map[string]context.CancelCauseFunc{}}
}

// Run takes over what bridges it can and runs them until ctx ends; it returns when they have stopped and their leases
// are free for others.
func (h *Bridges) Run(ctx context.Context) error {
	for subject, answer := range map[string]nats.MsgHandler{
		ResolveSubject(h.cfg.Source): h.resolve, DescribeSubject(h.cfg.Source): h.describe,
	} {
		sub, err := h.cfg.NC.QueueSubscribe(subject, "bridges", answer)
		if err != nil {
			return fmt.Errorf("answer for source %s: %w", h.cfg.Source, err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		changed := h.cfg.Tasks.Watch(ctx)
		t := time.NewTicker(lookRound) // for leases that have become free
		defer t.Stop()
		var tasks []jetstream.Task
		for {
			select {
			case all, ok := <-changed:
				if !ok {
					return ctx.Err()
				}
				tasks = all
			case <-t.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			h.adjust(ctx, g, tasks)
		}
	})
	return g.Wait()
}

// adjust starts the bridges that this process can have and stops those of tasks that are gone. A paused task goes on
// being captured: only applying pauses, so that the source's queue can't forget what was not read.
func (h *Bridges) adjust(ctx context.Context, g *errgroup.Group, tasks []jetstream.Task) {
	want := map[string]*jetstream.Task{}
	for _, t := range tasks {
		if t.Spec.Source == h.cfg.Source && t.State != jetstream.TaskDeleting {
			want[t.ID] = &t
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, stop := range h.running {
		if want[id] == nil {
			stop(errTaskGone)
		}
	}
	for id, t := range want {
		if h.running[id] != nil {
			continue
		}
		lease, err := acquire(ctx, h.cfg.Leases, h.cfg.Tasks, t, claim{key: jetstream.BridgeLease(t.Spec.Name), holder: h.cfg.Holder})
		if err != nil {
			if !errors.Is(err, jetstream.ErrHeld) && ctx.Err() == nil {
				h.cfg.Log.Debug("lease not taken", "task", t.Spec.Name, "error", err)
			}
			continue
		}
		tctx, stop := context.WithCancelCause(ctx)
		h.running[id] = stop
		g.Go(func() error {
			defer func() {
				stop(nil)
				h.mu.Lock()
				defer h.mu.Unlock()
				delete(h.running, id)
			}()
			h.hold(tctx, t, lease)
			return nil
		})
	}
}

// hold runs a task's bridge for as long as the lease is ours.
func (h *Bridges) hold(ctx context.Context, t *jetstream.Task, lease *jetstream.Lease) {
	log := h.cfg.Log.With("task", t.Spec.Name)
	log.Info("bridge taken", "epoch", lease.Epoch())
	renew, stopRenew := context.WithCancel(context.WithoutCancel(ctx))
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		_ = lease.Run(renew) // its end shows in the lease's context
	}()
	held, stop := lease.Context(ctx)
	defer stop()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 200*time.Millisecond, 5*time.Second
	for held.Err() == nil {
		began := time.Now()
		err := h.runOne(held, t, lease)
		if errors.Is(err, jetstream.ErrFenced) {
			break
		}
		if held.Err() != nil {
			break
		}
		if time.Since(began) > time.Minute {
			pause.Reset()
		}
		log.Error("bridge waits", "error", err)
		h.showWaiting(held, t, err, began)
		select {
		case <-held.Done():
		case <-time.After(pause.NextBackOff()):
		}
	}
	stopRenew()
	<-renewed
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := lease.Release(release); err != nil && !errors.Is(err, jetstream.ErrFenced) {
		log.Warn("lease not released; it expires by itself", "error", err)
	}
	log.Info("bridge given up")
}

// needed asks what of a task's stream its targets need, by the task's record as it is then: targets join.
func (h *Bridges) needed(t *jetstream.Task) func(context.Context) (uint64, error) {
	return func(ctx context.Context) (uint64, error) {
		now, err := h.cfg.Tasks.Get(ctx, t.Spec.Name)
		if err == nil && now.ID != t.ID {
			err = fmt.Errorf("task %s was made anew: %w", t.Spec.Name, jetstream.ErrNotFound)
		}
		if err != nil {
			return 0, err
		}
		return jetstream.Needed(ctx, h.cfg.JS, h.cfg.Buckets.Lanes, now)
	}
}

// runOne runs one bridge, and answers the requests to it meanwhile.
func (h *Bridges) runOne(ctx context.Context, t *jetstream.Task, lease *jetstream.Lease) error {
	b := bridge.New(bridge.Config{
		JS: h.cfg.JS, KV: h.cfg.Buckets.Ledger, Status: h.cfg.Buckets.Status, Meta: h.cfg.Catalog, Queue: h.cfg.Queue,
		Task: t, Holder: h.cfg.Holder, Epoch: lease.Epoch(), Log: h.cfg.Log, Metrics: h.cfg.Metrics, Publish: h.cfg.Publish, Secret: h.cfg.Secret, API: h.cfg.API, Needed: h.needed(t),
	})
	asked, stop := context.WithCancel(ctx)
	var answers sync.WaitGroup
	defer answers.Wait()
	defer stop()
	for subject, answer := range map[string]func(context.Context, *bridge.Bridge, *nats.Msg){
		SyncSubject(t.Spec.Name): h.sync, ResnapshotSubject(t.Spec.Name): h.resnapshot, RepairSubject(t.Spec.Name): h.repair,
		RestateSubject(t.Spec.Name): h.restate, WelcomeSubject(t.Spec.Name): h.welcome,
	} {
		sub, err := h.cfg.NC.Subscribe(subject, func(m *nats.Msg) {
			answers.Go(func() { answer(asked, b, m) })
		})
		if err != nil {
			return fmt.Errorf("answer for task %s: %w", t.Spec.Name, err)
		}
		defer func() { _ = sub.Unsubscribe() }() // fails only with the connection
	}
	err := b.Run(ctx)
	if errors.Is(context.Cause(ctx), errTaskGone) {
		h.abandon(ctx, t, b)
	}
	return err
}

// abandonTimeout bounds how long a deletion waits for the source's broker, which may be away.
const abandonTimeout = 5 * time.Second

// abandon has the source's broker keep nothing more for a task that is deleted.
func (h *Bridges) abandon(ctx context.Context, t *jetstream.Task, b *bridge.Bridge) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	if err := b.Abandon(ctx); err != nil {
		h.cfg.Log.Error("the source's broker goes on keeping messages for a task that is deleted; remove its subscription by hand",
			"task", t.Spec.Name, "error", err)
	}
}

func (h *Bridges) showWaiting(ctx context.Context, t *jetstream.Task, err error, since time.Time) {
	st := jetstream.BridgeStatus{Worker: h.cfg.Holder, At: time.Now().UTC(), State: "waiting", Since: since.UTC(), Error: err.Error()}
	if err := jetstream.PutBridgeStatus(ctx, h.cfg.Buckets.Status, t.Ref(), st); err != nil && ctx.Err() == nil {
		h.cfg.Log.Debug("status not written", "error", err)
	}
}

// resolve answers which collections a task would select now.
func (h *Bridges) resolve(m *nats.Msg) {
	var spec jetstream.TaskSpec
	if err := json.Unmarshal(m.Data, &spec); err != nil {
		respond(m, ResolveAnswer{Error: fmt.Sprintf("request is no task: %v", err)})
		return
	}
	r := spec.Resolve(byName(h.collections()))
	respond(m, ResolveAnswer{Matched: r.Matched, Missing: r.Missing, Empty: r.Empty})
}

// collections are those that the source has now.
func (h *Bridges) collections() map[jetstream.QualifiedName]*catalog.Collection {
	v := h.cfg.Catalog.View()
	all := map[jetstream.QualifiedName]*catalog.Collection{}
	for _, c := range v.Collections {
		if db := v.Databases[c.DatabaseID]; db != nil && c.State == catalog.Created {
			all[jetstream.QualifiedName{Database: db.Name, Collection: c.Name}] = c
		}
	}
	return all
}

// describe answers what the collections are like that a task would select now.
func (h *Bridges) describe(m *nats.Msg) {
	var req DescribeRequest
	if err := json.Unmarshal(m.Data, &req); err != nil {
		respond(m, DescribeAnswer{Error: fmt.Sprintf("request can't be read: %v", err)})
		return
	}
	all := h.collections()
	room := int(h.cfg.NC.MaxPayload()) / 2 // base64 makes four of three
	var answer DescribeAnswer
	for _, n := range req.Task.Resolve(byName(all)).Matched {
		if compareNames(n, req.After) <= 0 {
			continue
		}
		body, err := h.create(n, all[n])
		if err != nil {
			answer.Error = err.Error()
			break
		}
		if room -= len(body); room < 0 && len(answer.Creates) > 0 {
			answer.More = true
			break
		}
		answer.Creates, answer.Last = append(answer.Creates, body), n
	}
	respond(m, answer)
}

func byName(all map[jetstream.QualifiedName]*catalog.Collection) []jetstream.QualifiedName {
	return slices.SortedFunc(maps.Keys(all), compareNames)
}

func compareNames(a, b jetstream.QualifiedName) int {
	return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.Collection, b.Collection))
}

func (h *Bridges) create(n jetstream.QualifiedName, c *catalog.Collection) ([]byte, error) {
	req, err := bridge.CreateRequest(&catalog.Database{ID: c.DatabaseID, Name: n.Database}, c)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(req)
}

func respond(m *nats.Msg, answer any) {
	raw, err := json.Marshal(answer)
	if err != nil {
		raw = []byte(`{"error":"answer can't be encoded"}`)
	}
	_ = m.Respond(raw) // the asker's time-out tells it
}
