package pulsar

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/apache/pulsar-client-go/pulsar"
	"github.com/apache/pulsar-client-go/pulsar/backoff"
	pulsarlog "github.com/apache/pulsar-client-go/pulsar/log"

	"kitestream/bridge/mq"
)

// subscriptionPrefix begins the names of the subscriptions that readers have at the broker while they are connected.
const subscriptionPrefix = "kitestream"

// link is one client of the broker. Each reader has its own, and so a connection of its own: the library reads and
// unpacks all messages of a connection on one goroutine. Its calls block for up to requestTimeout.
type link struct {
	cfg    Config
	client pulsar.Client
	last   *complaint
}

// dial makes a link. It does not connect yet.
func dial(cfg Config, log *slog.Logger) (*link, error) {
	n := newNotes(log)
	o := cfg.options()
	o.Logger = pulsarlog.NewLoggerWithSlog(slog.New(n))
	began := time.Now()
	client, err := pulsar.NewClient(o)
	if err != nil {
		return nil, fmt.Errorf("make a Pulsar client: %w", n.last.explain(err, began))
	}
	return &link{cfg: cfg, client: client, last: n.last}, nil
}

func (l *link) close() { l.client.Close() }

// topic is the full name of a channel.
func (l *link) topic(channel string) string { return l.prefix() + channel }

func (l *link) prefix() string {
	return "persistent://" + l.cfg.Tenant + "/" + l.cfg.Namespace + "/"
}

// extent is what there is of a channel.
type extent struct {
	exists bool
	empty  bool // holds no message
	last   mark // the newest, which ends its batch
}

// extent asks how far a channel has got, without making it: a subscription by pattern is the one call of the library that
// looks which topics exist, where a reader (or a lookup of the last message, which needs one) would have the broker create
// the topic if it is set to.
func (l *link) extent(channel string) (extent, error) {
	began := time.Now()
	probe, err := l.client.Subscribe(pulsar.ConsumerOptions{
		TopicsPattern:     l.prefix() + regexp.QuoteMeta(channel) + "$",
		SubscriptionName:  uniqueName(),
		SubscriptionMode:  pulsar.NonDurable,
		ReceiverQueueSize: 1,
	})
	if err != nil {
		return extent{}, fmt.Errorf("look up topic %s: %w", channel, l.last.explain(err, began))
	}
	defer probe.Close()
	ids, err := probe.GetLastMessageIDs()
	switch {
	case err != nil:
		return extent{}, fmt.Errorf("look up the last message of %s: %w", channel, l.last.explain(err, began))
	case len(ids) == 0:
		return extent{}, nil
	case len(ids) > 1:
		return extent{}, fmt.Errorf("look up topic %s: it has %d partitions, and no order over them", channel, len(ids))
	}
	if ids[0].EntryID() < 0 {
		return extent{exists: true, empty: true}, nil
	}
	return extent{exists: true, last: markOf(ids[0])}, nil
}

// source is a reader of the library, for one goroutine.
type source struct {
	pulsar.Reader
	left chan struct{} // closed when Next is not going to be called any more
}

// Close ends the source, once.
func (s *source) Close() {
	close(s.left)
	s.Reader.Close()
}

// read opens a channel at a mark, inclusive, or at its oldest message. Queue is how many messages the library may hold; it
// calls lost, which must end Next, when it has lost its connection and is about to go on by itself, at a place that nobody
// has checked.
func (l *link) read(channel string, from pulsar.MessageID, queue int, lost func()) (*source, error) {
	began := time.Now()
	left := make(chan struct{})
	r, err := l.client.CreateReader(pulsar.ReaderOptions{
		Topic:                   l.topic(channel),
		SubscriptionName:        uniqueName(),
		StartMessageID:          from,
		StartMessageIDInclusive: true,
		ReceiverQueueSize:       queue,
		BackoffPolicyFunc: func() backoff.Policy { // asked for at each reconnection
			lost()
			<-left // else the library would look for its place while Next changes it
			return giveUp{}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open topic %s: %w", channel, l.last.explain(err, began))
	}
	return &source{Reader: r, left: left}, nil
}

// look returns the first n messages at a place or behind it, which must be there.
func (l *link) look(ctx context.Context, channel string, from pulsar.MessageID, n int) ([]mark, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := l.read(channel, from, n, cancel)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	marks := make([]mark, n)
	for i := range marks {
		m, err := r.Next(ctx)
		if err != nil {
			return nil, fmt.Errorf("read a message of %s: %w", channel, err)
		}
		marks[i] = stamped(m)
	}
	return marks, nil
}

// stamped is the mark of a message.
func stamped(m pulsar.Message) mark {
	at := markOf(m.ID())
	at.stamp = m.PublishTime().UnixMilli()
	return at
}

// newest is a channel's last position, empty when there is none.
func (l *link) newest(channel string) (mq.Position, error) {
	e, err := l.extent(channel)
	if err != nil || !e.exists || e.empty {
		return "", err
	}
	return e.last.position(), nil
}

// giveUp is a policy for reconnecting: the library tries once and then leaves it to the reader, which closes it.
type giveUp struct{}

// Next implements backoff.Policy. A reader that is closed does not wait for it.
func (giveUp) Next() time.Duration { return time.Hour }

// IsMaxBackoffReached implements backoff.Policy.
func (giveUp) IsMaxBackoffReached() bool { return false }

// Reset implements backoff.Policy.
func (giveUp) Reset() {}
