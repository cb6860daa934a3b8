package pulsar

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/apache/pulsar-client-go/pulsar"

	"kitestream/bridge/mq"
)

var errBusy = errors.New("the broker has not answered the last request yet")

// anchor is a durable subscription on one topic, from which nothing is ever received. The broker keeps what stands behind
// its mark, whatever the retention, but for the topic's time to live; and when that grows to the backlog quota, the broker
// refuses to take more from Milvus. The library keeps it connected: the broker drops a subscription that nobody is
// connected to after a while.
type anchor struct {
	mu       sync.Mutex // held while the broker is asked, which may be until close
	consumer atomic.Pointer[pulsar.Consumer]
}

// Release says that nothing before upTo is needed of a channel any more. With Config.Anchor, the broker keeps what stands at
// upTo and behind until it is called again, and from the first call on, which should come before the channel is read;
// without, it does nothing. A channel that is not there is no error. An error means that the broker still keeps more than
// it need: calling again later is right.
func (q *Queue) Release(ctx context.Context, channel string, upTo mq.Position) error {
	if !q.cfg.Anchor {
		return nil
	}
	at, err := parsePosition(upTo)
	if err == nil {
		err = checkChannel(channel)
	}
	if err == nil {
		err = q.ask(ctx, func() error { return q.anchor(channel).release(q.link, channel, at) })
	}
	if err != nil {
		return fmt.Errorf("release %s up to %s: %w", channel, upTo, err)
	}
	return nil
}

// Abandon gives up what Release keeps of a channel: it must be called when the channel is not going to be read any more, or
// the broker keeps everything for ever and in the end refuses Milvus's messages. It is an error, and right to call again
// later, as long as another process has the same anchor. It does nothing without Config.Anchor.
func (q *Queue) Abandon(ctx context.Context, channel string) error {
	if !q.cfg.Anchor {
		return nil
	}
	err := checkChannel(channel)
	if err == nil {
		err = q.ask(ctx, func() error { return q.anchor(channel).abandon(q.link, channel) })
	}
	if err != nil {
		return fmt.Errorf("abandon %s: %w", channel, err)
	}
	q.backlog.forget(channel)
	return nil
}

// anchor is the one of a channel.
func (q *Queue) anchor(channel string) *anchor {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.anchors[channel] == nil {
		q.anchors[channel] = &anchor{}
	}
	return q.anchors[channel]
}

// anchored are the channels that have one.
func (q *Queue) anchored() map[string]*anchor {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make(map[string]*anchor, len(q.anchors))
	for channel, a := range q.anchors {
		all[channel] = a
	}
	return all
}

// connect subscribes, unless that has been done. It reports false when there is no topic, and makes none.
func (a *anchor) connect(l *link, channel string) (bool, error) {
	if a.consumer.Load() != nil {
		return true, nil
	}
	e, err := l.extent(channel)
	if err != nil || !e.exists {
		return false, err
	}
	c, err := l.client.Subscribe(pulsar.ConsumerOptions{
		Topic:                       l.topic(channel),
		SubscriptionName:            l.cfg.AnchorName,
		SubscriptionInitialPosition: pulsar.SubscriptionPositionEarliest,
		Type:                        pulsar.Failover, // another process may be about to take over
		EnableZeroQueueConsumer:     true,            // nothing is sent
		AckWithResponse:             true,
	})
	if err != nil {
		return false, err
	}
	a.consumer.Store(&c)
	return true, nil
}

func (a *anchor) release(l *link, channel string, at mark) error {
	if !a.mu.TryLock() {
		return errBusy
	}
	defer a.mu.Unlock()
	// Opening at a position is inclusive, so its message is kept, and so is the last of the ledger before: the next call
	// will come.
	ok, err := a.connect(l, channel)
	if err != nil || !ok || at.entry == 0 {
		return err
	}
	return (*a.consumer.Load()).AckIDCumulative(pulsar.NewMessageID(at.ledger, at.entry-1, -1, 0))
}

func (a *anchor) abandon(l *link, channel string) error {
	if !a.mu.TryLock() {
		return errBusy
	}
	defer a.mu.Unlock()
	ok, err := a.connect(l, channel)
	if err != nil || !ok {
		return err
	}
	c := *a.consumer.Load()
	if err := c.Unsubscribe(); err != nil { // also when another process is connected: its client would make it again
		return err
	}
	c.Close()
	a.consumer.Store(nil)
	return nil
}

// closeAnchors ends what is under way and leaves the subscriptions in the broker.
func (q *Queue) closeAnchors() {
	for _, a := range q.anchored() {
		if c := a.consumer.Load(); c != nil {
			(*c).Close()
		}
	}
}
