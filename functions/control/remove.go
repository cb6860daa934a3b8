package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
)

const (
	lookAgain   = 100 * time.Millisecond // between looks at who still holds a task that is to go
	gracePeriod = 10 * time.Second       // for processes to let go of a task, besides the leases of dead ones
	stepTimeout = 10 * time.Second       // for one step of taking a task apart
	carryRound  = 5 * time.Second        // between looks for what another left undone
)

// remove marks a task for deletion and takes it apart. When that is not done in time the caller is told, and the task
// goes later: the mark is what counts.
func (s *Service) remove(ctx context.Context, c call) (any, error) {
	t, err := s.named(ctx, c)
	if err != nil {
		return nil, err
	}
	if t, err = s.mark(ctx, t); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.TTL+gracePeriod)
	defer cancel()
	for last := time.Now(); ; {
		if err := s.takeApart(ctx, t); err == nil {
			return ChangeAnswer{Task: summary(t)}, nil
		} else if !errors.Is(err, jetstream.ErrHeld) && ctx.Err() == nil {
			return nil, err
		}
		if time.Since(last) >= time.Second {
			last = time.Now()
			c.progress("the task is still being let go of")
		}
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return nil, s.stillHeld(context.WithoutCancel(ctx), t)
		}
	}
}

// mark marks this life of a task for deletion.
func (s *Service) mark(ctx context.Context, t *jetstream.Task) (*jetstream.Task, error) {
	if t.State == jetstream.TaskDeleting {
		return t, nil
	}
	id := t.ID
	t, err := s.cfg.Tasks.Update(ctx, t.Spec.Name, func(t *jetstream.Task) error {
		if t.ID != id { // deleted by another request and made anew: not the one that was asked for
			return jetstream.ErrNotFound
		}
		t.State = jetstream.TaskDeleting
		return nil
	})
	if err == nil {
		s.cfg.Log.Info("task is to be deleted", "task", t.Spec.Name, "id", t.ID)
	}
	return t, err
}

func (s *Service) stillHeld(ctx context.Context, t *jetstream.Task) *Error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	who := "some process"
	if holders, err := s.holders(ctx, t); err == nil {
		for _, h := range holders {
			who = h
		}
	}
	return refuse(CodeHeld, "task %s is marked for deletion and is still in the hands of %s", t.Spec.Name, who)
}

// carryOn ends what was begun and left, say by a control process that was killed: it takes apart what was marked for deletion,
// puts back what was marked for a rewind, and rolls promotions back.
func (s *Service) carryOn(ctx context.Context) error {
	timer := time.NewTicker(carryRound)
	defer timer.Stop()
	for {
		tasks, err := s.cfg.Tasks.List(ctx)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Debug("tasks not listed", "error", err)
		}
		for i := range tasks {
			if tasks[i].State != jetstream.TaskDeleting {
				s.carryRewinds(ctx, &tasks[i])
				s.carryPromotion(ctx, &tasks[i])
				continue
			}
			if err := s.takeApart(ctx, &tasks[i]); err != nil && !errors.Is(err, jetstream.ErrHeld) && ctx.Err() == nil {
				s.cfg.Log.Warn("task not deleted yet", "task", tasks[i].Spec.Name, "error", err)
			}
		}
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// takeApart removes all that a task marked for deletion has left, the task's own record last, so that whatever ends it
// on the way it can be done again. One process does it at a time: a second one that was slow would remove what a new
// task of that name has made. The error wraps ErrHeld while somebody still has the task or is at it.
func (s *Service) takeApart(ctx context.Context, t *jetstream.Task) error {
	holders, err := s.holders(ctx, t)
	if err != nil {
		return err
	}
	if len(holders) > 0 {
		return fmt.Errorf("delete task %s: %w", t.Spec.Name, jetstream.ErrHeld)
	}
	if err := s.alone(ctx, deleteLease(t), func(held context.Context) error { return s.removeAll(held, t) }); err != nil {
		return fmt.Errorf("delete task %s: %w", t.Spec.Name, err)
	}
	return nil
}

// alone runs fn under a lease, in a context that ends with it. The error wraps ErrHeld while another process has the lease.
func (s *Service) alone(ctx context.Context, key string, fn func(context.Context) error) error {
	lease, err := s.cfg.Leases.Acquire(ctx, key, s.cfg.Holder)
	if err != nil {
		return err
	}
	renewed := make(chan struct{})
	renew, stop := context.WithCancel(ctx)
	go func() {
		defer close(renewed)
		_ = lease.Run(renew) // its end shows in the lease's context
	}()
	held, free := lease.Context(ctx)
	err = fn(held)
	free()
	stop()
	<-renewed
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = lease.Release(release) // else it expires
	return err
}

// deleteLease is by the task's id: a new task of that name has nothing to do with it.
func deleteLease(t *jetstream.Task) string { return "delete." + t.ID }

// removeAll does the steps, each as good when it was done before. The record is read anew before each: when it is
// gone, so is the task, and what there is now of that name is another's.
func (s *Service) removeAll(ctx context.Context, t *jetstream.Task) error {
	name := t.Spec.Name
	steps := []func(context.Context) error{
		func(ctx context.Context) error { return jetstream.DeleteStream(ctx, s.cfg.JS, name) },
		func(ctx context.Context) error {
			return jetstream.ForgetTask(ctx, s.cfg.JS, s.cfg.Buckets.Lanes, name)
		},
		func(ctx context.Context) error {
			return jetstream.ForgetTask(ctx, s.cfg.JS, s.cfg.Buckets.Status, name)
		},
		func(ctx context.Context) error { return forget(ctx, s.cfg.Buckets.Ledger, "ledger."+name) },
		func(ctx context.Context) error { return forget(ctx, s.cfg.Buckets.Ledger, "resumes."+name) },
		func(ctx context.Context) error { return s.forgetRecord(ctx, t) },
	}
	for _, step := range steps {
		now, err := s.cfg.Tasks.Get(ctx, name)
		if errors.Is(err, jetstream.ErrNotFound) || err == nil && now.ID != t.ID {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil { // looks at the lease's clock: a process that was stopped must not go on
			return fmt.Errorf("delete task %s: %w", name, err)
		}
		bounded, cancel := context.WithTimeout(ctx, stepTimeout)
		err = step(bounded)
		cancel()
		if err != nil && !errors.Is(err, jetstream.ErrNotFound) {
			return fmt.Errorf("take task %s apart: %w", name, err)
		}
	}
	s.cfg.Log.Info("task deleted", "task", name, "id", t.ID)
	return nil
}

// forgetRecord deletes the task's own record, however often others mark it meanwhile.
func (s *Service) forgetRecord(ctx context.Context, t *jetstream.Task) error {
	for {
		now, err := s.cfg.Tasks.Get(ctx, t.Spec.Name)
		if err != nil || now.ID != t.ID {
			return err
		}
		if err := s.cfg.Tasks.Delete(ctx, now); !errors.Is(err, jetstream.ErrConflict) {
			return err
		}
	}
}

func forget(ctx context.Context, kv natsjs.KeyValue, key string) error {
	if err := kv.Purge(ctx, key); err != nil && !errors.Is(err, natsjs.ErrKeyNotFound) {
		return fmt.Errorf("purge record %s: %w", key, err)
	}
	return nil
}
