// Package pulsar reads the queue of a Milvus that runs on Apache Pulsar.
//
// Each channel is a topic without partitions, persistent://tenant/namespace/channel. A message's position is the ledger and
// the entry that hold it, its index in the entry's batch unless that is the first, and the time at which it was sent, as in
// "27:4@1763844204024". Pulsar keeps a topic as a row of ledgers, of which retention removes whole ones from the oldest on;
// it says nothing of that to a reader, which goes on at whatever is left.
//
// A reader reads through a subscription that is not durable, so it holds nothing back in the broker and leaves nothing
// behind. How it proves that nothing is missing, finds its place again and bounds what it holds is in DESIGN.md, and so
// are the permissions that it needs.
package pulsar

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"kitestream/bridge/mq"
)

// Queue is an mq.Queue over a client of Pulsar for itself and one for each reader.
type Queue struct {
	cfg  Config
	log  *slog.Logger
	link *link
	work sync.WaitGroup // requests under way on link

	mu      sync.Mutex
	closed  bool
	readers map[*reader]struct{}
	anchors map[anchorKey]*anchor

	backlog *backlog // nil without a way to ask for it
}

var _ mq.Queue = (*Queue)(nil)

// Log keys.
const (
	keyChannel = "channel"
	keyError   = "error"
)

// Connect makes a queue. That no broker answers yet is no error.
func Connect(cfg Config, log *slog.Logger) (*Queue, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure pulsar: %w", err)
	}
	l, err := dial(cfg, log)
	if err != nil {
		return nil, err
	}
	q := &Queue{cfg: cfg, log: log, link: l, readers: map[*reader]struct{}{}, anchors: map[anchorKey]*anchor{}}
	if cfg.Anchor && cfg.AdminURL != "" {
		if q.backlog, err = watchBacklog(cfg, log, q.anchored); err != nil {
			l.close()
			return nil, err
		}
	}
	return q, nil
}

// Open implements mq.Queue.
func (q *Queue) Open(ctx context.Context, channel string, from mq.Position) (mq.Reader, error) {
	if err := checkChannel(channel); err != nil {
		return nil, fmt.Errorf("open channel: %w", err)
	}
	var at place
	if from != "" {
		m, err := parsePosition(from)
		if err != nil {
			return nil, fmt.Errorf("open channel %s: %w", channel, err)
		}
		at = place{known: true, at: m}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, fmt.Errorf("open channel %s: %w", channel, mq.ErrClosed)
	}
	r := q.open(ctx, channel, at)
	q.readers[r] = struct{}{}
	return r, nil
}

// checkChannel refuses what is not the last part of a topic's name.
func checkChannel(channel string) error {
	if channel == "" || strings.ContainsAny(channel, "/ \t\r\n") {
		return fmt.Errorf("%q is not the name of a topic", channel)
	}
	return nil
}

// Last implements mq.Queue.
func (q *Queue) Last(ctx context.Context, channel string) (mq.Position, error) {
	if err := checkChannel(channel); err != nil {
		return "", fmt.Errorf("ask for the last message: %w", err)
	}
	answer := make(chan mq.Position, 1)
	err := q.ask(ctx, func() error {
		at, err := q.link.newest(channel)
		answer <- at
		return err
	})
	if err != nil {
		return "", fmt.Errorf("ask for the last message of %s: %w", channel, err)
	}
	return <-answer, nil
}

// ask calls what asks the broker and waits for it as long as ctx lets it, for the library takes none.
func (q *Queue) ask(ctx context.Context, call func() error) error {
	if !q.begin() {
		return mq.ErrClosed
	}
	answered := make(chan error, 1)
	go func() {
		defer q.work.Done()
		answered <- call()
	}()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin counts a request, unless the queue is closed.
func (q *Queue) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.work.Add(1)
	return true
}

// Close implements mq.Queue. It waits for the requests that are under way.
func (q *Queue) Close() error {
	var readers sync.WaitGroup
	for _, r := range q.shut() {
		readers.Go(func() { _ = r.Close() }) // never an error
	}
	readers.Wait()
	q.closeAnchors()
	q.backlog.stop()
	q.work.Wait()
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

// uniqueName is for a subscription, which the broker gives to one reader at a time.
func uniqueName() string { return subscriptionPrefix + "-" + rand.Text() }
