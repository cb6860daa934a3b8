package host

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kitestream/jetstream"
)

// claim is a lease that a process wants on part of a task.
type claim struct {
	key, holder string
	target      *jetstream.TargetSpec // whose lane it is; nil: it is the bridge
}

// acquire takes a lease, and gives it back where the task has changed meanwhile: the list that a process works from may
// be old, and a lease on a task that is being deleted could bring its stream back.
func acquire(ctx context.Context, leases *jetstream.Leases, tasks *jetstream.Tasks, t *jetstream.Task, c claim) (*jetstream.Lease, error) {
	lease, err := leases.Acquire(ctx, c.key, c.holder)
	if err != nil {
		return nil, err
	}
	now, err := tasks.Get(ctx, t.Spec.Name)
	if err == nil && (now.ID != t.ID || now.State == jetstream.TaskDeleting) {
		err = fmt.Errorf("task %s is another one by now: %w", t.Spec.Name, jetstream.ErrNotFound)
	}
	if err == nil && c.target != nil && now.State != jetstream.TaskRunning { // whoever has paused it counts on nothing being applied
		err = fmt.Errorf("task %s is %s by now: %w", t.Spec.Name, now.State, jetstream.ErrConflict)
	}
	if err == nil && c.target != nil && !slices.Contains(now.Spec.Targets, *c.target) {
		err = fmt.Errorf("target %s of task %s is gone or another one by now: %w", c.target.Name, t.Spec.Name, jetstream.ErrNotFound)
	}
	if err == nil && c.target != nil && (now.Rewinds[c.target.Name].Pending || now.Rewinds[c.target.Name].Number != t.Rewinds[c.target.Name].Number) {
		err = fmt.Errorf("target %s of task %s is being rewound: %w", c.target.Name, t.Spec.Name, jetstream.ErrConflict)
	}
	if err == nil {
		return lease, nil
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = lease.Release(release) // one that can't be released expires
	return nil, err
}
