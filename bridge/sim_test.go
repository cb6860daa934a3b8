package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/bridge"
	"kitestream/bridge/mq"
	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// simQueue is a history's queue. It keeps nothing that it need not keep for its anchor's sake.
type simQueue struct {
	h    *history
	meta *simMeta
}

func (q *simQueue) Release(_ context.Context, owner, channel string, upTo mq.Position) error {
	q.meta.mu.Lock()
	defer q.meta.mu.Unlock()
	q.meta.anchor[owner+" "+channel] = upTo
	return nil
}

func (q *simQueue) Leave(string) {}

func (q *simQueue) Abandon(_ context.Context, owner, channel string) error {
	q.meta.mu.Lock()
	defer q.meta.mu.Unlock()
	delete(q.meta.anchor, owner+" "+channel)
	return nil
}

// gone says whether the queue was told that nobody needs a message any more.
func (q *simQueue) gone(channel string, at mq.Position) error {
	q.meta.mu.Lock()
	defer q.meta.mu.Unlock()
	for key, kept := range q.meta.anchor {
		if strings.HasSuffix(key, " "+channel) && comparePositions(at, kept) < 0 {
			return &mq.GapError{Channel: channel, Wanted: at, Found: kept, Reason: "the anchor was let go"}
		}
	}
	return nil
}

func (q *simQueue) Open(_ context.Context, channel string, from mq.Position) (mq.Reader, error) {
	at := 0
	if from != "" {
		if i := must(strconv.Atoi(string(from))); channel != simSide && i < q.until(channel, q.meta.forgotten) {
			return nil, &mq.GapError{Channel: channel, Wanted: from, Reason: "it was written before the queue remembers"}
		}
		if err := q.gone(channel, from); err != nil {
			return nil, err
		}
		at = must(strconv.Atoi(string(from))) - 1
	}
	return &simReader{q: q, channel: channel, at: at}, nil
}

func (q *simQueue) Last(_ context.Context, channel string) (mq.Position, error) {
	n := len(q.h.queue[channel])
	for channel == simSide && n > 0 && q.h.written[channel][n-1] > q.meta.time() {
		n--
	}
	if channel != simSide && q.meta.live {
		n = q.until(channel, q.meta.time())
	}
	if n == 0 {
		return "", nil
	}
	return q.h.queue[channel][n-1].Position, nil
}

// until is how many of a channel's messages there are before the first one that was written after a time.
func (q *simQueue) until(channel string, ts uint64) int {
	n := slices.IndexFunc(q.h.written[channel], func(written uint64) bool { return written > ts })
	if n < 0 {
		return len(q.h.written[channel])
	}
	return n
}

func (q *simQueue) FromMilvus(b []byte) (mq.Position, error) { return mq.Position(b), nil }

func (q *simQueue) Compare(a, b mq.Position) (int, error) { return comparePositions(a, b), nil }

func (q *simQueue) Close() error { return nil }

type simReader struct {
	q       *simQueue
	channel string
	at      int
}

func (r *simReader) Next(ctx context.Context) (mq.Message, error) {
	if live := r.q.meta.live && r.channel != simSide; r.at >= len(r.q.h.queue[r.channel]) {
		select {
		case <-ctx.Done():
			return mq.Message{}, ctx.Err()
		case <-liveTick(live):
		}
	}
	for r.channel == simSide && r.q.h.written[simSide][r.at] > r.q.meta.time() { // it shows nothing by itself
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return mq.Message{}, ctx.Err()
		}
	}
	m, written := r.q.message(r.channel, r.at)
	r.at++
	r.q.meta.shown(written)
	return m, ctx.Err()
}

// liveTick is when a source that is live ticks next, or never.
func liveTick(live bool) <-chan time.Time {
	if !live {
		return nil
	}
	return time.After(2 * time.Millisecond)
}

func (r *simReader) Close() error { return nil }

const simSeeds = 300

// TestEverythingOnceInOrder runs bridges over made-up histories, kills them at random points of their progress, and
// applies what is on the stream to a strict model: every event once, nothing created twice or written to before it is
// there, and in the end the source's rows exactly (Guarantees 1 to 3).
func TestEverythingOnceInOrder(t *testing.T) {
	srv := jetstreamtest.Run(t)
	for seed := range uint64(simSeeds) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { simulate(t, srv, seed) })
	}
}

