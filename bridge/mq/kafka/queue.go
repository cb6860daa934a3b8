// Package kafka reads the queue of a Milvus that runs on Kafka.
//
// Each channel is a topic, and Milvus writes to partition 0 of it whatever other partitions it has. A message's position
// is its offset and its timestamp, as in "27@1763844204024". Kafka removes messages by age or size (its retention, seven
// days by default), and whoever may delete records or topics can; a reader notices, since it insists on the offset
// that comes next.
//
// A reader fetches from the partition's leader without a consumer group, so it leaves nothing behind in the broker. How
// it keeps the order, proves that nothing is missing and finds its place again is in DESIGN.md in this folder, and so
// are the permissions that it needs.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"kitestream/bridge/mq"
)

// Queue is an mq.Queue with a Kafka client for itself and one for each reader.
type Queue struct {
	cfg  Config
	log  *slog.Logger
	opts []kgo.Opt
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
)

// Connect makes a queue. It connects to nobody yet: a reader does, and says in the log when no broker answers.
func Connect(cfg Config, log *slog.Logger) (*Queue, error) { return connect(cfg, log) }

// connect is Connect with further options for the clients.
func connect(cfg Config, log *slog.Logger, opts ...kgo.Opt) (*Queue, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure kafka: %w", err)
	}
	l, err := dial(cfg, nil, opts...)
	if err != nil {
		return nil, err
	}
	return &Queue{cfg: cfg, log: log, opts: opts, link: l, readers: map[*reader]struct{}{}}, nil
}

// Open implements mq.Queue. The files named by the configuration are read anew for each reader.
func (q *Queue) Open(ctx context.Context, channel string, from mq.Position) (mq.Reader, error) {
	if !isTopic(channel) {
		return nil, fmt.Errorf("open channel %q: not the name of a Kafka topic", channel)
	}
	var at place
	if from != "" {
		m, err := parsePosition(from)
		if err != nil {
			return nil, fmt.Errorf("open channel %s: %w", channel, err)
		}
		at = place{at: m, known: true}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, fmt.Errorf("open channel %s: %w", channel, mq.ErrClosed)
	}
	l, err := dial(q.cfg, nil, q.opts...)
	if err != nil {
		return nil, fmt.Errorf("open channel %s: %w", channel, err)
	}
	r := newReader(q, channel, l)
	r.place = at
	q.readers[r] = struct{}{}
	r.start(ctx)
	return r, nil
}

// isTopic reports whether Kafka would let a topic have that name.
func isTopic(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return name != "" && len(name) <= 249 && name != "." && name != ".." && strings.Trim(name, letters) == ""
}

// Last implements mq.Queue.
func (q *Queue) Last(ctx context.Context, channel string) (mq.Position, error) {
	if !isTopic(channel) {
		return "", fmt.Errorf("ask for the last message of %q: not the name of a Kafka topic", channel)
	}
	p, err := q.link.last(ctx, channel)
	switch {
	case errors.Is(err, kgo.ErrClientClosed) || err != nil && q.isClosed():
		return "", fmt.Errorf("ask for the last message of %s: %w", channel, mq.ErrClosed)
	case err != nil:
		return "", fmt.Errorf("ask for the last message of %s: %w", channel, err)
	}
	return p, nil
}

// Close implements mq.Queue.
func (q *Queue) Close() error {
	open := q.shut()
	q.link.close()
	for _, r := range open {
		_ = r.Close() // never an error
	}
	return nil
}

func (q *Queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
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
