package host

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
)

// planTimeout bounds a plan; who asked gives up at about that time.
const planTimeout = 5 * time.Second

// answerPlans answers what would become of collections on a target, until it is told to stop, each request by itself: one target that does
// not answer holds up no other's plan.
func (h *Lanes) answerPlans(ctx context.Context) (stop func(), err error) {
	sub, err := h.cfg.NC.QueueSubscribe(PlanSubject, "workers", func(m *nats.Msg) {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, planTimeout)
			defer cancel()
			answer := PlanAnswer{Plans: []handlers.Plan{}}
			var req PlanRequest
			err := json.Unmarshal(m.Data, &req)
			if err == nil {
				answer.Plans, err = h.plan(ctx, req)
			}
			if err != nil {
				answer.Error = err.Error()
			}
			respond(m, answer)
		}()
	})
	if err != nil {
		return nil, fmt.Errorf("answer plans: %w", err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only with the connection
}

func (h *Lanes) plan(ctx context.Context, req PlanRequest) ([]handlers.Plan, error) {
	conn, err := h.cfg.Connect(ctx, req.Target)
	if err != nil {
		return nil, fmt.Errorf("connect to target %s: %w", req.Target.Name, err)
	}
	defer func() { _ = conn.Close() }()
	hs, err := handlers.New(conn, handlers.Options{Task: req.Task.Name, Target: req.Target.Name, Spec: req.Task, Until: neverEnds, Metrics: h.cfg.Apply, Log: h.cfg.Log})
	if err != nil {
		return nil, err
	}
	plans := make([]handlers.Plan, 0, len(req.Creates))
	for _, raw := range req.Creates {
		var create milvuspb.CreateCollectionRequest
		if err := proto.Unmarshal(raw, &create); err != nil {
			return nil, fmt.Errorf("read a collection of the request: %w", err)
		}
		p, err := hs.Plan(ctx, &create)
		if err != nil {
			return nil, err
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// neverEnds is for handlers that only look: no lease bounds them.
func neverEnds() time.Time { return time.Now().Add(time.Hour) }
