package bridge

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kitestream/jetstream"
)

// progress is what others may ask of a running bridge: how far each channel is on the stream, and what was published.
// It is safe for concurrent use.
type progress struct {
	mu       sync.Mutex
	channels map[string]*channelProgress
	sums     map[int64]map[int]uint64 // collection, lane: rows published
	seq      uint64                   // last sequence known to be on the stream
	revision int64                    // the catalogue's revision taken into account
	waiting  int                      // what of it waits for its time
	copies   int                      // collections whose existing rows are not all on the stream
	ledger   bool                     // the ledger has changed since it was last saved
	schema   schemaStatus
	news     chan struct{} // holds a token when schema has changed
	changed  chan struct{} // closed at the next change
}

type channelProgress struct {
	acked Resume // all before is on the stream
	err   error
}

func newProgress() *progress {
	return &progress{channels: map[string]*channelProgress{}, sums: map[int64]map[int]uint64{}, news: make(chan struct{}, 1), changed: make(chan struct{})}
}

// change runs fn under the lock and wakes who waits.
func (p *progress) change(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
	p.wake()
}

// wake wakes who waits; mu is held.
func (p *progress) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *progress) opened(name string, at Resume) {
	p.change(func() { p.channels[name] = &channelProgress{acked: at} })
}

func (p *progress) forget(name string) { p.change(func() { delete(p.channels, name) }) }

func (p *progress) failed(name string, err error) {
	p.change(func() { p.channels[name].err = err })
}

// reached notes that all of the channel before `to` is on the stream.
func (p *progress) reached(name string, to Resume, seq uint64) {
	p.change(func() {
		if c := p.channels[name]; c != nil {
			c.acked = to
		}
		p.seq = max(p.seq, seq)
	})
}

func (p *progress) catalogued(revision int64, waiting int) {
	p.change(func() { p.revision, p.waiting = revision, waiting })
}

func (p *progress) published(collection int64, lane int, sum uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sums[collection] == nil {
		p.sums[collection] = map[int]uint64{}
	}
	p.sums[collection][lane] = sum
}

// copying notes of how many collections existing rows are still to come.
func (p *progress) copying(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.copies != n {
		p.copies = n
		p.wake()
	}
}

// dirty notes that the ledger has to be saved.
func (p *progress) dirty() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger = true
}

// takeDirty reports whether the ledger has to be saved, once.
func (p *progress) takeDirty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.ledger
	p.ledger = false
	return was
}

// resumes are the channels' resume points.
func (p *progress) resumes() map[string]Resume {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]Resume, len(p.channels))
	for name, c := range p.channels {
		out[name] = c.acked
	}
	return out
}

// progressView is progress at a moment.
type progressView struct {
	channels map[string]channelProgress
	live     []string // channels that collections of the ledger stand on
	revision int64
	waiting  int             // objects of the catalogue, and copies
	changed  <-chan struct{} // closed at the next change
}

// view is a copy for those that wait.
func (p *progress) view() progressView {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := progressView{channels: make(map[string]channelProgress, len(p.channels)), live: p.schema.live, revision: p.revision, waiting: p.waiting + p.copies, changed: p.changed}
	for name, c := range p.channels {
		v.channels[name] = *c
	}
	return v
}

// show keeps what the status says of the schema.
func (p *progress) show(st schemaStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !reflect.DeepEqual(p.schema, st) {
		p.schema = st
		p.wake()
		select {
		case p.news <- struct{}{}:
		default:
		}
	}
}

// status is the bridge's status as far as progress knows it.
func (p *progress) status() jetstream.BridgeStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := jetstream.BridgeStatus{Seq: p.seq, Channels: make(map[string]jetstream.ChannelStatus, len(p.channels)),
		Collections: slices.Clone(p.schema.collections), Databases: p.schema.databases,
		Waiting: p.schema.missing, Empty: p.schema.empty, Blocked: p.schema.blocked}
	for name, c := range p.channels {
		cs := jetstream.ChannelStatus{Resume: c.acked.String(), TS: c.acked.TS}
		if c.err != nil {
			cs.Error = c.err.Error()
		}
		st.Channels[name] = cs
	}
	for i := range st.Collections {
		st.Collections[i].Rows = maps.Clone(p.sums[st.Collections[i].ID])
	}
	for _, ch := range p.schema.live {
		// The channels that live collections stand on tell the time; Milvus ticks no other.
		if ts := st.Channels[ch].TS; ts != 0 && (st.WatermarkTS == 0 || ts < st.WatermarkTS) {
			st.WatermarkTS = ts
		}
	}
	return st
}

// obstacles says what channels wait for, for people.
func (p *progress) obstacles() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.schema.blocked) == 0 && p.waiting == 0 && p.copies == 0 {
		return "reading"
	}
	return strings.Join(append(slices.Clone(p.schema.blocked), strconv.Itoa(p.waiting)+" objects of its etcd wait for their time",
		strconv.Itoa(p.copies)+" collections are being copied"), "; ")
}
