package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// pollEvery is how often Wait looks how far the targets are.
const pollEvery = 150 * time.Millisecond

// WaitOptions say what Wait waits for.
type WaitOptions struct {
	Targets []string             // names of targets; none: all
	Stopped bool                 // stopped collections are nothing to wait for, and no error
	Synced  func()               // called when all that the source held is on the stream; nil: nobody wants to know
	Notice  func(message string) // told what is waited for, when that changes; nil: nobody wants to know
}

// WaitAnswer is how a Wait ended.
type WaitAnswer struct {
	Name    string           `json:"name"`
	Seconds float64          `json:"seconds"` // how long it took
	Targets []TargetPosition `json:"targets"`
}

// Wait returns when the targets have applied everything that the source held when it was called. It waits for bridges
// and workers that are not there (yet), as long as ctx lets it. It ends early with an error when waiting can't help:
// the task is paused, being deleted, or gone, or a collection of it is stopped.
func (c *Client) Wait(ctx context.Context, task string, o WaitOptions) (*WaitAnswer, error) {
	w := waiting{client: c, task: task, options: o, began: time.Now()}
	if o.Notice == nil {
		w.options.Notice = func(string) {}
	}
	a, err := w.run(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil {
		err = refuse(CodeTimeout, "the targets of task %s have not applied everything in time; last: %s", task, w.noticed)
	}
	return a, err
}

// waiting is one Wait.
type waiting struct {
	client  *Client
	task    string
	options WaitOptions
	began   time.Time
	noticed string // what Notice was told last
}

func (w *waiting) run(ctx context.Context) (*WaitAnswer, error) {
	goal, err := w.sync(ctx)
	if err != nil {
		return nil, err
	}
	if w.options.Synced != nil {
		w.options.Synced()
	}
	for {
		now, err := w.look(ctx)
		if err != nil {
			return nil, err
		}
		if now != nil {
			done, err := w.reached(goal, now)
			if err != nil {
				return nil, err
			}
			if done {
				return &WaitAnswer{Name: w.task, Seconds: *seconds(time.Since(w.began)), Targets: w.wanted(now)}, nil
			}
		}
		if err := w.pause(ctx); err != nil {
			return nil, err
		}
	}
}

// sync finds what the targets must reach. Bridges come and go: it asks until one answers.
func (w *waiting) sync(ctx context.Context) (*PositionAnswer, error) {
	for {
		if _, err := w.look(ctx); err != nil {
			return nil, err
		}
		r := PositionRequest{Name: w.task, Sync: true, TimeoutMS: syncMost.Milliseconds()}
		if deadline, ok := ctx.Deadline(); ok {
			r.TimeoutMS = max(1, min(r.TimeoutMS, sooner(time.Until(deadline)).Milliseconds()))
		}
		goal, err := w.client.Position(ctx, r)
		if err == nil {
			return goal, w.known(goal)
		}
		switch {
		case codeOf(err) == CodeTimeout: // says less than what was noticed before
			if w.noticed == "" {
				w.notice(err.Error())
			}
		case passing(err):
			w.notice(err.Error())
		default:
			return nil, err
		}
		if perr := w.pause(ctx); perr != nil {
			return nil, perr
		}
	}
}

// passing reports whether an error may be over the next time.
func passing(err error) bool {
	return slices.Contains([]Code{CodeNoBridge, CodeSource, CodeBusy, CodeUnavailable, CodeNoControl}, codeOf(err))
}

func codeOf(err error) Code {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

// look reads the positions now; nil when nobody could answer just now. The error says that waiting can't help.
func (w *waiting) look(ctx context.Context) (*PositionAnswer, error) {
	now, err := w.client.Position(ctx, PositionRequest{Name: w.task})
	if err != nil {
		if passing(err) {
			w.notice(err.Error())
			return nil, nil
		}
		return nil, err
	}
	switch now.State {
	case Paused:
		return nil, refuse(CodeState, "task %s is paused: nothing is applied until it is resumed", w.task)
	case Deleting:
		return nil, refuse(CodeState, "task %s is being deleted", w.task)
	}
	if err := w.known(now); err != nil {
		return nil, err
	}
	for _, t := range w.wanted(now) {
		for _, s := range t.Stopped {
			if !s.Retrying && !w.options.Stopped {
				e := refuse(CodeStopped, "target %s: collection %s.%s is stopped: %s", t.Name, s.Database, s.Collection, s.Reason)
				return nil, e
			}
		}
	}
	return now, nil
}

// known refuses names of targets that the task does not have.
func (w *waiting) known(a *PositionAnswer) error {
	for _, name := range w.options.Targets {
		if !slices.ContainsFunc(a.Targets, func(t TargetPosition) bool { return t.Name == name }) {
			return invalidField("target", "task %s has no target %q", w.task, name)
		}
	}
	return nil
}

// wanted are the targets that are waited for.
func (w *waiting) wanted(a *PositionAnswer) []TargetPosition {
	if len(w.options.Targets) == 0 {
		return a.Targets
	}
	var out []TargetPosition
	for _, t := range a.Targets {
		if slices.Contains(w.options.Targets, t.Name) {
			out = append(out, t)
		}
	}
	return out
}

// reached reports whether every lane of every target is where it has to be.
func (w *waiting) reached(goal, now *PositionAnswer) (bool, error) {
	if now.ID != goal.ID {
		return false, refuse(CodeState, "task %s was deleted and made anew meanwhile", w.task)
	}
	var behind []string
	targets := w.wanted(now)
	for i, t := range w.wanted(goal) {
		lanes, events := 0, uint64(0)
		for n, l := range t.Lanes {
			if targets[i].Lanes[n].Floor < l.Wanted {
				lanes++
				events += targets[i].Lanes[n].Pending
			}
		}
		retrying := slices.ContainsFunc(targets[i].Stopped, func(s StoppedCollection) bool { return s.Retrying })
		switch {
		case lanes > 0:
			behind = append(behind, fmt.Sprintf("target %s has %d events to apply on %d lanes", t.Name, events, lanes))
		case retrying:
			behind = append(behind, fmt.Sprintf("target %s replays collections that were stopped", t.Name))
		}
	}
	if len(behind) == 0 {
		return true, nil
	}
	w.notice(strings.Join(behind, "; "))
	return false, nil
}

func (w *waiting) notice(message string) {
	if message != w.noticed {
		w.noticed = message
		w.options.Notice(message)
	}
}

func (w *waiting) pause(ctx context.Context) error {
	select {
	case <-time.After(pollEvery):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
