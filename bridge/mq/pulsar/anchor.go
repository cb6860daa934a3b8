package pulsar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	anchorKey
	mu       sync.Mutex // held while the broker is asked, which may be until close
	consumer atomic.Pointer[pulsar.Consumer]
}

// anchorKey names an anchor.
type anchorKey struct{ owner, channel string }

// subscription is the anchor's name in the broker.
func (k anchorKey) subscription(c Config) string { return c.AnchorName + "-" + k.owner }

// Release implements mq.Anchored. A channel that is not there is no error.
func (q *Queue) Release(ctx context.Context, owner, channel string, upTo mq.Position) error {
	if !q.cfg.Anchor {
		return nil
	}
	at, err := parsePosition(upTo)
	if err == nil {
		err = checkChannel(channel)
	}
	if err == nil {
		err = q.ask(ctx, func() error { return q.anchor(owner, channel).release(q.link, at) })
	}
	if err != nil {
		return fmt.Errorf("release %s up to %s: %w", channel, upTo, err)
	}
	return nil
}

// Abandon implements mq.Anchored. It is an error, and right to call again later, as long as another process has the same
// anchor. An anchor that is forgotten has the broker refuse Milvus's messages in the end.
func (q *Queue) Abandon(ctx context.Context, owner, channel string) error {
	if !q.cfg.Anchor {
		return nil
	}
	err := checkChannel(channel)
	if err == nil {
		err = q.ask(ctx, func() error { return q.anchor(owner, channel).abandon(q.link) })
	}
	if err != nil {
		return fmt.Errorf("abandon %s: %w", channel, err)
	}
	q.drop(anchorKey{owner, channel})
	return nil
}

// Leave implements mq.Anchored.
func (q *Queue) Leave(owner string) {
	for _, a := range q.anchored() {
		if a.owner == owner {
			a.leave()
			q.drop(a.anchorKey)
		}
	}
}

// anchor is an owner's anchor on a channel.
func (q *Queue) anchor(owner, channel string) *anchor {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := anchorKey{owner, channel}
	if q.anchors[key] == nil {
		q.anchors[key] = &anchor{anchorKey: key}
	}
	return q.anchors[key]
}

// drop forgets an anchor that has no connection any more.
func (q *Queue) drop(key anchorKey) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.anchors, key)
	q.backlog.forget(key)
}

// anchored are all anchors.
func (q *Queue) anchored() []*anchor {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Collect(maps.Values(q.anchors))
}

// connect subscribes, unless that has been done. It reports false when there is no topic, and makes none.
func (a *anchor) connect(l *link) (bool, error) {
	if a.consumer.Load() != nil {
		return true, nil
	}
	e, err := l.extent(a.channel)
	if err != nil || !e.exists {
		return false, err
	}
	c, err := l.client.Subscribe(pulsar.ConsumerOptions{
		Topic:                       l.topic(a.channel),
		SubscriptionName:            a.subscription(l.cfg),
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

func (a *anchor) release(l *link, at mark) error {
	if !a.mu.TryLock() {
		return errBusy
	}
	defer a.mu.Unlock()
	// Opening at a position is inclusive, so its message is kept, and so is the last of the ledger before: the next call
	// will come.
	ok, err := a.connect(l)
	if err != nil || !ok || at.entry == 0 {
		return err
	}
	return (*a.consumer.Load()).AckIDCumulative(pulsar.NewMessageID(at.ledger, at.entry-1, -1, 0))
}

func (a *anchor) abandon(l *link) error {
	if !a.mu.TryLock() {
		return errBusy
	}
	defer a.mu.Unlock()
	ok, err := a.connect(l)
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

// leave closes the connection; the subscription stays in the broker.
func (a *anchor) leave() {
	if c := a.consumer.Swap(nil); c != nil {
		(*c).Close()
	}
}

// closeAnchors ends what is under way and leaves the subscriptions in the broker.
func (q *Queue) closeAnchors() {
	for _, a := range q.anchored() {
		a.leave()
	}
}

var _ mq.Anchored = (*Queue)(nil)
