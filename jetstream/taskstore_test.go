package jetstream_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"kitestream/jetstream"
)

func (r *rig) taskStore() *jetstream.Tasks {
	return jetstream.NewTasks(r.js, r.tasks, slog.New(slog.DiscardHandler))
}

func TestTaskFromCreateToDelete(t *testing.T) {
	r := newRig(t)
	tasks := r.taskStore()
	created, err := tasks.Create(r.ctx, orders())
	must(t, err)
	if created.State != jetstream.TaskRunning || created.ID == "" || created.Revision == 0 || created.Created.IsZero() {
		t.Errorf("created %+v", created)
	}
	if _, err := tasks.Create(r.ctx, orders()); !errors.Is(err, jetstream.ErrExists) {
		t.Errorf("create again = %v, want ErrExists", err)
	}
	got, err := tasks.Get(r.ctx, "orders")
	must(t, err)
	if got.ID != created.ID || got.Revision != created.Revision || !got.Created.Equal(created.Created) {
		t.Errorf("got %+v, created %+v", got, created)
	}
	paused, err := tasks.Update(r.ctx, "orders", func(task *jetstream.Task) error {
		task.State = jetstream.TaskPaused
		return nil
	})
	must(t, err)
	if paused.State != jetstream.TaskPaused || paused.Revision <= got.Revision {
		t.Errorf("paused %+v", paused)
	}
	if err := tasks.Delete(r.ctx, got); !errors.Is(err, jetstream.ErrConflict) {
		t.Errorf("delete of an old revision = %v, want ErrConflict", err)
	}
	must(t, tasks.Delete(r.ctx, paused))
	if err := tasks.Delete(r.ctx, paused); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("delete again = %v, want ErrNotFound", err)
	}
	if _, err := tasks.Get(r.ctx, "orders"); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("get = %v, want ErrNotFound", err)
	}
	if _, err := tasks.Update(r.ctx, "orders", func(*jetstream.Task) error { return nil }); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("update = %v, want ErrNotFound", err)
	}
	again, err := tasks.Create(r.ctx, orders())
	must(t, err)
	if again.ID == created.ID {
		t.Error("two lives have one id")
	}
}

func TestTaskThatIsWrongIsNotKept(t *testing.T) {
	r := newRig(t)
	tasks := r.taskStore()
	spec := orders()
	spec.Lanes = 99
	var fe *jetstream.FieldError
	if _, err := tasks.Create(r.ctx, spec); !errors.As(err, &fe) || fe.Field != "lanes" {
		t.Errorf("create = %v", err)
	}
	_, err := tasks.Create(r.ctx, orders())
	must(t, err)
	for name, change := range map[string]func(*jetstream.Task) error{
		"bad target": func(task *jetstream.Task) error { task.Spec.Targets = nil; return nil },
		"bad state":  func(task *jetstream.Task) error { task.State = "gone"; return nil },
		"name":       func(task *jetstream.Task) error { task.Spec.Name = "x"; return nil },
		"id":         func(task *jetstream.Task) error { task.ID = "x"; return nil },
		"own error":  func(*jetstream.Task) error { return errors.New("no") },
	} {
		if _, err := tasks.Update(r.ctx, "orders", change); err == nil {
			t.Errorf("%s: updated", name)
		}
	}
	got, err := tasks.Get(r.ctx, "orders")
	must(t, err)
	if got.State != jetstream.TaskRunning || len(got.Spec.Targets) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestUpdatesOfATaskAreNotLost(t *testing.T) {
	r := newRig(t)
	_, err := r.taskStore().Create(r.ctx, orders())
	must(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			tasks := r.taskStore()
			for range 10 {
				if _, err := tasks.Update(r.ctx, "orders", func(task *jetstream.Task) error {
					task.Spec.Select[0].Exclude = append(task.Spec.Select[0].Exclude, "x")
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := r.taskStore().Get(r.ctx, "orders")
	must(t, err)
	if n := len(got.Spec.Select[0].Exclude); n != 41 {
		t.Errorf("%d entries, want 41", n)
	}
}

func TestTasksAreListedAndWatched(t *testing.T) {
	r := newRig(t)
	tasks := r.taskStore()
	var want string
	watched := r.taskStore().Watch(r.ctx)
	see := func(names string) {
		t.Helper()
		want = names
		r.until("the watch shows "+want, func() bool {
			select {
			case all := <-watched:
				return namesOf(all) == want
			default:
				return false
			}
		})
		all, err := tasks.List(r.ctx)
		if namesOf(all) != want {
			t.Errorf("list = %s, %v, want %s", namesOf(all), err, want)
		}
	}
	see("")
	create := func(name string) *jetstream.Task {
		t.Helper()
		spec := orders()
		spec.Name = name
		task, err := tasks.Create(r.ctx, spec)
		must(t, err)
		return task
	}
	b := create("b")
	see("b:running")
	create("a")
	see("a:running b:running")
	must(t, tasks.Delete(r.ctx, b))
	see("a:running")
	_, err := r.tasks.Put(r.ctx, "bad", []byte("{}"))
	must(t, err)
	if all, err := tasks.List(r.ctx); namesOf(all) != "a:running" || !errors.Is(err, jetstream.ErrMalformed) {
		t.Errorf("list beside a bad record = %s, %v", namesOf(all), err)
	}
	r.Restart()
	r.until("paused after a restart", func() bool {
		_, err := tasks.Update(r.ctx, "a", func(task *jetstream.Task) error {
			task.State = jetstream.TaskPaused
			return nil
		})
		return err == nil
	})
	r.until("the watch shows it", func() bool {
		select {
		case all := <-watched:
			return namesOf(all) == "a:paused"
		default:
			return false
		}
	})
}

func namesOf(tasks []jetstream.Task) string {
	var all []string
	for _, t := range tasks {
		all = append(all, t.Spec.Name+":"+string(t.State))
	}
	return strings.Join(all, " ")
}
