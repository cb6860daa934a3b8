// Package natsmq reads the queue of a Milvus that runs on its embedded NATS server ("natsmq").
//
// That server (2.9.17 in Milvus 2.3) is an ordinary JetStream server that listens on Milvus's natsmq port. Each channel
// is a file-backed stream with one subject, both named as the channel. A message's position is its stream sequence and
// the time at which the server stored it, as in "27@1763844204024594000". Streams are limited by age (three days by
// default) and may be purged: a reader notices by the sequences that it is given.
//
// A reader pulls through an ephemeral consumer without acknowledgements, so it leaves nothing behind in the server. How
// it keeps the order, proves that nothing is missing and finds its place again is in this package's part of
// bridge/mq/DESIGN.md, and so are the permissions that it needs.
package natsmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/bridge/mq"
)

// Queue is an mq.Queue over a NATS connection for itself and one for each reader.
type Queue struct {
	cfg  Config
	log  *slog.Logger
	link *link

	mu      sync.Mutex
	closed  bool
	readers map[*reader]struct{}
}

var _ mq.Queue = (*Queue)(nil)

// Log keys.
const (
	keyChannel = "channel"
	keyError   = "error"
	keyServer  = "server"
)

// Connect makes a queue and keeps its connection, for ever, from then on. That no server answers yet is no error.
func Connect(cfg Config, log *slog.Logger) (*Queue, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure natsmq: %w", err)
	}
	q := &Queue{cfg: cfg, log: log, readers: map[*reader]struct{}{}}
	var err error
	if q.link, err = dial(cfg, log, func() {}); err != nil {
		return nil, err
	}
	if err := q.link.up(); err != nil {
		log.Warn("natsmq does not answer, trying on", keyError, err)
	}
	return q, nil
}

// Open implements mq.Queue.
func (q *Queue) Open(_ context.Context, channel string, from mq.Position) (mq.Reader, error) {
	if channel == "" || strings.ContainsAny(channel, ". *>/\\\t\r\n") {
		return nil, fmt.Errorf("open channel %q: not the name of a NATS stream", channel)
	}
	r := newReader(q, channel)
	if from != "" {
		at, err := parsePosition(from)
		if err != nil {
			return nil, fmt.Errorf("open channel %s: %w", channel, err)
		}
		r.place = place{at: at}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, fmt.Errorf("open channel %s: %w", channel, mq.ErrClosed)
	}
	q.readers[r] = struct{}{}
	return r, nil
}

// Last implements mq.Queue.
func (q *Queue) Last(ctx context.Context, channel string) (mq.Position, error) {
	if q.link.nc.IsClosed() {
		return "", fmt.Errorf("ask for the last message of %s: %w", channel, mq.ErrClosed)
	}
	if err := q.link.up(); err != nil {
		return "", fmt.Errorf("ask for the last message of %s: %w", channel, err)
	}
	s, err := q.link.js.Stream(ctx, channel)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask for the last message of %s: %w", channel, q.link.explain(err))
	}
	state := s.CachedInfo().State
	if state.Msgs == 0 {
		return "", nil
	}
	return mark{seq: state.LastSeq, stamp: state.LastTime.UnixNano()}.position(), nil
}

// Close implements mq.Queue.
func (q *Queue) Close() error {
	for _, r := range q.shut() {
		_ = r.Close() // never an error
	}
	q.link.close()
	return nil
}

// shut lets no more readers in and returns those that are open.
func (q *Queue) shut() []*reader {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	open := make([]*reader, 0, len(q.readers))
	for r := range q.readers {
		open = append(open, r)
	}
	return open
}

// forget drops a closed reader.
func (q *Queue) forget(r *reader) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.readers, r)
}
