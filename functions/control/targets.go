package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/bridge"
	"kitestream/functions/host"
	"kitestream/handlers"
	"kitestream/jetstream"
)

// AddTargetRequest has a target join a task.
type AddTargetRequest struct {
	Name   string               `json:"name"`
	Target jetstream.TargetSpec `json:"target"`
}

// RemoveTargetRequest has a target leave a task. What it holds stays as it is.
type RemoveTargetRequest struct {
	Name   string `json:"name"`
	Target string `json:"target"`
}

// TargetAnswer is a task after a target has joined or left.
type TargetAnswer struct {
	Task Summary `json:"task"`
	Note string  `json:"note,omitempty"` // what of the target could not be looked at, and why
}

// AddTarget has a target join a task, and returns when that has begun: existing rows are copied to it while it follows; Wait waits for
// their end too.
func (c *Client) AddTarget(ctx context.Context, r AddTargetRequest) (*TargetAnswer, error) {
	return requestLong[TargetAnswer](ctx, c, subjectAddTarget, r)
}

// RemoveTarget has a target leave a task, and returns when nothing is written to it any more.
func (c *Client) RemoveTarget(ctx context.Context, r RemoveTargetRequest) (*TargetAnswer, error) {
	return requestLong[TargetAnswer](ctx, c, subjectRemoveTarget, r)
}

const welcomeTimeout = 30 * time.Second // for a bridge to tell a target everything but rows

