package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge"
	"kitestream/bridge/mq"
	"kitestream/bridge/scan"
	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
	keyrows "kitestream/jetstream/rows"
)

// rowChange is a row that is written, or with the value 0 deleted.
type rowChange struct {
	ts    uint64
	key   rowKey
	value int64
}

// set writes or deletes a row of a collection now.
func (h *history) set(c *simCollection, k rowKey, value int64) {
	c.log = append(c.log, rowChange{h.ts, k, value})
	if value == 0 {
		delete(c.rows, k)
	} else {
		c.rows[k] = value
	}
}

// rowsAt are a partition's rows at a time, by key.
func (s *simScan) rowsAt(partition string, ts uint64) map[int64]int64 {
	out := map[int64]int64{}
	p := s.open[partition]
	for _, ch := range s.c.log {
		switch {
		case p == nil || ch.ts > ts || ch.ts < p.created || ch.key.partition != partition:
		case ch.value == 0:
			delete(out, ch.key.pk)
		default:
			out[ch.key.pk] = ch.value
		}
	}
	return out
}

// simAPI answers as the source's Milvus would: of a time between the guarantee and now. Rarely it fails.
type simAPI struct {
	h    *history
	meta *simMeta
	mu   sync.Mutex
	rng  *rand.Rand
	last uint64
	late bool // its answers come when the channels are past them
}

var errSimAPI = errors.New("the source's API is away")

func (a *simAPI) fails() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rng.IntN(200) == 0 {
		return errSimAPI
	}
	return nil
}

func (a *simAPI) Now(context.Context) (uint64, error) {
	a.mu.Lock()
	a.last = max(a.last, a.meta.time()) + 1
	now := a.last
	a.mu.Unlock()
	if a.late { // the channels are further by the time that anybody hears of it
		time.Sleep(20 * time.Millisecond)
	}
	return now, nil
}

func (a *simAPI) Collection(_ context.Context, database, name string) (bridge.SourceCollection, error) {
	now := a.meta.time()
	for _, c := range a.h.cols {
		if n := c.names.at(now); c.created <= now && (c.dropped == 0 || c.dropped > now) && n.db.name == database && n.name == name {
			open := &simScan{a: a, c: c, open: map[string]*simPartition{}}
			for _, p := range c.partitionsAt(now) {
				open.open[p.name] = p
			}
			return open, a.fails()
		}
	}
	return nil, scan.ErrNoCollection
}

type simScan struct {
	a    *simAPI
	c    *simCollection
	open map[string]*simPartition // the partitions when it was asked for
}

// partitionsAt are the partitions that there are at a time.
func (c *simCollection) partitionsAt(now uint64) (out []*simPartition) {
	for _, p := range c.every {
		if p.created <= now && (p.dropped == 0 || p.dropped > now) {
			out = append(out, p)
		}
	}
	return out
}

// same says whether a name still names the partition that it did.
func (s *simScan) same(partition string) error {
	now := s.a.meta.time()
	if !slices.Contains(s.c.partitionsAt(now), s.open[partition]) || s.c.dropped != 0 && s.c.dropped <= now {
		return scan.ErrRecreated
	}
	return s.a.fails()
}

func (s *simScan) Identity() int64 { return s.c.id }

func (s *simScan) PartitionID(name string) int64 {
	if p := s.open[name]; p != nil {
		return p.id
	}
	return 0
}

func (s *simScan) Load(context.Context) error    { return nil }
func (s *simScan) Release(context.Context) error { return nil }

// at is a time of which an answer tells.
func (s *simScan) at(guarantee uint64) uint64 {
	now := max(guarantee, s.a.meta.time())
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	ts := guarantee + s.a.rng.Uint64N(now-guarantee+1)
	s.a.last = max(s.a.last, ts)
	return ts
}

func (s *simScan) Count(context.Context, string, uint64) (int64, error) {
	return int64(len(s.c.rows)), nil
}

func (s *simScan) Read(_ context.Context, p scan.Page) (*scan.Rows, error) {
	ts := s.at(p.Guarantee)
	all := s.rowsAt(p.Partition, ts)
	var pks []int64
	for pk := range all {
		if k := scan.IntKey(pk); k.Compare(p.After) > 0 {
			pks = append(pks, pk)
		}
	}
	slices.Sort(pks)
	const page = 7
	r := s.rows(pks[:min(page, len(pks))], all, ts)
	r.Done = len(pks) <= page
	return r, s.same(p.Partition)
}

func (s *simScan) Lookup(_ context.Context, partition string, keys []scan.Key, guarantee uint64) (*scan.Rows, error) {
	ts := s.at(guarantee)
	all := s.rowsAt(partition, ts)
	var pks []int64
	for _, k := range keys {
		if n, _ := k.Int(); all[n] != 0 {
			pks = append(pks, n)
		}
	}
	slices.Sort(pks)
	r := s.rows(pks, all, ts)
	r.Done = true
	return r, s.same(partition)
}

