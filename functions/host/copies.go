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

// resnapshot answers when the rows of a collection have begun to be copied anew.
func (h *Bridges) resnapshot(ctx context.Context, b *bridge.Bridge, m *nats.Msg) {
	var req ResnapshotRequest
	var answer ResnapshotAnswer
	ctx, cancel := context.WithTimeout(ctx, resnapshotTimeout)
	defer cancel()
	if err := json.Unmarshal(m.Data, &req); err != nil {
		answer.Error = fmt.Sprintf("request is no JSON object: %v", err)
	} else if err := b.Resnapshot(ctx, req.Collection); err != nil {
		answer.Error = err.Error()
	}
	respond(m, answer)
}

// repair answers when the rows that were asked for are on the stream.
func (h *Bridges) repair(ctx context.Context, b *bridge.Bridge, m *nats.Msg) {
	var req bridge.RepairRequest
	var answer RepairAnswer
	ctx, cancel := context.WithTimeout(ctx, repairTimeout)
	defer cancel()
	err := json.Unmarshal(m.Data, &req)
	if err != nil {
		answer.Error = fmt.Sprintf("request is no JSON object: %v", err)
	} else if answer.Seq, err = b.Repair(ctx, req); err != nil {
		answer.Error = err.Error()
	}
	respond(m, answer)
}

// restate says that schemas are not published again yet; verify tells it to whoever wanted a repair.
func (h *Bridges) restate(_ context.Context, _ *bridge.Bridge, m *nats.Msg) {
	respond(m, RepairAnswer{Error: "this version repairs rows only: make partitions, indexes and aliases equal by hand on the target"})
}
