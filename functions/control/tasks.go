package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"kitestream/functions/host"
	"kitestream/jetstream"
)

// resolveTimeout bounds the question to a bridge which collections a new task selects.
const resolveTimeout = 3 * time.Second

// readSpec is the task that a request has, which is well formed.
func readSpec(c call) (jetstream.TaskSpec, error) {
	var spec jetstream.TaskSpec
	if err := decode(c.data, &spec); err != nil {
		return spec, err
	}
	spec = spec.WithDefaults()
	return spec, checkSpec(spec)
}

// create keeps a new task. What it will do is looked at before: what that shows to be wrong is refused. A source without a
// bridge, or targets without a worker, do not stop it.
func (s *Service) create(ctx context.Context, c call) (any, error) {
	spec, err := readSpec(c)
	if err != nil {
		return nil, err
	}
	ahead := s.lookAhead(ctx, spec)
	if len(ahead.Problems) > 0 {
		return nil, refusedFor(ahead.Problems)
	}
	task, err := s.cfg.Tasks.Create(ctx, spec, existing(ahead)...)
	if errors.Is(err, jetstream.ErrExists) {
		return nil, s.taken(ctx, spec.Name)
	}
	if err != nil {
		return nil, err
	}
	s.cfg.Log.Info("task created", "task", task.Spec.Name, "id", task.ID)
	for _, t := range ahead.Targets {
		if t.Note != "" {
			ahead.Notes = append(ahead.Notes, t.Note)
		}
	}
	return CreateAnswer{Task: summary(task), Resolved: ahead.Resolved, Note: strings.Join(ahead.Notes, "; ")}, nil
}

func (s *Service) taken(ctx context.Context, name string) *Error {
	e := refuse(CodeExists, "there is a task named %s already", name)
	if t, err := s.cfg.Tasks.Get(ctx, name); err == nil && t.State == jetstream.TaskDeleting {
		e = refuse(CodeExists, "the task named %s is still being deleted", name)
		e.Do = "ask again when it is gone: 'kitestream task delete " + name + "' returns then"
	}
	e.Field = "name"
	return e
}

// resolve asks a bridge of the source which collections the task selects.
func (s *Service) resolve(ctx context.Context, spec jetstream.TaskSpec) (resolved *Resolved, note string) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	m, err := s.cfg.NC.RequestWithContext(ctx, host.ResolveSubject(spec.Source), encode(spec))
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Sprintf("no bridge of source %s is running: nothing is captured until one is", spec.Source)
	}
	if err != nil {
		return nil, fmt.Sprintf("the bridge of source %s did not say which collections are selected: %v", spec.Source, err)
	}
	var answer host.ResolveAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fmt.Sprintf("the bridge of source %s said something that can't be read: %v", spec.Source, err)
	}
	if answer.Error != "" {
		return nil, fmt.Sprintf("the bridge of source %s could not say which collections are selected: %s", spec.Source, answer.Error)
	}
	return &Resolved{Matched: append([]jetstream.QualifiedName{}, answer.Matched...), Missing: answer.Missing, Empty: answer.Empty}, ""
}

// list shows the tasks by their records and their bridges' leases.
func (s *Service) list(ctx context.Context, c call) (any, error) {
	if len(c.data) > 0 {
		if err := decode(c.data, &ListRequest{}); err != nil {
			return nil, err
		}
	}
	answer := ListAnswer{Tasks: []Summary{}}
	tasks, err := s.cfg.Tasks.List(ctx)
	if errors.Is(err, jetstream.ErrMalformed) {
		answer.Note, err = err.Error(), nil
	}
	if err != nil {
		return nil, err
	}
	holders, err := s.cfg.Leases.Holders(ctx, bridgeLeases)
	if err != nil {
		return nil, fmt.Errorf("read who holds the bridges: %w", err)
	}
	for i := range tasks {
		sum, err := s.glance(ctx, &tasks[i], holders)
		if err != nil {
			return nil, err
		}
		answer.Tasks = append(answer.Tasks, sum)
	}
	return answer, nil
}

// glance is a task's summary with what its bridge says, without a look at its lanes.
func (s *Service) glance(ctx context.Context, t *jetstream.Task, holders map[string]string) (Summary, error) {
	f := &facts{at: time.Now(), task: t, holder: holders[jetstream.BridgeLease(t.Spec.Name)]}
	st, err := jetstream.BridgeStatusOf(ctx, s.cfg.Buckets.Status, t.Ref())
	if err == nil {
		f.bridge = &st
	} else if !errors.Is(err, jetstream.ErrNotFound) {
		return Summary{}, err
	}
	return f.view().Summary, nil
}

