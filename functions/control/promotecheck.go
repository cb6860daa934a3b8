package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kitestream/functions/verify"
	"kitestream/jetstream"
)

// check finds what is in the way. What only costs changes can be forced.
func (p *promotion) check(ctx context.Context) error {
	p.say("looking whether the target is ready")
	if p.task.State != jetstream.TaskRunning {
		return refuse(CodeState, "task %s is %s: only a target of a running task can be promoted", p.name(), p.task.State)
	}
	if err := p.checkReverse(ctx); err != nil {
		return err
	}
	f, err := p.s.look(ctx, p.task)
	if err != nil {
		return err
	}
	v := f.view()
	i := slices.IndexFunc(v.Targets, func(t TargetView) bool { return t.Name == p.r.Target })
	p.answer.InWay = append(bridgeInWay(&v.Bridge), p.inWay(&v.Targets[i])...)
	if v.Bridge.State == Running {
		p.foresee(ctx, &v.Targets[i])
	}
	if p.r.DryRun {
		return p.estimate(ctx, v.Bridge.State != Running)
	}
	if len(p.answer.InWay) == 0 || p.r.Force {
		return nil
	}
	e := refusedFor(p.answer.InWay)
	e.Code, e.Field, e.Do = CodeNotReady, "", CodeNotReady.Do()
	e.Message = fmt.Sprintf("target %s of task %s is not ready to be promoted: %s", p.r.Target, p.name(), e.Message)
	if loss, err := p.s.lossOf(ctx, p.task, p.r.Target, v.Bridge.State != Running); err == nil && loss.any() {
		e.Message += "; what would be lost now: " + loss.String()
	}
	return e
}

func bridgeInWay(b *BridgeView) []Problem {
	if b.State == Running {
		return nil
	}
	return []Problem{{"bridge", b.Why}}
}

// inWay is what of the target is in the way.
func (p *promotion) inWay(t *TargetView) (out []Problem) {
	add := func(field, format string, args ...any) {
		out = append(out, Problem{field, fmt.Sprintf(format, args...)})
	}
	if t.State != Running {
		add("target", "it is %s: %s", t.State, t.Why)
	}
	for _, c := range t.Collections {
		switch {
		case c.State == Stopped:
			add("collections", "%s.%s is stopped: %s", c.Database, c.Collection, c.Why)
		case c.Snapshot != nil && !c.Snapshot.Done:
			add("snapshot", "%s.%s: %s", c.Database, c.Collection, c.Why)
		}
	}
	most := time.Duration(p.r.MaxLagMS) * time.Millisecond
	if t.Seconds == nil {
		add("lag", "how far it is behind is not known: %s", t.Text)
	} else if *t.Seconds > most.Seconds() {
		add("lag", "it is %s behind, %v is allowed", t.Text, most)
	}
	switch v := t.Verified; {
	case v == nil:
		add("verified", "it was never compared with its source: 'kitestream verify %s --target %s' does it", p.name(), t.Name)
	case v.Verdict.Verdict != string(verify.Equal):
		add("verified", "the last comparison with its source ended with %q: %s", v.Verdict.Verdict, v.Why)
	case v.AgeSeconds > float64(p.r.VerifiedWithinMS)/1000:
		add("verified", "it was last compared with its source at %s, %v ago is allowed", stamp(v.At), time.Duration(p.r.VerifiedWithinMS)*time.Millisecond)
	}
	return out
}

// checkReverse refuses a task in the other direction that could not begin. It can't be forced: it is to be left out then.
func (p *promotion) checkReverse(ctx context.Context) error {
	if p.r.Reverse == nil {
		return nil
	}
	var problems []Problem
	_, err := p.s.cfg.Tasks.Get(ctx, p.r.Reverse.Name)
	switch {
	case err == nil:
		problems = append(problems, Problem{"name", "there is a task named " + p.r.Reverse.Name + " already"})
	case !errors.Is(err, jetstream.ErrNotFound):
		return err
	}
	ahead := p.s.lookAhead(ctx, *p.r.Reverse)
	problems = append(problems, ahead.Problems...)
	for _, note := range ahead.Notes {
		problems = append(problems, Problem{"source", note})
	}
	for i, t := range ahead.Targets {
		if t.Note != "" {
			problems = append(problems, Problem{fmt.Sprintf("targets[%d]", i), t.Note})
		}
	}
	if len(problems) == 0 {
		return nil
	}
	for i := range problems {
		problems[i].Field = "reverse." + problems[i].Field
	}
	e := refusedFor(problems)
	e.Code, e.Do = CodeNotReady, "see to what is listed, and ask again; or promote without the task in the other direction"
	e.Message = "the task in the other direction could not begin: " + e.Message
	return e
}

// foresee finds what on the target is not as clients of the source know it.
func (p *promotion) foresee(ctx context.Context, t *TargetView) {
	alone := p.task.Spec
	alone.Targets = slices.DeleteFunc(slices.Clone(alone.Targets), func(spec jetstream.TargetSpec) bool { return spec.Name != t.Name })
	for _, plan := range p.s.lookAhead(ctx, alone).Targets {
		for _, c := range plan.Collections {
			for _, w := range c.Warnings {
				p.answer.Left = append(p.answer.Left, fmt.Sprintf("%s: %s", c.Target, w))
			}
		}
	}
	for _, u := range t.Unmet {
		p.answer.Left = append(p.answer.Left, fmt.Sprintf("%s of %s.%s was refused by the target: %s", u.Kind, u.Database, u.Collection, u.Why))
	}
}

// tellLeft says what is left for the operator.
func (p *promotion) tellLeft() {
	left := []string{
		"point clients to " + p.answer.URI,
		fmt.Sprintf("the bridge of task %s goes on capturing from the old source until you delete the task: 'kitestream task delete %s'", p.name(), p.name()),
	}
	if p.answer.Reverse != nil {
		left = append(left, fmt.Sprintf("task %s brings to the old source what is written from now on: 'kitestream task get %s'", p.r.Reverse.Name, p.r.Reverse.Name))
	}
	p.answer.Left = append(left, p.answer.Left...)
}

func (p *promotion) estimate(ctx context.Context, unread bool) error {
	loss, err := p.s.lossOf(ctx, p.task, p.r.Target, unread)
	if err == nil && loss.any() {
		p.answer.Loss = loss
	}
	return err
}

func (l *Loss) any() bool { return l.Rows > 0 || l.Unread }

// lossOf is what the target would not have, were nothing applied to it from now on.
func (s *Service) lossOf(ctx context.Context, t *jetstream.Task, target string, unread bool) (*Loss, error) {
	running := *t
	running.State = jetstream.TaskRunning // of a paused one no lag is told
	f, err := s.look(ctx, &running)
	if err != nil {
		return nil, err
	}
	l := &Loss{Unread: unread}
	for _, v := range f.view().Targets {
		if v.Name != target {
			continue
		}
		if v.Rows != nil {
			l.Rows = *v.Rows
		}
		if v.Seconds != nil {
			l.Seconds = *v.Seconds
		}
	}
	if unread {
		read := t.Created
		if f.bridge != nil {
			read = later(read, moment(f.bridge.WatermarkTS))
		}
		l.Seconds = max(l.Seconds, *seconds(f.at.Sub(read)))
	}
	return l, nil
}
