package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"kitestream/functions/control"
	"kitestream/functions/host"
	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// ttl is of the leases in these tests.
const ttl = time.Second

// rig is a NATS server with what a control service needs.
type rig struct {
	t       *testing.T
	srv     *jetstreamtest.Server
	js      natsjs.JetStream
	buckets *jetstream.Buckets
	leases  *jetstream.Leases
	client  *control.Client
	metrics *prometheus.Registry
	epoch   uint64 // of the last publisher
}

// newRig starts a server without a control service.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, srv: jetstreamtest.Run(t), metrics: prometheus.NewRegistry()}
	r.js = r.srv.JetStream()
	if err := jetstream.Setup(t.Context(), r.js, 1); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.buckets, err = jetstream.OpenBuckets(t.Context(), r.js); err != nil {
		t.Fatal(err)
	}
	if r.leases, err = jetstream.NewLeases(r.js, r.buckets.Leases, jetstream.LeaseConfig{TTL: ttl}); err != nil {
		t.Fatal(err)
	}
	r.client = control.NewClient(r.srv.Conn())
	return r
}

// newServed starts a server and a control service.
func newServed(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	cfg := r.config()
	var err error
	if cfg.Metrics, err = control.NewMetrics(r.metrics); err != nil {
		t.Fatal(err)
	}
	r.serve(cfg)
	return r
}

func (r *rig) config() control.Config {
	nc := r.srv.Conn()
	js, err := natsjs.New(nc)
	if err != nil {
		r.t.Fatal(err)
	}
	metrics, err := control.NewMetrics(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return control.Config{
		NC: nc, JS: js, Buckets: r.buckets, Tasks: jetstream.NewTasks(js, r.buckets.Tasks, nil), Leases: r.leases,
		Holder: "control-1", TTL: ttl, Metrics: metrics,
	}
}

// serve runs a service until the test ends or the returned function is called, and waits until it answers.
func (r *rig) serve(cfg control.Config) (stop func()) {
	r.t.Helper()
	s := control.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("control service ended: %v", err)
		}
	})
	r.t.Cleanup(stop)
	r.eventually("the control service answers", func() bool {
		_, err := r.client.List(r.t.Context())
		return err == nil
	})
	return stop
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	const limit = 30 * time.Second // twice as old as the lag metrics get
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// spec is a task of two lanes.
func spec(name string, targets ...string) jetstream.TaskSpec {
	s := jetstream.TaskSpec{
		Name: name, Source: "default", Lanes: 2,
		Select: []jetstream.Selection{{Database: "default", Collections: []string{"*"}}},
	}
	if len(targets) == 0 {
		targets = []string{"standby"}
	}
	for _, t := range targets {
		s.Targets = append(s.Targets, jetstream.TargetSpec{Name: t, URI: "http://127.0.0.1:19530"})
	}
	return s
}

// create makes a task and its stream, as a bridge would.
func (r *rig) create(s jetstream.TaskSpec) jetstream.TaskRef {
	r.t.Helper()
	a, err := r.client.Create(r.t.Context(), s)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := jetstream.EnsureStream(r.t.Context(), r.js, s.Name, jetstream.StreamConfig{}); err != nil {
		r.t.Fatal(err)
	}
	return jetstream.TaskRef{Name: a.Task.Name, ID: a.Task.ID}
}

// tso is a source timestamp so long ago.
func tso(ago time.Duration) uint64 { return uint64(time.Now().Add(-ago).UnixMilli()) << 18 }

// publish appends events to the task's stream, as a bridge's publisher does, and returns the last one's sequence.
func (r *rig) publish(task string, events ...*jetstream.Event) uint64 {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	r.epoch++
	p, err := jetstream.OpenPublisher(ctx, r.js, jetstream.PublisherConfig{Task: task, Holder: "bridge-1", Epoch: r.epoch})
	if err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	for _, e := range events {
		if err := p.Publish(ctx, e); err != nil {
			r.t.Fatal(err)
		}
	}
	last := make(chan uint64, 1)
	p.Mark(func(seq uint64) { last <- seq })
	if err := p.Flush(ctx); err != nil {
		r.t.Fatal(err)
	}
	return <-last
}

