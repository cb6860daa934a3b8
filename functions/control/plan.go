package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"kitestream/functions/host"
	"kitestream/handlers"
	"kitestream/jetstream"
)

const (
	// describeTimeout bounds the questions to a bridge what the collections of a new task are like, all of them.
	describeTimeout = 3 * time.Second
	// planTimeout bounds the questions to workers what would become of them on a target.
	planTimeout = 6 * time.Second
)

// plan answers what a task would do.
func (s *Service) plan(ctx context.Context, c call) (any, error) {
	spec, err := readSpec(c)
	if err != nil {
		return nil, err
	}
	return s.lookAhead(ctx, spec), nil
}

// lookAhead finds what a task would do, as far as a bridge of its source and workers are there to tell.
func (s *Service) lookAhead(ctx context.Context, spec jetstream.TaskSpec) *PlanAnswer {
	a := &PlanAnswer{Name: spec.Name}
	var note string
	if a.Resolved, note = s.resolve(ctx, spec); a.Resolved == nil {
		a.Notes = append(a.Notes, note)
		return a
	}
	collect(checkPlaces(spec, a.Resolved.Matched), &a.Problems)
	raw, err := s.describe(ctx, spec)
	if err != nil {
		a.Notes = append(a.Notes, fmt.Sprintf("whether the collections fit was not looked at: %v", err))
		return a
	}
	creates, err := parseCreates(raw)
	if err == nil {
		err = checkRules(spec, creates)
	}
	collect(err, &a.Problems)
	if len(a.Problems) == 0 && len(raw) > 0 {
		s.planTargets(ctx, spec, raw, a)
	}
	return a
}

// describe asks a bridge what the collections are like that the task selects.
func (s *Service) describe(ctx context.Context, spec jetstream.TaskSpec) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	var all [][]byte
	req := host.DescribeRequest{Task: spec}
	for {
		var answer host.DescribeAnswer
		if err := s.ask(ctx, host.DescribeSubject(spec.Source), req, &answer); err != nil {
			return nil, fmt.Errorf("the bridge of source %s: %w", spec.Source, err)
		}
		if answer.Error != "" {
			return nil, fmt.Errorf("the bridge of source %s: %s", spec.Source, answer.Error)
		}
		all = append(all, answer.Creates...)
		if !answer.More {
			return all, nil
		}
		req.After = answer.Last
	}
}

// ask asks over core NATS and reads the answer.
func (s *Service) ask(ctx context.Context, subject string, req, answer any) error {
	m, err := s.cfg.NC.RequestWithContext(ctx, subject, encode(req))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return fmt.Errorf("said something that can't be read: %w", err)
	}
	return nil
}

func parseCreates(raw [][]byte) ([]*milvuspb.CreateCollectionRequest, error) {
	out := make([]*milvuspb.CreateCollectionRequest, len(raw))
	for i, b := range raw {
		out[i] = &milvuspb.CreateCollectionRequest{}
		if err := proto.Unmarshal(b, out[i]); err != nil {
			return nil, fmt.Errorf("read a collection of the source: %w", err)
		}
	}
	return out, nil
}

// planTargets has workers ask each target, all at once.
func (s *Service) planTargets(ctx context.Context, spec jetstream.TaskSpec, creates [][]byte, a *PlanAnswer) {
	a.Targets = make([]TargetPlan, len(spec.Targets))
	var g errgroup.Group
	for i, target := range spec.Targets {
		g.Go(func() error {
			t := &a.Targets[i]
			t.Name, t.URI = target.Name, target.URI
			plans, err := s.planTarget(ctx, spec, target, creates)
			if err != nil {
				t.Note = err.Error()
			}
			for _, p := range plans {
				t.Collections = append(t.Collections, viewPlan(p))
			}
			return nil
		})
	}
	_ = g.Wait() // what went wrong is in the notes
	for i, t := range a.Targets {
		for _, c := range t.Collections {
			if c.refused() {
				a.Problems = append(a.Problems, Problem{Field: fmt.Sprintf("targets[%d]", i), Message: t.Name + " " + c.why()})
			}
		}
	}
}

// planTarget asks workers for plans, in as many requests as the messages' size wants.
func (s *Service) planTarget(ctx context.Context, spec jetstream.TaskSpec, target jetstream.TargetSpec, creates [][]byte) ([]handlers.Plan, error) {
	ctx, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	var plans []handlers.Plan
	for len(creates) > 0 {
		n := fit(creates, int(s.cfg.NC.MaxPayload())/4) // an answer may say more than was asked
		var answer host.PlanAnswer
		err := s.ask(ctx, host.PlanSubject, host.PlanRequest{Task: spec, Target: target, Creates: creates[:n]}, &answer)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return plans, fmt.Errorf("no worker is running, so target %s was not asked what it can hold", target.Name)
		case err != nil:
			return plans, fmt.Errorf("no worker could ask target %s what it can hold: %w", target.Name, err)
		case answer.Error != "":
			return plans, fmt.Errorf("target %s could not be asked what it can hold: %s", target.Name, answer.Error)
		}
		plans = append(plans, answer.Plans...)
		creates = creates[n:]
	}
	return plans, nil
}

// fit is how many of the bodies, one at least, fit into so many bytes.
func fit(bodies [][]byte, room int) int {
	for i, b := range bodies {
		if room -= len(b); room < 0 && i > 0 {
			return i
		}
	}
	return len(bodies)
}

func viewPlan(p handlers.Plan) CollectionPlan {
	return CollectionPlan{
		Source: jetstream.QualifiedName(p.Source), Target: jetstream.QualifiedName(p.Target), Version: p.Version, Action: string(p.Action), Loaded: p.Loaded,
		Problems: slices.Concat(p.Problems, p.Differences), Warnings: p.Warnings,
	}
}

func (c CollectionPlan) refused() bool {
	return c.Action == string(handlers.ActionRefuse) || c.Action == string(handlers.ActionDiffers)
}

// why is why the collection can't be replicated.
func (c CollectionPlan) why() string {
	text := fmt.Sprintf("can't hold %s", c.Source)
	if c.Action == string(handlers.ActionDiffers) {
		text = fmt.Sprintf("has a collection %s already, which is not as %s is on the source", c.Target, c.Source)
	}
	return text + ": " + strings.Join(c.Problems, "; ")
}
