package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nuid"

	"kitestream/jetstream"
)

// PromoteRequest has clients' writes go over from a task's source to one of its targets.
type PromoteRequest struct {
	Name   string `json:"name"`
	Target string `json:"target,omitempty"` // not with Undo

	MaxLagMS         int64 `json:"max_lag_ms,omitempty"`         // refuse a target that is further behind; 0: 10 s
	VerifiedWithinMS int64 `json:"verified_within_ms,omitempty"` // refuse a target that was not found equal since; 0: 24 h
	TimeoutMS        int64 `json:"timeout_ms,omitempty"`         // when it is not done by then, all is as it was before; 0: 2 minutes, an hour at most

	Force  bool `json:"force,omitempty"`   // whatever is in the way, also if changes are lost; the answer says how many
	DryRun bool `json:"dry_run,omitempty"` // only look what is in the way and what would be lost
	Undo   bool `json:"undo,omitempty"`    // take a promotion back that is done: the task goes on

	// Reverse is the task in the other direction, which begins with the first change after the promotion; nil: there is to be none.
	Reverse *jetstream.TaskSpec `json:"reverse,omitempty"`
}

// PromoteAnswer is how a promotion ended, or would with DryRun.
type PromoteAnswer struct {
	Task    Summary   `json:"task"`
	Target  string    `json:"target,omitempty"`
	URI     string    `json:"uri,omitempty"`
	Done    bool      `json:"done"`                 // the target is promoted
	InWay   []Problem `json:"in_the_way,omitempty"` // what stands against it; with Done it was forced
	Loss    *Loss     `json:"loss,omitempty"`       // what the target has not; nil: nothing
	Reverse *Summary  `json:"reverse,omitempty"`
	Left    []string  `json:"left,omitempty"` // what is left for the operator to do
	Seconds float64   `json:"seconds"`        // how long it took
}

// Loss is what a promoted target has not of what its source took.
type Loss struct {
	Rows    uint64  `json:"rows"`             // rows and keys on the stream that are not applied
	Seconds float64 `json:"seconds"`          // how old the first change may be that is not applied
	Unread  bool    `json:"unread,omitempty"` // and whatever the source took in that time that no bridge could read, which nobody can count
}

// String is for people.
func (l *Loss) String() string {
	text := fmt.Sprintf("%d rows that are not applied", l.Rows)
	if l.Unread {
		text += ", and whatever the source took that no bridge could read"
	}
	return fmt.Sprintf("%s, of the last %.1f s", text, l.Seconds)
}

const (
	promoteDefault  = 2 * time.Minute
	maxLagDefault   = 10 * time.Second
	verifiedDefault = 24 * time.Hour
	promoteLook     = 100 * time.Millisecond // between looks how far it is
	forcedShare     = 4                      // a forced promotion waits a quarter of its time for a bridge, and as long for the target
	undoTimeout     = 20 * time.Second       // to put back what a promotion that failed had changed
)

// Promote switches over to a target. It ends in the request's time: done, or with an error and everything as it was before.
func (c *Client) Promote(ctx context.Context, r PromoteRequest, notice func(string)) (*PromoteAnswer, error) {
	return requestTold[PromoteAnswer](ctx, c, subjectPromote, r, notice)
}

// withDefaults refuses what can't be meant, and fills in what was left out.
func (r PromoteRequest) withDefaults() (PromoteRequest, error) {
	for _, f := range []struct {
		field string
		ms    *int64
		whole time.Duration
	}{{"max_lag_ms", &r.MaxLagMS, maxLagDefault}, {"verified_within_ms", &r.VerifiedWithinMS, verifiedDefault}, {"timeout_ms", &r.TimeoutMS, promoteDefault}} {
		if *f.ms < 0 {
			return r, invalidField(f.field, "%s: %d is negative", f.field, *f.ms)
		}
		if *f.ms == 0 {
			*f.ms = f.whole.Milliseconds()
		}
	}
	switch {
	case r.TimeoutMS > syncMost.Milliseconds():
		return r, invalidField("timeout_ms", "timeout_ms: %d is more than %d", r.TimeoutMS, syncMost.Milliseconds())
	case r.Undo && (r.Target != "" || r.Force || r.DryRun || r.Reverse != nil):
		return r, invalidField("undo", "undo: takes back the promotion that there was, and nothing else can be said with it")
	}
	if r.Reverse != nil {
		spec := r.Reverse.WithDefaults()
		if spec.Snapshot == "" {
			spec.Snapshot = jetstream.SnapshotPresent
		}
		if spec.Snapshot != jetstream.SnapshotPresent {
			return r, invalidField("reverse.snapshot", "reverse.snapshot: %s: leave it out, for the task in the other direction begins where this one ends (%s)",
				spec.Snapshot, jetstream.SnapshotPresent)
		}
		if spec.Name == r.Name {
			return r, invalidField("reverse.name", "reverse.name: the task in the other direction needs a name of its own, for %s stays until you delete it", r.Name)
		}
		if err := checkSpec(spec); err != nil {
			return r, err
		}
		r.Reverse = &spec
	}
	return r, nil
}

