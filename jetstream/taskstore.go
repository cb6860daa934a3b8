package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Tasks are the tasks in a KV bucket, changed by compare-and-set only. Secrets are in it by reference alone. Safe for
// concurrent use.
type Tasks struct {
	js  natsjs.JetStream
	kv  natsjs.KeyValue
	log *slog.Logger
}

// NewTasks uses a bucket that nothing else is kept in. A nil log is none.
func NewTasks(js natsjs.JetStream, kv natsjs.KeyValue, log *slog.Logger) *Tasks {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Tasks{js: js, kv: kv, log: log}
}

// Create keeps a new task, running; existing is Task.Existing. The error wraps ErrExists when there is one of that name, or is what Validate says.
func (t *Tasks) Create(ctx context.Context, spec TaskSpec, existing ...QualifiedName) (*Task, error) {
	return t.CreateAs(ctx, spec, nuid.Next(), existing...)
}

// CreateAs is Create with an id that the caller has chosen, at random, and can tell the task by whatever becomes of the call.
func (t *Tasks) CreateAs(ctx context.Context, spec TaskSpec, id string, existing ...QualifiedName) (*Task, error) {
	spec = spec.WithDefaults()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	task, rev, err := alterRecord(ctx, t.js.Conn(), t.kv, token(spec.Name), func(task *Task, rev uint64) (verdict, error) {
		switch {
		case rev == 0:
			*task = Task{Spec: spec, State: TaskRunning, ID: id, Created: time.Now().UTC(), Existing: existing}
			return write, nil
		case task.ID == id: // made a moment ago, and the answer was lost
			return keep, nil
		}
		return keep, ErrExists
	})
	if err != nil {
		return nil, fmt.Errorf("create task %s: %w", spec.Name, err)
	}
	task.Revision = rev
	return &task, nil
}

// Get reads a task. The error wraps ErrNotFound when there is none of that name.
func (t *Tasks) Get(ctx context.Context, name string) (*Task, error) {
	task, rev, err := loadRecord[Task](ctx, t.kv, token(name))
	if err != nil {
		return nil, fmt.Errorf("get task %s: %w", name, err)
	}
	if rev == 0 {
		return nil, fmt.Errorf("get task %s: %w", name, ErrNotFound)
	}
	task.Revision = rev
	return &task, nil
}

// List reads all tasks, by name. A record that is no task doesn't hide the others: they are returned beside the error.
func (t *Tasks) List(ctx context.Context) ([]Task, error) {
	entries, err := snapshot(ctx, t.js.Conn(), t.kv, ">")
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	var tasks []Task
	var errs []error
	for _, e := range entries {
		task, err := decodeRecord[Task](e.Key(), e.Value())
		if err != nil {
			errs = append(errs, fmt.Errorf("list tasks: %w", err))
			continue
		}
		task.Revision = e.Revision()
		tasks = append(tasks, task)
	}
	slices.SortFunc(tasks, byName)
	return tasks, errors.Join(errs...)
}

// Update changes a task: fn is given it as it is, again whenever somebody else was faster or an answer was lost with the
// connection, and an error of fn leaves it so. What names the task fn can't change.
func (t *Tasks) Update(ctx context.Context, name string, fn func(*Task) error) (*Task, error) {
	task, rev, err := alterRecord(ctx, t.js.Conn(), t.kv, token(name), func(task *Task, rev uint64) (verdict, error) {
		if rev == 0 {
			return keep, ErrNotFound
		}
		before := *task
		task.Revision = rev
		if err := fn(task); err != nil {
			return keep, err
		}
		if task.Spec.Name != before.Spec.Name || task.ID != before.ID {
			return keep, &FieldError{Field: "name", Message: "can't be changed"}
		}
		return write, task.check()
	})
	if err != nil {
		return nil, fmt.Errorf("update task %s: %w", name, err)
	}
	task.Revision = rev
	return &task, nil
}

// Delete removes the record of a task that was read before. The error wraps ErrConflict when it was changed since,
// ErrNotFound when it is gone.
func (t *Tasks) Delete(ctx context.Context, task *Task) error {
	err := attempt(ctx, t.js.Conn(), requestTimeout, func(ctx context.Context) error {
		return removeRecord(ctx, t.kv, token(task.Spec.Name), task.Revision)
	})
	if errors.Is(err, ErrConflict) {
		if _, gone := t.Get(ctx, task.Spec.Name); errors.Is(gone, ErrNotFound) {
			err = ErrNotFound
		}
	}
	if err != nil {
		return fmt.Errorf("delete task %s: %w", task.Spec.Name, err)
	}
	return nil
}

// Watch gives all tasks, by name: as they are now, and again after each change. Who reads late is given the newest
// only. A record that is no task is left out and logged. The channel is closed after ctx has ended.
func (t *Tasks) Watch(ctx context.Context) <-chan []Task {
	w := &taskWatch{log: t.log, tasks: map[string]Task{}, out: make(chan []Task, 1)}
	go func() {
		defer close(w.out)
		_ = follow(ctx, t.js, t.kv, ">", w) // ends with ctx only
	}()
	return w.out
}

type taskWatch struct {
	log   *slog.Logger
	tasks map[string]Task // by key
	out   chan []Task
}

func (w *taskWatch) begin() {}

func (w *taskWatch) full(entries []natsjs.KeyValueEntry) {
	clear(w.tasks)
	for _, e := range entries {
		w.put(e)
	}
	w.send()
}

func (w *taskWatch) change(e natsjs.KeyValueEntry) {
	if e.Operation() == natsjs.KeyValuePut {
		w.put(e)
	} else {
		delete(w.tasks, e.Key())
	}
	w.send()
}

func (w *taskWatch) put(e natsjs.KeyValueEntry) {
	task, err := decodeRecord[Task](e.Key(), e.Value())
	if err != nil {
		w.log.Error("task is left out", "error", err)
		delete(w.tasks, e.Key())
		return
	}
	task.Revision = e.Revision()
	w.tasks[e.Key()] = task
}

// send replaces what has not been read yet.
func (w *taskWatch) send() {
	select {
	case <-w.out:
	default:
	}
	w.out <- slices.SortedFunc(maps.Values(w.tasks), byName)
}

func byName(a, b Task) int { return cmp.Compare(a.Spec.Name, b.Spec.Name) }
