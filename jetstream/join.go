package jetstream

import (
	"context"
	"errors"
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// BeginLane has a lane of a target that is about to join its task begin behind a sequence of the stream. Nobody may hold it, nor take
// it, before that is done. The error wraps ErrExists if somebody has held it.
func BeginLane(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, id LaneID, behind uint64) error {
	session := nuid.Next()
	_, _, err := alterRecord(ctx, js.Conn(), kv, id.record(laneKind), func(rec *laneRecord, rev uint64) (verdict, error) {
		switch {
		case rec.Session == session: // written a moment ago, and the answer was lost
			return keep, nil
		case rev != 0:
			return keep, ErrExists
		}
		*rec = laneRecord{Session: session, Floor: behind}
		return write, nil
	})
	if err != nil {
		return fmt.Errorf("have lane %s begin behind %d: %w", id, behind, err)
	}
	return nil
}

// ForgetTarget removes the consumers and the records of a target that has left its task, or never quite joined it. Nobody may hold one
// of its lanes.
func ForgetTarget(ctx context.Context, js natsjs.JetStream, kvs []natsjs.KeyValue, id TargetID) error {
	for _, kv := range kvs { // first: who still has a lane is fenced by it, and makes no consumer any more
		for _, keys := range []string{id.record("*"), id.record("*", ">")} {
			if err := purge(ctx, js, kv, keys); err != nil {
				return fmt.Errorf("forget target %s: %w", id, err)
			}
		}
	}
	s, err := openStream(ctx, js, id.Task.Name)
	if err != nil {
		return fmt.Errorf("forget target %s: %w", id, err)
	}
	names := s.ConsumerNames(ctx)
	var old []string
	for name := range names.Name() {
		if c, err := parseConsumerName(name); err == nil && c.target == id.Name {
			old = append(old, name)
		}
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("forget target %s: list consumers: %w", id, err)
	}
	for _, name := range old {
		if err := s.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, natsjs.ErrConsumerNotFound) {
			return fmt.Errorf("forget target %s: delete consumer %s: %w", id, name, err)
		}
	}
	return nil
}
