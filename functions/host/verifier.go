package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"kitestream/bridge"
	"kitestream/bridge/scan"
	"kitestream/functions/verify"
	"kitestream/handlers"
	"kitestream/jetstream"
)

// VerifierConfig is what a process needs to compare targets with their source. Every field must be set.
type VerifierConfig struct {
	NC      *nats.Conn
	Buckets *jetstream.Buckets
	Leases  *jetstream.Leases
	Tasks   *jetstream.Tasks
	Source  string                                                            // the name that tasks give
	Connect func(ctx context.Context, t jetstream.TargetSpec) (Target, error) // opens a target cluster
	Read    Readers
	Wait    Waiter
	Holder  string // this process
	Log     *slog.Logger
	Metrics *Metrics
	Apply   *handlers.Metrics
}

// Waiter returns when a task's target has all that the source holds now. It says what it waits for, and calls synced as soon as it is
// settled what that is.
type Waiter func(ctx context.Context, target jetstream.TargetID, say func(string), synced func()) error

// Readers open what is compared, for reading.
type Readers struct {
	Source func(ctx context.Context) (*scan.Client, error)
	Target func(ctx context.Context, t jetstream.TargetSpec) (*scan.Client, error)
}

// Verifier compares targets with their source: when it is asked to, and as often as tasks say. Any number of them may run for a
// source.
type Verifier struct {
	cfg  VerifierConfig
	room chan struct{} // one for each request that is being answered
}

// maxVerifies is how many requests a process answers at once. Each reads both sides as fast as they give.
const maxVerifies = 4

// NewVerifier makes a verifier; it does nothing until Run.
func NewVerifier(cfg VerifierConfig) *Verifier {
	return &Verifier{cfg: cfg, room: make(chan struct{}, maxVerifies)}
}

// Run answers and looks what is due, until ctx ends and what was begun has been given up.
func (v *Verifier) Run(ctx context.Context) error {
	var answers sync.WaitGroup
	defer answers.Wait()
	sub, err := v.cfg.NC.QueueSubscribe(VerifySubject(v.cfg.Source), "workers", func(m *nats.Msg) {
		answers.Go(func() { v.answer(ctx, m) })
	})
	if err != nil {
		return fmt.Errorf("answer for source %s: %w", v.cfg.Source, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only with the connection
	return v.schedule(ctx)
}

// answer verifies for somebody, as long as somebody waits for it.
func (v *Verifier) answer(ctx context.Context, m *nats.Msg) {
	select {
	case v.room <- struct{}{}:
		defer func() { <-v.room }()
	default:
		respond(m, VerifyAnswer{Error: fmt.Sprintf("worker %s is at %d verifications already: ask again later", v.cfg.Holder, maxVerifies)})
		return
	}
	var req VerifyRequest
	if err := json.Unmarshal(m.Data, &req); err != nil {
		respond(m, VerifyAnswer{Error: fmt.Sprintf("request can't be read: %v", err)})
		return
	}
	caller, ctx, stop, err := Attend(ctx, v.cfg.NC, m.Reply)
	if err != nil {
		respond(m, VerifyAnswer{Error: err.Error()})
		return
	}
	report, err := v.verify(ctx, req, caller.Say)
	stop()
	if err != nil {
		respond(m, VerifyAnswer{Error: err.Error()})
		return
	}
	respond(m, v.fitting(report))
}

// fitting is the answer, with as many differences as fit a message.
func (v *Verifier) fitting(report *verify.Report) VerifyAnswer {
	answer := VerifyAnswer{Report: report}
	for most := 1 << 10; most > 0; most /= 2 {
		if raw, err := json.Marshal(answer); err != nil || len(raw) <= int(v.cfg.NC.MaxPayload())*3/4 {
			break
		}
		report.Trim(most / 2)
	}
	return answer
}

// verify compares, and keeps the verdict if it is about all of the target.
func (v *Verifier) verify(ctx context.Context, req VerifyRequest, say func(string)) (*verify.Report, error) {
	t, err := v.cfg.Tasks.Get(ctx, req.Task)
	if err != nil {
		return nil, err
	}
	if t.ID != req.ID {
		return nil, fmt.Errorf("task %s was made anew meanwhile", req.Task)
	}
	report, err := v.compare(ctx, t, req, say)
	if err != nil {
		return nil, err
	}
	if req.whole() {
		v.keep(ctx, t.Ref().Target(req.Target), verdictOf(report))
	}
	return report, nil
}

// compare opens both sides and compares them.
func (v *Verifier) compare(ctx context.Context, t *jetstream.Task, req VerifyRequest, say func(string)) (report *verify.Report, err error) {
	i := slices.IndexFunc(t.Spec.Targets, func(s jetstream.TargetSpec) bool { return s.Name == req.Target })
	if i < 0 {
		return nil, fmt.Errorf("task %s has no target %q", req.Task, req.Target)
	}
	spec := t.Spec.Targets[i]
	conn, err := v.cfg.Connect(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("connect to target %s: %w", spec.Name, err)
	}
	defer func() { _ = conn.Close() }()
	hs, err := handlers.New(conn, handlers.Options{Task: req.Task, Target: spec.Name, Spec: t.Spec, Until: neverEnds, Metrics: v.cfg.Apply, Log: v.cfg.Log})
	if err != nil {
		return nil, err
	}
	src, err := v.cfg.Read.Source(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to source %s: %w", v.cfg.Source, err)
	}
	defer func() { _ = src.Close() }()
	dst, err := v.cfg.Read.Target(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("connect to target %s: %w", spec.Name, err)
	}
	defer func() { _ = dst.Close() }()
	cfg := verify.Config{
		Task: t.Spec, Target: spec.Name, Source: src, Dest: dst, Plan: hs.Plan, Collections: req.Collections,
		Sample: req.Sample, Seed: req.Seed, Search: req.Search, Progress: func(p verify.Progress) { say(p.String()) },
		Wait: func(ctx context.Context, synced func()) error {
			return v.cfg.Wait(ctx, t.Ref().Target(spec.Name), say, synced)
		},
	}
	if req.Repair {
		cfg.Repair = func(ctx context.Context, r bridge.RepairRequest) error {
			return v.askBridge(ctx, RepairSubject(req.Task), r)
		}
		cfg.Restate = func(ctx context.Context, r bridge.RestateRequest) error {
			return v.askBridge(ctx, RestateSubject(req.Task), r)
		}
	}
	return verify.Run(ctx, cfg)
}

const (
	repairTimeout = time.Minute      // for a bridge to put rows onto the stream
	bridgeAway    = 30 * time.Second // for another to take a bridge over
)

// askBridge asks the task's bridge, as soon as there is one.
func (v *Verifier) askBridge(ctx context.Context, subject string, req any) error {
	raw, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	for end := time.Now().Add(bridgeAway); ; {
		err := v.askOnce(ctx, subject, raw)
		if !errors.Is(err, nats.ErrNoResponders) || time.Now().After(end) {
			return err
		}
		select {
		case <-time.After(lookRound):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (v *Verifier) askOnce(ctx context.Context, subject string, raw []byte) error {
	ctx, cancel := context.WithTimeout(ctx, repairTimeout)
	defer cancel()
	m, err := v.cfg.NC.RequestWithContext(ctx, subject, raw)
	if err != nil {
		return fmt.Errorf("ask the task's bridge: %w", err)
	}
	var answer BridgeAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("read the answer of the task's bridge: %w", err)
	}
	if answer.Error != "" {
		return fmt.Errorf("the task's bridge: %s", answer.Error)
	}
	return nil
}