func simulate(t *testing.T, srv *jetstreamtest.Server, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	h := newHistory(seed, 400)
	js := srv.JetStream()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := jetstream.Setup(ctx, js, 1); err != nil {
		t.Fatal(err)
	}
	spec := jetstream.TaskSpec{Name: fmt.Sprintf("sim%d", seed), Source: "default", Lanes: 1 + rng.IntN(4), Select: []jetstream.Selection{
		{Database: "default", Collections: []string{"*"}, Exclude: []string{"x*"}}, {Database: "other", Collections: []string{"*"}, Exclude: []string{"x*"}}},
		Targets: []jetstream.TargetSpec{{Name: "t", URI: "http://127.0.0.1:1"}}, RBAC: seed%4 > 0}
	start, lead := h.begin(), uint64(rng.IntN(2))*h.ts/4
	if rng.IntN(3) == 0 {
		start = h.ts // the task is created when all has happened: etcd shows the end only
	}
	meta, epoch := newSimMeta(h, start, lead), uint64(0)
	meta.lag = uint64(rng.IntN(3)) << 24
	sim := simulation{srv: srv, meta: meta, spec: spec}
	for kills := rng.IntN(5); kills > 0; kills-- {
		epoch++
		sim.killAt(ctx, t, epoch, uint64(rng.IntN(400)))
	}
	epoch++
	meta.shown(h.ts)
	sim.finish(ctx, t, epoch)
	m := replay(ctx, t, js, spec)
	if diff := cmp.Diff(h.expected(), m.rows()); diff != "" {
		t.Errorf("seed %d: target differs from source (-source +target):\n%s", seed, diff)
	}
	if diff := cmp.Diff(h.settings(spec), m.settings()); diff != "" {
		t.Errorf("seed %d: the target's settings differ from the source's (-source +target):\n%s", seed, diff)
	}
}

// simulation is a history's source with a NATS server.
type simulation struct {
	srv    *jetstreamtest.Server
	meta   *simMeta
	spec   jetstream.TaskSpec
	secret *jetstream.SecretKey
	api    bridge.SourceAPI

	created time.Time // the task's
	needed  func(context.Context) (uint64, error)
}

func (s simulation) bridge(t *testing.T, nc *nats.Conn, epoch uint64) *bridge.Bridge {
	t.Helper()
	js := must(natsjs.New(nc))
	ctx := t.Context()
	return bridge.New(bridge.Config{JS: js, KV: must(js.KeyValue(ctx, jetstream.BucketLedger)), Status: must(js.KeyValue(ctx, jetstream.BucketStatus)),
		Meta: s.meta, Queue: &simQueue{s.meta.h, s.meta}, Task: &jetstream.Task{Spec: s.spec, ID: "1", Created: s.created}, Holder: "sim", Epoch: epoch,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Secret: s.secret, API: s.api, Needed: s.needed, TrimEvery: trimEvery})
}

// killAt runs a bridge until the stream holds so many events more, and then cuts it off as kill -9 would.
func (s simulation) killAt(ctx context.Context, t *testing.T, epoch, events uint64) {
	t.Helper()
	nc := must(nats.Connect(s.srv.URL(), nats.NoReconnect()))
	watch := s.srv.JetStream()
	b := s.bridge(t, nc, epoch)
	ctx, cancel := context.WithCancel(ctx)
	var run sync.WaitGroup
	run.Go(func() { _ = b.Run(ctx) })
	from := lastSeq(ctx, watch, s.spec.Name)
	for deadline := time.Now().Add(300 * time.Millisecond); lastSeq(ctx, watch, s.spec.Name) < from+events && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	nc.Close()
	cancel()
	run.Wait()
}

func lastSeq(ctx context.Context, js natsjs.JetStream, task string) uint64 {
	s, err := js.Stream(ctx, jetstream.StreamName(task))
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.LastSeq
}

// finish runs a bridge until it has published all that the source holds.
func (s simulation) finish(ctx context.Context, t *testing.T, epoch uint64) {
	t.Helper()
	b := s.bridge(t, s.srv.Conn(), epoch)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- b.Run(ctx)
	}()
	if s.meta.live {
		for until := time.Now().Add(time.Second); s.meta.time() <= s.meta.h.ts && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
		s.meta.shown(s.meta.h.ts) // where nothing is read, nothing tells the time
	}
	if err := b.Sync(ctx); err != nil {
		cancel()
		t.Fatal(err, <-ended)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("bridge ended with %v", err)
	}
}
