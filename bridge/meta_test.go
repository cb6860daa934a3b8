package bridge_test

import (
	"cmp"
	"context"
	"strconv"
	"sync"

	"kitestream/bridge/catalog"
	"kitestream/bridge/mq"
)

// simMeta is etcd's side of a history: as new as what has been read of the queue, or newer by its lead. What is seen of it
// without asking may be older by its lag.
type simMeta struct {
	h         *history
	lead      uint64
	lag       uint64
	mu        sync.Mutex
	now       uint64
	seen      uint64
	changed   chan struct{}
	cached    *catalog.View
	live      bool                   // the source ticks on for ever
	forgotten uint64                 // what was written before is no longer in the queue
	anchor    map[string]mq.Position // by owner and channel: what the queue keeps
}

func newSimMeta(h *history, start, lead uint64) *simMeta {
	return &simMeta{h: h, lead: lead, now: start, seen: start, changed: make(chan struct{}), anchor: map[string]mq.Position{}}
}

func (m *simMeta) shown(ts uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ts+m.lead > m.now {
		m.now = ts + m.lead
		m.see(m.now - min(m.lag, m.now))
	}
}

// see has everybody see what etcd held at a time; mu is held.
func (m *simMeta) see(ts uint64) {
	if ts > m.seen {
		m.seen, m.cached = ts, nil
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

func (m *simMeta) time() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *simMeta) View() *catalog.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view()
}

func (m *simMeta) view() *catalog.View {
	if m.cached == nil {
		m.cached = m.h.view(m.seen)
	}
	return m.cached
}

func (m *simMeta) Sync(context.Context) (*catalog.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.see(m.now)
	return m.view(), nil
}

func (m *simMeta) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

func comparePositions(a, b mq.Position) int {
	return cmp.Compare(must(strconv.Atoi(string(a))), must(strconv.Atoi(string(b))))
}
