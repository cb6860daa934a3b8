package bridge_test

import (
	"sync"

	"kitestream/bridge/catalog"
	"kitestream/bridge/mq"
)

// simMeta is etcd's side of a history: always as new as what has been read of the queue, or newer.
type simMeta struct {
	h       *history
	lead    uint64
	mu      sync.Mutex
	now     uint64
	changed chan struct{}
	cached  *catalog.View
	anchor  map[string]mq.Position // by owner and channel: what the queue keeps
}

func newSimMeta(h *history, start, lead uint64) *simMeta {
	return &simMeta{h: h, lead: lead, now: start, changed: make(chan struct{}), anchor: map[string]mq.Position{}}
}

func (m *simMeta) shown(ts uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ts+m.lead > m.now {
		m.now, m.cached = ts+m.lead, nil
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

func (m *simMeta) View() *catalog.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cached == nil {
		m.cached = m.h.view(m.now)
	}
	return m.cached
}

func (m *simMeta) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}
