package jetstream

import (
	"context"
	"errors"
	"fmt"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// BeginLanes has the lanes of a target that is about to join its task begin behind a sequence of the stream. Nobody may hold one of
// them, nor take one, before it is done.
func BeginLanes(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, id TargetID, lanes int, behind uint64) error {
	for lane := range lanes {
		session := nuid.Next()
		_, _, err := alterRecord(ctx, js.Conn(), kv, id.Lane(lane).record(laneKind), func(rec *laneRecord, rev uint64) (verdict, error) {
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
			return fmt.Errorf("have lane %s begin behind %d: %w", id.Lane(lane), behind, err)
		}
	}
	return nil
}

// ForgetTarget removes the consumers and the records of a target that has left its task, or never quite joined it. Nobody may hold one
// of its lanes.
func ForgetTarget(ctx context.Context, js natsjs.JetStream, kvs []natsjs.KeyValue, id TargetID) error {
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
	for _, kv := range kvs {
		for _, keys := range []string{id.record("*"), id.record("*", ">")} {
			if err := purge(ctx, js, kv, keys); err != nil {
				return fmt.Errorf("forget target %s: %w", id, err)
			}
		}
	}
	return nil
}