// promote switches over, under a lease: whoever gets it and finds a promotion that is not done knows that nobody is at it.
func (s *Service) promote(ctx context.Context, c call) (any, error) {
	began := time.Now()
	var r PromoteRequest
	if err := decode(c.data, &r); err != nil {
		return nil, err
	}
	r, err := r.withDefaults()
	if err != nil {
		return nil, err
	}
	t, err := s.task(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	p := &promotion{s: s, r: r, id: nuid.Next(), answer: &PromoteAnswer{Target: r.Target}}
	say, quiet := signs(c.progress)
	defer quiet()
	p.say = say
	err = s.alone(ctx, t.Ref().PromoteLease(), func(ctx context.Context) error {
		if r.Undo {
			return p.undo(ctx, t)
		}
		return p.run(ctx, t)
	})
	if errors.Is(err, jetstream.ErrHeld) {
		return nil, refuse(CodeHeld, "a target of task %s is being promoted by another request", r.Name)
	}
	if err != nil {
		return nil, err
	}
	p.answer.Seconds = *seconds(time.Since(began))
	return p.answer, nil
}

// promotion is one try to promote a target.
type promotion struct {
	s      *Service
	r      PromoteRequest
	id     string
	task   *jetstream.Task // as it was last seen
	say    func(string)
	answer *PromoteAnswer
	unread bool // the bridge could not bring all that its source holds onto the stream
}

func (p *promotion) name() string               { return p.r.Name }
func (p *promotion) target() jetstream.TargetID { return p.task.Ref().Target(p.r.Target) }

func (p *promotion) run(ctx context.Context, t *jetstream.Task) (err error) {
	if p.task, err = p.s.settlePromotion(ctx, t); err != nil {
		return err
	}
	i := slices.IndexFunc(p.task.Spec.Targets, func(spec jetstream.TargetSpec) bool { return spec.Name == p.r.Target })
	if i < 0 {
		return invalidField("target", "target: task %s has no target %q", p.name(), p.r.Target)
	}
	p.answer.URI = p.task.Spec.Targets[i].URI
	if done := p.task.Promoted; done != nil {
		if done.Target != p.r.Target {
			return refuse(CodeState, "target %s of task %s was promoted at %s already", done.Target, p.name(), stamp(done.At))
		}
		p.answer.Done = true // by a request whose answer was lost, perhaps
		p.answer.Task = summary(p.task)
		return nil
	}
	if err := p.check(ctx); err != nil {
		return err
	}
	p.answer.Task = summary(p.task)
	if p.r.DryRun {
		return nil
	}
	limit := time.Duration(p.r.TimeoutMS) * time.Millisecond
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err = p.switchOver(within, limit); err != nil {
		return p.giveUp(ctx, within.Err() != nil, err)
	}
	p.s.cfg.Log.Info("target promoted", "task", p.name(), "target", p.r.Target, "forced", p.r.Force)
	p.answer.Task, p.answer.Done = summary(p.task), true
	p.tellLeft()
	return nil
}

// switchOver does the steps. What it has changed of the task is put back by whoever finds the promotion not done.
func (p *promotion) switchOver(ctx context.Context, limit time.Duration) error {
	err := p.change(ctx, func(t *jetstream.Task) error {
		if t.State != jetstream.TaskRunning || t.Promoted != nil {
			return refuse(CodeState, "task %s is %s by now, or another target is being promoted", p.name(), t.State)
		}
		t.Promoted = &jetstream.Promotion{ID: p.id, Target: p.r.Target, At: time.Now().UTC()}
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.drain(ctx, limit); err != nil {
		return err
	}
	p.say("stopping the task")
	err = p.changeMine(ctx, func(t *jetstream.Task) { t.State = jetstream.TaskPaused })
	if err != nil {
		return err
	}
	if err := p.awaitFree(ctx); err != nil {
		return err
	}
	if err := p.settle(ctx, limit); err != nil {
		return err
	}
	if err := p.wayBack(ctx); err != nil {
		return err
	}
	return p.changeMine(ctx, func(t *jetstream.Task) { t.Promoted.Done = true })
}

// drain waits until the target has all that the source held. A forced promotion does what it can.
func (p *promotion) drain(ctx context.Context, limit time.Duration) error {
	p.say("waiting until the target has all that the source holds")
	budget := limit
	if p.r.Force {
		budget = limit / forcedShare
	}
	wanted, err := p.s.sync(ctx, p.task, budget, p.say)
	if err != nil {
		if !p.r.Force || ctx.Err() != nil {
			return err
		}
		p.unread = true
		if wanted, err = p.s.lastEvents(ctx, p.task); err != nil {
			return err
		}
	}
	within, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	for {
		behind, err := p.behind(ctx, wanted)
		if err != nil || behind == 0 {
			return err
		}
		p.say(fmt.Sprintf("waiting until the target has applied everything: %d lanes are behind", behind))
		select {
		case <-time.After(promoteLook):
		case <-within.Done():
			if p.r.Force && ctx.Err() == nil {
				return nil // the loss is told
			}
			return refuse(CodeTimeout, "target %s has not applied everything in time: %d lanes are behind", p.r.Target, behind)
		}
	}
}

// behind is how many lanes of the target are not where they have to be.
func (p *promotion) behind(ctx context.Context, wanted []uint64) (lanes int, err error) {
	for n, seq := range wanted {
		st, err := p.s.laneState(ctx, p.target().Lane(n))
		if err != nil {
			return 0, err
		}
		if st.Floor < seq {
			lanes++
		}
	}
	return lanes, nil
}

// awaitFree waits until no worker has a lane of the target: nothing is written to it from then on.
func (p *promotion) awaitFree(ctx context.Context) error {
	for {
		held, err := p.s.cfg.Leases.Holders(ctx, p.target().LeasePrefix())
		if err == nil && len(held) == 0 {
			return nil
		}
		select {
		case <-time.After(promoteLook):
		case <-ctx.Done():
			return refuse(CodeTimeout, "workers have not let go of target %s in time", p.r.Target)
		}
	}
}

// settle looks again at what the source holds, now that nothing is applied any more: what came meanwhile the target has not, so writers
// were not stopped.
func (p *promotion) settle(ctx context.Context, limit time.Duration) error {
	p.say("looking whether the source is still written to")
	var wanted []uint64
	var err error
	if !p.unread {
		wanted, err = p.s.sync(ctx, p.task, limit/forcedShare, p.say)
		if err != nil && (!p.r.Force || ctx.Err() != nil) {
			return err
		}
		p.unread = err != nil
	}
	if p.unread {
		if wanted, err = p.s.lastEvents(ctx, p.task); err != nil {
			return err
		}
	}
	behind, err := p.behind(ctx, wanted)
	if err != nil {
		return err
	}
	if behind > 0 && !p.r.Force {
		e := refuse(CodeNotReady, "the source of task %s is still written to: changes came after the target had everything", p.name())
		e.Do = "stop the clients that write to the source, and ask again; with --force what they wrote meanwhile is lost to the target"
		return e
	}
	if behind > 0 || p.unread {
		p.answer.Loss, err = p.s.lossOf(ctx, p.task, p.r.Target, p.unread)
	}
	return err
}

// change changes the task's record.
func (p *promotion) change(ctx context.Context, fn func(*jetstream.Task) error) error {
	t, err := p.s.cfg.Tasks.Update(ctx, p.name(), func(t *jetstream.Task) error {
		if t.ID != p.task.ID {
			return refuse(CodeState, "task %s was deleted and made anew meanwhile", p.name())
		}
		return fn(t)
	})
	if err == nil {
		p.task = t
	}
	return err
}

// changeMine changes the record of a task as long as this promotion is the one that it has: a slow process must not go on with one that
// another has rolled back.
func (p *promotion) changeMine(ctx context.Context, fn func(*jetstream.Task)) error {
	return p.change(ctx, func(t *jetstream.Task) error {
		if t.Promoted == nil || t.Promoted.ID != p.id || t.State == jetstream.TaskDeleting {
			return refuse(CodeState, "the promotion of target %s was rolled back by another process, or task %s is being deleted", p.r.Target, p.name())
		}
		fn(t)
		return nil
	})
}
