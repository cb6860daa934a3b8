package rig

import (
	"context"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/servers"
)

const (
	// patience is how long a condition may take to come true on a busy machine.
	patience = 90 * time.Second
	// look is the time between two looks at a condition.
	look = 20 * time.Millisecond
)

// Until returns when the condition is true; a test for which it does not come true fails.
func (r *Rig) Until(what string, condition func() bool) {
	r.Helper()
	began := time.Now()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-r.Context().Done():
			r.Fatalf("the test ends, and not yet: %s", what)
		}
		if time.Since(began) > patience {
			r.Fatalf("after %v not yet: %s", patience, what)
		}
	}
}

// limited is the test's context, with the time that one request may take.
func (r *Rig) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), patience)
}

// Create makes a task of all collections that the selections take, with one target each for the servers: "t1", "t2", ….
// The test's end deletes it.
func (r *Rig) Create(name string, lanes int, sel []jetstream.Selection, targets ...*servers.Milvus) *control.CreateAnswer {
	r.Helper()
	spec := jetstream.TaskSpec{Name: name, Lanes: lanes, Select: sel}
	for i, m := range targets {
		spec.Targets = append(spec.Targets, jetstream.TargetSpec{Name: "t" + string(rune('1'+i)), URI: m.URI})
	}
	return r.CreateTask(spec)
}

// CreateTask makes a task, and deletes it at the test's end.
func (r *Rig) CreateTask(spec jetstream.TaskSpec) *control.CreateAnswer {
	r.Helper()
	r.Until("control answers", func() bool { _, err := r.Tasks.List(r.Context()); return err == nil })
	answer, err := r.Tasks.Create(r.Context(), spec)
	if err != nil {
		r.Fatalf("create task %s: %v", spec.Name, err)
	}
	r.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 5*time.Second)
		defer cancel()
		_, _ = r.Tasks.Delete(ctx, spec.Name) // the NATS server's end is the task's, too
	})
	return answer
}

// Prefix selects the collections of a database whose names begin with the prefix.
func Prefix(database, prefix string) []jetstream.Selection {
	return []jetstream.Selection{{Database: database, Collections: []string{prefix + "*"}}}
}

// Wait returns when the targets, or all if none is named, have what the source holds now. If that fails, the stream may
// tell why: it is checked too.
func (r *Rig) Wait(task string, targets ...string) {
	r.Helper()
	ctx, cancel := r.limited()
	defer cancel()
	if _, err := r.Tasks.Wait(ctx, task, control.WaitOptions{Targets: targets}); err != nil {
		r.Errorf("wait for task %s: %v", task, err)
		r.CheckStream(task)
		r.FailNow()
	}
}

// Captured returns when the stream has all that the source holds now, with how far each lane must come to have it.
func (r *Rig) Captured(task string) *control.PositionAnswer {
	r.Helper()
	ctx, cancel := r.limited()
	defer cancel()
	for {
		at, err := r.Tasks.Position(ctx, control.PositionRequest{Name: task, Sync: true})
		if err == nil {
			return at
		}
		select {
		case <-time.After(look): // bridges come and go
		case <-ctx.Done():
			r.Fatalf("have task %s capture what the source holds: %v", task, err)
		}
	}
}

// PassedBy returns when every lane is behind all that the source holds now, applied or passed over: other than Wait, it
// goes on where a collection is stopped.
func (r *Rig) PassedBy(task string) {
	r.Helper()
	goal := r.Captured(task)
	r.Until("the lanes of "+task+" are where they have to be", func() bool {
		now, err := r.Tasks.Position(r.Context(), control.PositionRequest{Name: task})
		if err != nil {
			return false
		}
		for i, t := range goal.Targets {
			for n, l := range t.Lanes {
				if now.Targets[i].Lanes[n].Floor < l.Wanted {
					return false
				}
			}
		}
		return true
	})
}

// View is what `task get` shows.
func (r *Rig) View(task string) *control.View {
	r.Helper()
	v, err := r.Tasks.Get(r.Context(), task)
	if err != nil {
		r.Fatalf("get task %s: %v", task, err)
	}
	return v
}

// Published is the sequence of the last event of the task's stream, 0 while there is none to be asked.
func (r *Rig) Published(task string) uint64 {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	s, err := r.JS.Stream(ctx, jetstream.StreamName(task))
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.LastSeq
}

// Publisher is the holder that took the task's stream over last; empty while nobody can be asked.
func (r *Rig) Publisher(task string) string {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	e, err := jetstream.LastEvent(ctx, r.JS, task, jetstream.ChannelSubjects(task, "fence"))
	if err != nil {
		return ""
	}
	return fenceOf(e).Holder
}

// Applied is the sum of the sequences to which the lanes' consumers are acked; it only grows while no lane moves. 0 while
// nobody can be asked.
func (r *Rig) Applied(task string) uint64 {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	s, err := r.JS.Stream(ctx, jetstream.StreamName(task))
	if err != nil {
		return 0
	}
	var sum uint64
	list := s.ListConsumers(ctx)
	for c := range list.Info() {
		if c.Config.AckPolicy == natsjs.AckAllPolicy {
			sum += c.AckFloor.Stream
		}
	}
	if list.Err() != nil {
		return 0
	}
	return sum
}