// addTarget refuses what the target can't hold, as create does. Whatever ends it before the task's record has the target has changed
// nothing that matters: it can be asked for again.
func (s *Service) addTarget(ctx context.Context, c call) (any, error) {
	var r AddTargetRequest
	if err := decode(c.data, &r); err != nil {
		return nil, err
	}
	t, err := s.task(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	with := t.Spec
	with.Targets = append(slices.Clone(with.Targets), r.Target)
	if err := checkSpec(with); err != nil {
		return nil, invalid(err)
	}
	alone := t.Spec
	alone.Targets = []jetstream.TargetSpec{r.Target}
	ahead := s.lookAhead(ctx, alone)
	if len(ahead.Problems) > 0 {
		return nil, refusedFor(ahead.Problems)
	}
	for _, p := range ahead.Targets {
		if p.Note != "" {
			ahead.Notes = append(ahead.Notes, p.Note)
		}
	}
	err = s.aloneWith(ctx, t, r.Target.Name, func(ctx context.Context) (err error) {
		t, err = s.join(ctx, t, r.Target, ahead)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Log.Info("target added", "task", r.Name, "target", r.Target.Name)
	return TargetAnswer{Task: summary(t), Note: strings.Join(ahead.Notes, "; ")}, nil
}

// aloneWith does what may be done to the target by one process at a time.
func (s *Service) aloneWith(ctx context.Context, t *jetstream.Task, target string, fn func(context.Context) error) error {
	err := s.alone(ctx, "target."+t.ID+"."+target, fn)
	if errors.Is(err, jetstream.ErrHeld) {
		return refuse(CodeHeld, "target %s of task %s is being added or removed by another request", target, t.Spec.Name)
	}
	return err
}

// join has a target join. What an earlier target of that name has left goes first.
func (s *Service) join(ctx context.Context, t *jetstream.Task, spec jetstream.TargetSpec, ahead *PlanAnswer) (*jetstream.Task, error) {
	now, err := s.task(ctx, t.Spec.Name)
	if err != nil {
		return nil, err
	}
	if err := joinable(now, t.ID, spec.Name); err != nil {
		return nil, err
	}
	id := t.Ref().Target(spec.Name)
	held, err := s.cfg.Leases.Holders(ctx, id.LeasePrefix())
	if err != nil {
		return nil, err
	}
	for _, holder := range held {
		return nil, refuse(CodeHeld, "worker %s has not let go of an earlier target %s yet", holder, spec.Name)
	}
	if err := s.forgetTarget(ctx, id); err != nil {
		return nil, err
	}
	behind, err := s.welcome(ctx, now, spec.Name, existing(ahead))
	if err != nil {
		return nil, err
	}
	for lane := range t.Spec.Lanes {
		if err := jetstream.BeginLane(ctx, s.cfg.JS, s.cfg.Buckets.Lanes, id.Lane(lane), behind); err != nil {
			return nil, err
		}
	}
	if held, err := jetstream.StreamHolds(ctx, s.cfg.JS, t.Spec.Name); err == nil && held.First > behind+1 { // a stream that is full, and this took long
		return nil, refuse(CodeState, "the stream of task %s was trimmed while target %s was about to join: ask again", t.Spec.Name, spec.Name)
	}
	return s.cfg.Tasks.Update(ctx, t.Spec.Name, func(now *jetstream.Task) error {
		if slices.Contains(now.Spec.Targets, spec) { // written a moment ago, and the answer was lost
			return nil
		}
		if err := joinable(now, t.ID, spec.Name); err != nil {
			return err
		}
		now.Spec.Targets = append(now.Spec.Targets, spec)
		return nil
	})
}

// joinable says why a target can't join the task, of which the caller knows the id.
func joinable(t *jetstream.Task, id, target string) error {
	switch {
	case t.ID != id:
		return refuse(CodeState, "task %s was made anew meanwhile", t.Spec.Name)
	case t.State == jetstream.TaskDeleting:
		return refuse(CodeState, "task %s is being deleted", t.Spec.Name)
	case slices.ContainsFunc(t.Spec.Targets, func(s jetstream.TargetSpec) bool { return s.Name == target }):
		return refuse(CodeExists, "task %s has a target %s already", t.Spec.Name, target)
	}
	return promoting(t)
}

// existing are the collections of the source that some target has already, and of which it can be asked which rows.
func existing(ahead *PlanAnswer) (names []jetstream.QualifiedName) {
	for _, t := range ahead.Targets {
		for _, c := range t.Collections {
			if c.Action == string(handlers.ActionAdopt) && c.Loaded {
				names = append(names, c.Source)
			}
		}
	}
	return names
}

// welcome has the target told everything, and gives the sequence behind which it is to read. A task that copies nothing gives it the
// stream from its beginning.
func (s *Service) welcome(ctx context.Context, t *jetstream.Task, target string, existing []jetstream.QualifiedName) (uint64, error) {
	name := t.Spec.Name
	if t.Spec.Snapshot == jetstream.SnapshotNever {
		st, err := s.cfg.JS.Stream(ctx, jetstream.StreamName(name))
		switch {
		case errors.Is(err, natsjs.ErrStreamNotFound):
			return 0, nil // nothing has been published
		case err != nil:
			return 0, fmt.Errorf("open the stream of task %s: %w", name, err)
		case st.CachedInfo().State.FirstSeq > 1:
			return 0, refuse(CodeState, "task %s copies no existing rows (snapshot: never), and its stream does not hold its beginning any more: "+
				"make a task of its own for target %s, with snapshot: auto", name, target)
		}
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, welcomeTimeout)
	defer cancel()
	behind, err := s.requestBridge(ctx, name, host.WelcomeSubject(name), bridge.WelcomeRequest{Target: target, Prune: existing})
	if errors.Is(err, context.DeadlineExceeded) {
		err = refuse(CodeTimeout, "the bridge of task %s did not tell target %s everything in time", name, target)
	}
	return behind, err
}

func (s *Service) forgetTarget(ctx context.Context, id jetstream.TargetID) error {
	err := jetstream.ForgetTarget(ctx, s.cfg.JS, []natsjs.KeyValue{s.cfg.Buckets.Lanes, s.cfg.Buckets.Status}, id)
	if errors.Is(err, jetstream.ErrStreamGone) {
		return nil // nothing has been published, so nobody has read
	}
	return err
}

// removeTarget takes the target out of the task's record, and forgets it when its workers have let go. If they don't in time, that is
// left to whoever has a target of that name join.
func (s *Service) removeTarget(ctx context.Context, c call) (any, error) {
	var r RemoveTargetRequest
	if err := decode(c.data, &r); err != nil {
		return nil, err
	}
	t, err := s.task(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	err = s.aloneWith(ctx, t, r.Target, func(ctx context.Context) (err error) {
		t, err = s.leave(ctx, t, r.Target)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Log.Info("target removed", "task", r.Name, "target", r.Target)
	return TargetAnswer{Task: summary(t)}, nil
}

func (s *Service) leave(ctx context.Context, t *jetstream.Task, target string) (*jetstream.Task, error) {
	id := t.Ref().Target(target)
	t, err := s.cfg.Tasks.Update(ctx, t.Spec.Name, func(now *jetstream.Task) error {
		left := slices.DeleteFunc(slices.Clone(now.Spec.Targets), func(s jetstream.TargetSpec) bool { return s.Name == target })
		switch {
		case now.ID != id.Task.ID || now.State == jetstream.TaskDeleting:
			return refuse(CodeState, "task %s is being deleted or was made anew", now.Spec.Name)
		case len(left) == len(now.Spec.Targets):
			return invalidField("target", "task %s has no target %q", now.Spec.Name, target)
		case len(left) == 0:
			return refuse(CodeState, "%s is the only target of task %s: delete the task instead", target, now.Spec.Name)
		}
		if err := promoting(now); err != nil {
			return err
		}
		now.Spec.Targets = left
		delete(now.Rewinds, target)
		return nil
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.TTL+gracePeriod)
	defer cancel()
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		held, err := s.cfg.Leases.Holders(ctx, id.LeasePrefix())
		if err == nil && len(held) == 0 {
			return t, s.forgetTarget(ctx, id)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, refuse(CodeHeld, "target %s is no longer the task's, but workers have not let go of it yet", target)
		}
	}
}