// insert is an event of so many rows; sum counts the rows on the lane up to and including it.
func insert(lane int, collection string, id int64, rows int, sum uint64) *jetstream.Event {
	return &jetstream.Event{
		ID: fmt.Sprintf("%s:%d:%d:%d", collection, id, lane, sum), Kind: jetstream.Insert, Channel: "ch0", Lane: lane, Database: "default",
		Collection: collection, CollectionID: id, TS: tso(10 * time.Second), Position: "1", Rows: rows, RowSum: sum,
	}
}

// worker holds a lane of a target; apply acks so many of its events.
type worker struct {
	r     *rig
	lease *jetstream.Lease
	lane  *jetstream.Lane
}

func (r *rig) work(id jetstream.LaneID) *worker {
	r.t.Helper()
	ctx := r.t.Context()
	w := &worker{r: r, lease: r.hold(id.LeaseKey(), "worker-1")}
	var err error
	if w.lane, err = jetstream.OpenLane(ctx, r.js, r.buckets.Lanes, jetstream.LaneConfig{ID: id, Epoch: w.lease.Epoch()}); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = w.lane.Close(context.Background()) })
	return w
}

func (w *worker) apply(n int) {
	w.r.t.Helper()
	for range n {
		d, err := w.lane.Next(w.r.t.Context())
		if err != nil {
			w.r.t.Fatal(err)
		}
		if err := w.lane.Ack(w.r.t.Context(), d.Seq); err != nil {
			w.r.t.Fatal(err)
		}
	}
}

// hold takes a lease and renews it until the test ends or it is released.
func (r *rig) hold(key, holder string) *jetstream.Lease {
	r.t.Helper()
	lease, err := r.leases.Acquire(r.t.Context(), key, holder)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = lease.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-done })
	return lease
}

// bridge plays the part of a bridge: it holds the task's lease, gives signs of life and answers.
type bridge struct {
	r     *rig
	task  jetstream.TaskRef
	lease *jetstream.Lease
	sync  func(host.SyncRequest) host.BridgeAnswer // nil: all is on the stream

	mu     sync.Mutex
	status jetstream.BridgeStatus
	stop   context.CancelFunc
	done   chan struct{}
}

func (r *rig) bridge(task jetstream.TaskRef, st jetstream.BridgeStatus, answer func(host.SyncRequest) host.BridgeAnswer) *bridge {
	r.t.Helper()
	st.Worker, st.State = "bridge-1", "running"
	b := &bridge{r: r, task: task, lease: r.hold(jetstream.BridgeLease(task.Name), "bridge-1"), sync: answer, status: st, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	nc := r.srv.Conn()
	if _, err := nc.Subscribe(host.SyncSubject(task.Name), b.answer); err != nil {
		r.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		r.t.Fatal(err)
	}
	b.say()
	go func() {
		defer close(b.done)
		for {
			select {
			case <-time.After(100 * time.Millisecond):
				b.say()
			case <-ctx.Done():
				return
			}
		}
	}()
	r.t.Cleanup(b.die)
	return b
}

func (b *bridge) answer(m *nats.Msg) {
	var q host.SyncRequest
	_ = json.Unmarshal(m.Data, &q)
	var a host.BridgeAnswer
	if b.sync != nil {
		a = b.sync(q)
	}
	raw, _ := json.Marshal(a)
	_ = m.Respond(raw)
}

// change changes what the bridge says of itself.
func (b *bridge) change(fn func(*jetstream.BridgeStatus)) {
	b.mu.Lock()
	fn(&b.status)
	b.mu.Unlock()
	b.say()
}

func (b *bridge) say() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.At = time.Now().UTC()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = jetstream.PutBridgeStatus(ctx, b.r.buckets.Status, b.task, b.status)
}

// die stops the signs of life; the lease expires or is released by the test.
func (b *bridge) die() { b.stop(); <-b.done }

func (r *rig) laneStatus(id jetstream.LaneID, st jetstream.LaneStatusRecord) {
	r.t.Helper()
	st.Worker, st.At = "worker-1", time.Now().UTC()
	if err := jetstream.PutLaneStatus(r.t.Context(), r.buckets.Status, id, st); err != nil {
		r.t.Fatal(err)
	}
}

// code is that of an error, "" for nil.
func code(err error) control.Code {
	var e *control.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	}
	return control.Code("no control.Error: " + err.Error())
}
