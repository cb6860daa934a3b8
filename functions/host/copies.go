package host

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"kitestream/bridge"
)

// resnapshotTimeout is how long a bridge may take to begin a copy.
const resnapshotTimeout = 30 * time.Second

// sync answers when everything that the source held is on the stream.
func (h *Bridges) sync(ctx context.Context, b *bridge.Bridge, m *nats.Msg) {
	serve(ctx, m, SyncRequest.timeout, func(ctx context.Context, _ SyncRequest) error { return b.Sync(ctx) })
}

// resnapshot answers when the rows of a collection have begun to be copied anew.
func (h *Bridges) resnapshot(ctx context.Context, b *bridge.Bridge, m *nats.Msg) {
	limit := func(ResnapshotRequest) time.Duration { return resnapshotTimeout }
	serve(ctx, m, limit, func(ctx context.Context, req ResnapshotRequest) error { return b.Resnapshot(ctx, req.Collection) })
}

// serve has a bridge do what is asked for, within a time, and answers with what was in the way.
func serve[R any](ctx context.Context, m *nats.Msg, limit func(R) time.Duration, do func(context.Context, R) error) {
	var req R
	err := json.Unmarshal(m.Data, &req)
	if err != nil {
		err = fmt.Errorf("request is no JSON object: %w", err)
	} else {
		ctx, cancel := context.WithTimeout(ctx, limit(req))
		defer cancel()
		err = do(ctx, req)
	}
	var answer BridgeAnswer
	if err != nil {
		answer.Error = err.Error()
	}
	respond(m, answer)
}

// repair answers when the rows that were asked for are on the stream.
func (h *Bridges) repair(ctx context.Context, b *bridge.Bridge, m *nats.Msg) {
	publish(ctx, m, b.Repair)
}

// restate answers when what one target is to be told again is on the stream.
func (h *Bridges) restate(ctx context.Context, b *bridge.Bridge, m *nats.Msg) {
	publish(ctx, m, b.Restate)
}

// welcome answers when a target that is about to join has been told everything.
func (h *Bridges) welcome(ctx context.Context, b *bridge.Bridge, m *nats.Msg) {
	publish(ctx, m, b.Welcome)
}

// publish has a bridge publish what is asked for, and answers with where on the stream that ends.
func publish[R any](ctx context.Context, m *nats.Msg, do func(context.Context, R) (uint64, error)) {
	var answer BridgeAnswer
	var req R
	ctx, cancel := context.WithTimeout(ctx, repairTimeout)
	defer cancel()
	err := json.Unmarshal(m.Data, &req)
	if err != nil {
		answer.Error = fmt.Sprintf("request is no JSON object: %v", err)
	} else if answer.Seq, err = do(ctx, req); err != nil {
		answer.Error = err.Error()
	}
	respond(m, answer)
}
