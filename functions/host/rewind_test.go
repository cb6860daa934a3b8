package host_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"kitestream/functions/control"
	"kitestream/functions/host"
	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// going is a task whose events come from a history, applied by workers to a world.
type going struct {
	t       *testing.T
	srv     *jetstreamtest.Server
	js      natsjs.JetStream
	buckets *jetstream.Buckets
	task    *jetstream.Task
	client  *control.Client
	pub     *jetstream.Publisher
	target  *world
	past    *history
	first   uint64 // sequence of the history's first event
	kill    map[string]func()
	log     *slog.Logger
}

const goingLanes = 3

func newGoing(t *testing.T, seed uint64) *going {
	t.Helper()
	g := &going{t: t, srv: jetstreamtest.Run(t), target: newWorld(), kill: map[string]func(){}, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	g.js = g.srv.JetStream()
	g.must(jetstream.Setup(t.Context(), g.js, 1))
	var err error
	g.buckets, err = jetstream.OpenBuckets(t.Context(), g.js)
	g.must(err)
	g.task, err = jetstream.NewTasks(g.js, g.buckets.Tasks, nil).Create(t.Context(), jetstream.TaskSpec{Name: "t", Source: "default", Lanes: goingLanes,
		Select: []jetstream.Selection{{Database: "*", Collections: []string{"*"}}}, Targets: []jetstream.TargetSpec{{Name: "b", URI: "localhost:1"}}})
	g.must(err)
	g.must(jetstream.EnsureStream(t.Context(), g.js, "t", jetstream.StreamConfig{Replicas: 1}))
	ctx, cancel := context.WithCancel(context.Background())
	g.pub, err = jetstream.OpenPublisher(ctx, g.js, jetstream.PublisherConfig{Task: "t", Holder: "bridge", Epoch: 1})
	g.must(err)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = g.pub.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	g.first = g.last() + 1
	g.past = newHistory(seed, goingLanes, func(e *jetstream.Event) { g.must(g.pub.Publish(t.Context(), e)) })
	g.control("c1")
	g.client = control.NewClient(g.srv.Conn())
	return g
}

func (g *going) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// run runs a part with a connection of its own until the test ends, or it is killed: it is cut off, and frees nothing.
func (g *going) run(name string, part func(ctx context.Context, js natsjs.JetStream, leases *jetstream.Leases) error) {
	g.t.Helper()
	js := g.srv.JetStream()
	leases, err := jetstream.NewLeases(js, g.bucketsOn(js).Leases, jetstream.LeaseConfig{TTL: time.Second})
	g.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = part(ctx, js, leases) }()
	g.kill[name] = sync.OnceFunc(func() { js.Conn().Close(); cancel(); <-ended })
	g.t.Cleanup(g.kill[name])
}

func (g *going) bucketsOn(js natsjs.JetStream) *jetstream.Buckets {
	g.t.Helper()
	b, err := jetstream.OpenBuckets(g.t.Context(), js)
	g.must(err)
	return b
}

func (g *going) work(name string) {
	g.t.Helper()
	apply, err := handlers.NewMetrics(prometheus.NewRegistry())
	g.must(err)
	g.run(name, func(ctx context.Context, js natsjs.JetStream, leases *jetstream.Leases) error {
		buckets, err := jetstream.OpenBuckets(ctx, js)
		if err != nil {
			return err
		}
		return host.NewLanes(host.LanesConfig{NC: js.Conn(), JS: js, Buckets: buckets, Leases: leases, Tasks: jetstream.NewTasks(js, buckets.Tasks, nil),
			Holder: name, Log: g.log.With("worker", name), Metrics: host.NewMetrics(nil), Apply: apply,
			Connect: func(context.Context, jetstream.TargetSpec) (host.Target, error) { return g.target, nil },
		}).Run(ctx)
	})
}

func (g *going) control(name string) {
	g.t.Helper()
	metrics, err := control.NewMetrics(prometheus.NewRegistry())
	g.must(err)
	g.run(name, func(ctx context.Context, js natsjs.JetStream, leases *jetstream.Leases) error {
		buckets, err := jetstream.OpenBuckets(ctx, js)
		if err != nil {
			return err
		}
		return control.New(control.Config{NC: js.Conn(), JS: js, Buckets: buckets, Tasks: jetstream.NewTasks(js, buckets.Tasks, nil), Leases: leases,
			Holder: name, TTL: time.Second, Log: g.log, Metrics: metrics}).Run(ctx)
	})
}

// happen has so many things happen on the source.
func (g *going) happen(steps int) {
	g.t.Helper()
	for range steps {
		g.past.step()
	}
	g.must(g.pub.Flush(g.t.Context()))
}

func (g *going) last() uint64 {
	g.t.Helper()
	held, err := jetstream.StreamHolds(g.t.Context(), g.js, "t")
	g.must(err)
	return held.Last
}

func (g *going) id() jetstream.TargetID { return g.task.Ref().Target("b") }

func (g *going) stops() *jetstream.Stops {
	g.t.Helper()
	s, err := jetstream.OpenStops(context.Background(), g.js, g.buckets.Lanes, g.id())
	g.must(err)
	return s
}

func (g *going) unmets() []jetstream.Unmet {
	g.t.Helper()
	s, err := jetstream.OpenUnmets(context.Background(), g.js, g.buckets.Lanes, g.id())
	g.must(err)
	return s.List()
}

