package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// LaneStatus is how far a lane of a target is, as the stream's server knows it.
type LaneStatus struct {
	Floor      uint64 // checkpoint: everything of the lane up to this stream sequence is applied
	Pending    uint64 // events that no worker has been given yet
	AckPending int    // events that a worker has been given, and that are not acked
	Consumer   string // empty when no worker has opened the lane yet, or the consumer was deleted by hand
}

// LaneState reads how far a lane is, for people and for deciding when a target has caught up: then Pending and
// AckPending are zero. ErrNotFound when there is no such task.
func LaneState(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, id LaneID) (LaneStatus, error) {
	c, err := newClaim(ctx, js, kv, id, 0)
	if err != nil {
		return LaneStatus{}, fmt.Errorf("read lane %s: %w", id, err)
	}
	s, err := c.state(ctx)
	if err != nil {
		return LaneStatus{}, fmt.Errorf("read lane %s: %w", id, err)
	}
	return s, nil
}

func (c *claim) state(ctx context.Context) (LaneStatus, error) {
	for {
		rec, revision, err := loadRecord[laneRecord](ctx, c.kv, c.id.record(laneKind))
		if err != nil {
			return LaneStatus{}, err
		}
		if revision == 0 || rec.Consumer == "" {
			return c.unopened(ctx, rec)
		}
		info, err := c.consumerState(ctx, rec.Consumer)
		if err == nil {
			return LaneStatus{
				Floor: max(rec.Floor, info.AckFloor.Stream), Pending: info.NumPending, AckPending: info.NumAckPending,
				Consumer: rec.Consumer,
			}, nil
		}
		if !errors.Is(err, natsjs.ErrConsumerNotFound) {
			return LaneStatus{}, err
		}
		// Deleted, by the lane's next holder or by hand: look whether the record has changed.
		_, now, err := loadRecord[laneRecord](ctx, c.kv, c.id.record(laneKind))
		if err != nil {
			return LaneStatus{}, err
		}
		if now == revision {
			return c.unopened(ctx, rec)
		}
	}
}

func (c *claim) consumerState(ctx context.Context, name string) (*natsjs.ConsumerInfo, error) {
	cons, err := c.stream.Consumer(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read consumer %s: %w", name, err)
	}
	return cons.CachedInfo(), nil
}

// unopened counts what is pending for a lane that has no consumer, by making one for a moment.
func (c *claim) unopened(ctx context.Context, rec laneRecord) (LaneStatus, error) {
	floor, err := durableFloor(ctx, c.kv, c.stream, c.id, rec)
	if err != nil {
		return LaneStatus{}, err
	}
	cfg := laneConsumer(c.id, floor)
	cfg.InactiveThreshold = time.Second
	cons, err := c.stream.CreateConsumer(ctx, cfg)
	if err != nil {
		return LaneStatus{}, fmt.Errorf("count pending events: %w", err)
	}
	info := cons.CachedInfo()
	_ = c.stream.DeleteConsumer(ctx, info.Name) // the server deletes it in a second
	return LaneStatus{Floor: floor, Pending: info.NumPending}, nil
}