func (s *simScan) rows(pks []int64, all map[int64]int64, ts uint64) *scan.Rows {
	r := &scan.Rows{N: len(pks)}
	values := make([]int64, len(pks))
	for i, pk := range pks {
		values[i] = all[pk]
		r.Last = scan.IntKey(pk)
		r.Keys = append(r.Keys, r.Last)
	}
	r.Fields = append(r.Fields, longs("pk", 100, pks), longs("value", 101, values))
	for _, f := range s.c.fields.at(ts)[3:] {
		r.Fields = append(r.Fields, longs(f.Name, f.FieldID, values))
	}
	return r
}

// prune removes from the model what the event says that the source does not have.
func (m *model) prune(e *jetstream.Event, col *modelCollection) {
	m.t.Helper()
	b, err := jetstream.ParsePrune(e.Body)
	m.must(err == nil && e.Snapshot > 1 && col.rows[e.Partition] != nil, "prunes %q: %v", e.Partition, err)
	for pk := range col.rows[e.Partition] {
		in := (b.After == nil || pk > b.After.Int) && (b.Until == nil || pk <= b.Until.Int)
		if in && int(keyrows.Keys{Ints: []int64{pk}}.Hash(0)%uint64(b.Lanes)) == e.Lane && !slices.Contains(b.Keys.Ints, pk) {
			delete(col.rows[e.Partition], pk)
		}
	}
}

// message is the i-th of a channel: one of the history, or, of a source that ticks on for ever, a tick behind it.
func (q *simQueue) message(channel string, i int) (m mq.Message, written uint64) {
	if n := len(q.h.queue[channel]); i >= n {
		ts := q.h.ts + uint64(i-n+1)*(10<<18)
		return mq.Message{Position: mq.Position(strconv.Itoa(i + 1)), Payload: must(proto.Marshal(&msgpb.TimeTickMsg{Base: base(commonpb.MsgType_TimeTick, 0, ts)}))}, ts
	}
	return q.h.queue[channel][i], q.h.written[channel][i]
}

// copySeeds is how many histories are tried: under the race detector they take seconds each.
const copySeeds = 25

// TestCopies has tasks begin in the middle of histories, when the queue has forgotten all before, and wants the targets to
// have in the end what the source has: with bridges killed, and API calls that fail.
func TestCopies(t *testing.T) {
	srv := jetstreamtest.Run(t)
	for seed := range uint64(copySeeds) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			s := copySimulation(t, srv, seed)
			for kills := s.rng.IntN(4); kills > 0; kills-- {
				s.epoch++
				s.killAt(s.ctx, t, s.epoch, uint64(s.rng.IntN(300)))
			}
			s.settle(t, seed)
		})
	}
}

// copySim is a simulation of a task on a source that there was before.
type copySim struct {
	simulation
	ctx   context.Context
	rng   *rand.Rand
	h     *history
	epoch uint64
}

func copySimulation(t *testing.T, srv *jetstreamtest.Server, seed uint64) *copySim {
	t.Helper()
	h := newHistory(seed, 300)
	rng := rand.New(rand.NewPCG(seed, 4))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	js := srv.JetStream()
	if err := jetstream.Setup(ctx, js, 1); err != nil {
		t.Fatal(err)
	}
	spec := jetstream.TaskSpec{Name: fmt.Sprintf("copy%d", seed), Source: "default", Lanes: 1 + rng.IntN(4), Select: []jetstream.Selection{
		{Database: "default", Collections: []string{"*"}, Exclude: []string{"x*"}}, {Database: "other", Collections: []string{"*"}, Exclude: []string{"x*"}}},
		Targets: []jetstream.TargetSpec{{Name: "t", URI: "http://127.0.0.1:1"}}}
	start := h.begin() + rng.Uint64N(h.ts-h.begin()+1)
	meta := newSimMeta(h, start, uint64(rng.IntN(2))*(30<<18))
	meta.live, meta.forgotten = true, start
	return &copySim{simulation: simulation{srv: srv, meta: meta, spec: spec, api: &simAPI{h: h, meta: meta, rng: rand.New(rand.NewPCG(seed, 5)), late: seed%3 == 2}}, ctx: ctx, rng: rng, h: h}
}

// settle runs a last bridge, and compares.
func (s *copySim) settle(t *testing.T, seed uint64) {
	t.Helper()
	s.epoch++
	s.finish(s.ctx, t, s.epoch)
	s.compare(t, seed, modelTarget{name: "t"})
}

func (s *copySim) compare(t *testing.T, seed uint64, to modelTarget) {
	t.Helper()
	m := replayTo(s.ctx, t, s.srv.JetStream(), s.spec, to)
	if diff := cmp.Diff(s.h.expected(), m.rows()); diff != "" {
		t.Errorf("seed %d: target %s differs from source (-source +target):\n%s", seed, to.name, diff)
	}
	if diff := cmp.Diff(s.h.settings(s.spec), m.settings()); diff != "" {
		t.Errorf("seed %d: the settings of target %s differ from the source's (-source +target):\n%s", seed, to.name, diff)
	}
}