// applied reports whether the target has everything but what has stopped.
func (g *going) applied() bool {
	task, err := jetstream.NewTasks(g.js, g.buckets.Tasks, nil).Get(g.t.Context(), "t")
	g.must(err)
	if task.Rewinds["b"].Pending {
		return false
	}
	for lane := range goingLanes {
		st, err := jetstream.LaneState(g.t.Context(), g.js, g.buckets.Lanes, g.id().Lane(lane))
		g.must(err)
		if st.Pending > 0 || st.AckPending > 0 {
			return false
		}
	}
	return true
}

func (g *going) until(what string, holds func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			v, _ := g.client.Get(g.t.Context(), "t")
			g.t.Fatalf("waited in vain: %s\nstops %+v\nunmet %+v\n%+v", what, g.stops().List(), g.unmets(), v)
		}
	}
}

// equal waits until the target is what the source is, with whatever has stopped tried again.
func (g *going) equal() {
	g.t.Helper()
	g.until("all is applied, and nothing has stopped", func() bool {
		if !g.applied() {
			return false
		}
		stops := g.stops()
		_, err := stops.MarkRetries(g.t.Context())
		g.must(err)
		return len(stops.List()) == 0
	})
	got, want := g.target.look(), g.past.has.look()
	for name := range want {
		if got[name] == want[name] {
			delete(got, name)
			delete(want, name)
		}
	}
	if len(got) > 0 || len(want) > 0 {
		g.dump()
		g.t.Fatalf("the target has\n%v\nthe source has\n%v", got, want)
	}
	if u := g.unmets(); len(u) > 0 {
		g.t.Fatalf("unmet: %+v", u)
	}
}

// dump writes down what happened.
func (g *going) dump() {
	g.t.Helper()
	err := jetstream.Scan(g.t.Context(), g.js, "t", nil, 1, func(e *jetstream.Event) error {
		g.t.Logf("%d %s lane %d %s.%s/%s (%d): %q", e.Seq, e.Kind, e.Lane, e.Database, e.Collection, e.Partition, e.CollectionID, e.Body)
		return nil
	})
	g.must(err)
}

func (g *going) rewind(to uint64) {
	g.t.Helper()
	for {
		_, err := g.client.Rewind(g.t.Context(), control.RewindRequest{Name: "t", Target: "b", To: strconv.FormatUint(to, 10)})
		var refused *control.Error
		if errors.As(err, &refused) && slices.Contains([]control.Code{control.CodeUnavailable, control.CodeNoControl}, refused.Code) {
			continue // it was killed
		}
		g.must(err)
		return
	}
}

// damage does to the target by hand what a rewind to that place makes good: rows written since are lost or changed.
func (g *going) damage(r *rand.Rand, to uint64) (lost int) {
	g.target.mu.Lock()
	defer g.target.mu.Unlock()
	for _, t := range g.target.Tables {
		for _, p := range t.Parts {
			for k, written := range p {
				// Values are the numbers of the events that wrote them.
				if g.first+uint64(written)-1 < to {
					continue
				}
				switch lost++; r.IntN(3) {
				case 0:
					delete(p, k)
				case 1:
					p[k] = -1
				}
			}
		}
	}
	return lost
}

// TestRewoundTargetIsEqualAgain has things happen at random, and the target damaged and rewound to random places, while more
// happens, workers are killed, and the target refuses some for a while.
func TestRewoundTargetIsEqualAgain(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5, 6}
	if s, err := strconv.ParseUint(os.Getenv("KITESTREAM_TEST_SEED"), 10, 64); err == nil {
		seeds = []uint64{s}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed_", seed), func(t *testing.T) {
			g := newGoing(t, seed)
			r := rand.New(rand.NewPCG(seed, 2))
			g.work("w1")
			g.work("w2")
			g.happen(60)
			g.until("the first part is applied", g.applied)
			lost := 0
			for round := range 6 {
				g.target.refuse(refusing(r))
				g.happen(r.IntN(60))
				if r.IntN(3) > 0 {
					g.until("it is applied", g.applied)
				}
				back := g.reached() - g.first + 1
				if r.IntN(2) == 0 {
					back = min(back, 100)
				}
				to := g.reached() + 1 - back + r.Uint64N(back)
				lost += g.damage(r, to)
				if r.IntN(2) == 0 {
					name := fmt.Sprint("w", 1+r.IntN(2))
					g.kill[name]()
					g.work(fmt.Sprint(name, "_", round))
					g.kill[name] = g.kill[fmt.Sprint(name, "_", round)]
				}
				t.Logf("round %d: to %d of %d, stops %+v", round, to, g.last(), g.stops().List())
				g.rewind(to)
				g.happen(r.IntN(20))
				if r.IntN(3) > 0 {
					g.target.refuse(nil)
					g.equal()
				}
			}
			g.target.refuse(nil)
			g.equal()
			t.Log("events", g.last(), "rows damaged", lost)
		})
	}
}

// refusing is what a target refuses for a while.
func refusing(r *rand.Rand) func(call, name string) bool {
	what := []string{"", "rows", "rows", "drop partition", "rename", "create"}[r.IntN(6)]
	where := []string{"a", "b", "c"}[r.IntN(3)]
	return func(call, name string) bool { return call == what && refOf(name).Collection == where }
}

// reached is how far the target is.
func (g *going) reached() uint64 {
	g.t.Helper()
	n, err := jetstream.Rewinder{JS: g.js, KV: g.buckets.Lanes, Target: g.id(), Lanes: goingLanes}.Reached(g.t.Context())
	g.must(err)
	return n
}