// named reads a NameRequest and the task that it names.
func (s *Service) named(ctx context.Context, c call) (*jetstream.Task, error) {
	var r NameRequest
	if err := decode(c.data, &r); err != nil {
		return nil, err
	}
	return s.task(ctx, r.Name)
}

func (s *Service) task(ctx context.Context, name string) (*jetstream.Task, error) {
	if name == "" {
		return nil, invalidField("name", "name: is missing")
	}
	t, err := s.cfg.Tasks.Get(ctx, name)
	if errors.Is(err, jetstream.ErrNotFound) {
		e := refuse(CodeNotFound, "there is no task named %q", name)
		e.Field = "name"
		return nil, e
	}
	return t, err
}

func (s *Service) get(ctx context.Context, c call) (any, error) {
	t, err := s.named(ctx, c)
	if err != nil {
		return nil, err
	}
	f, err := s.look(ctx, t)
	if err != nil {
		return nil, err
	}
	return f.view(), nil
}

// pause keeps workers from applying. The bridge goes on: what the source's queue forgets is on the stream by then.
func (s *Service) pause(ctx context.Context, c call) (any, error) {
	t, err := s.named(ctx, c)
	if err != nil {
		return nil, err
	}
	t, err = s.cfg.Tasks.Update(ctx, t.Spec.Name, func(t *jetstream.Task) error {
		if t.State != jetstream.TaskRunning {
			return refuse(CodeState, "task %s is %s: only a running one can be paused", t.Spec.Name, t.State)
		}
		if err := promoting(t); err != nil {
			return err
		}
		t.State = jetstream.TaskPaused
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Log.Info("task paused", "task", t.Spec.Name)
	return ChangeAnswer{Task: summary(t)}, nil
}

// resume lets workers apply again, and has stopped collections tried again. On a running task it does the latter alone.
func (s *Service) resume(ctx context.Context, c call) (any, error) {
	t, err := s.named(ctx, c)
	if err != nil {
		return nil, err
	}
	if t.State == jetstream.TaskDeleting {
		return nil, refuse(CodeState, "task %s is being deleted", t.Spec.Name)
	}
	if err := promoting(t); err != nil {
		return nil, err
	}
	retried, err := s.retryStopped(ctx, t)
	if err != nil {
		return nil, err
	}
	if t.State == jetstream.TaskRunning {
		if retried == 0 {
			return nil, refuse(CodeState, "task %s is running, and no collection of it is stopped, no setting refused: there is nothing to resume", t.Spec.Name)
		}
		return ChangeAnswer{Task: summary(t), Retried: retried}, nil
	}
	t, err = s.cfg.Tasks.Update(ctx, t.Spec.Name, func(t *jetstream.Task) error {
		if t.State != jetstream.TaskPaused {
			return refuse(CodeState, "task %s is %s: only a paused one can be resumed", t.Spec.Name, t.State)
		}
		if err := promoting(t); err != nil {
			return err
		}
		t.State = jetstream.TaskRunning
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Log.Info("task resumed", "task", t.Spec.Name, "retried", retried)
	return ChangeAnswer{Task: summary(t), Retried: retried}, nil
}

// retryStopped has every stopped collection and every refused setting of every target tried again.
func (s *Service) retryStopped(ctx context.Context, t *jetstream.Task) (retried int, err error) {
	for _, target := range t.Spec.Targets {
		id := t.Ref().Target(target.Name)
		stops, err := jetstream.OpenStops(ctx, s.cfg.JS, s.cfg.Buckets.Lanes, id)
		if err != nil {
			return retried, err
		}
		n, err := stops.MarkRetries(ctx)
		retried += n
		if err != nil {
			return retried, err
		}
		n, err = s.retryUnmet(ctx, id)
		retried += n
		if err != nil {
			return retried, err
		}
	}
	return retried, nil
}

func (s *Service) retryUnmet(ctx context.Context, id jetstream.TargetID) (retried int, err error) {
	unmets, err := jetstream.OpenUnmets(ctx, s.cfg.JS, s.cfg.Buckets.Lanes, id)
	if err != nil {
		return 0, err
	}
	for _, u := range unmets.List() {
		if u.Retry {
			continue
		}
		err := unmets.MarkRetry(ctx, u.Setting)
		if err != nil && !errors.Is(err, jetstream.ErrNotFound) {
			return retried, err
		}
		retried++
	}
	return retried, nil
}
