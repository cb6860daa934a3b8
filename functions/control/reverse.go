package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"kitestream/jetstream"
)

// wayBack makes the task in the other direction, and waits until its bridge reads the target's changes: from then on clients may
// write there. Nothing else does, so it begins exactly where the promoted task has ended.
func (p *promotion) wayBack(ctx context.Context) error {
	if p.r.Reverse == nil {
		return nil
	}
	p.say("starting the task in the other direction")
	ref := jetstream.TaskRef{Name: p.r.Reverse.Name, ID: nuid.Next()}
	if err := p.changeMine(ctx, func(t *jetstream.Task) { t.Promoted.Reverse = &ref }); err != nil {
		return err
	}
	t, err := p.s.cfg.Tasks.CreateAs(ctx, *p.r.Reverse, ref.ID)
	if err != nil {
		return err
	}
	for {
		waits, err := p.begun(ctx, t)
		if err != nil && !passing(err) && ctx.Err() == nil {
			return err
		}
		if err == nil && waits == "" {
			break
		}
		if err != nil {
			waits = err.Error()
		}
		p.say("waiting until task " + ref.Name + " has begun: " + waits)
		select {
		case <-time.After(promoteLook):
		case <-ctx.Done():
			return refuse(CodeTimeout, "task %s in the other direction has not begun in time: %s", ref.Name, waits)
		}
	}
	sum := summary(t)
	p.answer.Reverse = &sum
	return nil
}

// begun says what the task still waits for before its bridge reads all that it is to follow; nothing when it does.
func (p *promotion) begun(ctx context.Context, t *jetstream.Task) (waits string, err error) {
	if _, err := p.s.sync(ctx, t, syncDefault, p.say); err != nil { // only a bridge that reads can tell
		return "", err
	}
	st, err := jetstream.BridgeStatusOf(ctx, p.s.cfg.Buckets.Status, t.Ref())
	if errors.Is(err, jetstream.ErrNotFound) {
		return "its bridge has said nothing yet", nil
	}
	if err != nil {
		return "", err
	}
	wanted, note := p.s.resolve(ctx, t.Spec)
	if wanted == nil {
		return note, nil
	}
	for _, name := range wanted.Matched {
		i := slices.IndexFunc(st.Collections, func(c jetstream.CollectionStatus) bool {
			return c.Database == name.Database && c.Collection == name.Collection
		})
		if i < 0 {
			return fmt.Sprintf("it does not follow %s yet", name), nil
		}
		if text := st.Collections[i].Error; text != "" {
			return "", refuse(CodeSource, "task %s in the other direction can't follow %s: %s", t.Spec.Name, name, text)
		}
	}
	return "", nil
}

// giveUp puts back what a promotion that failed had changed, and says how that went.
func (p *promotion) giveUp(ctx context.Context, late bool, why error) error {
	if late && codeOf(why) == "" {
		why = refuse(CodeTimeout, "it was not done in time")
	}
	p.say("putting back what was changed")
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	var e *Error
	if !errors.As(why, &e) {
		e = refuse(CodeInternal, "%v", why)
		if errors.Is(why, context.Canceled) || errors.Is(why, context.DeadlineExceeded) {
			e = refuse(CodeUnavailable, "%v", why)
		}
	}
	told := *e
	now, err := p.s.cfg.Tasks.Get(ctx, p.name())
	if err == nil && now.Promoted != nil && now.Promoted.ID == p.id {
		err = p.s.rollBack(ctx, now)
	}
	told.Message = strings.TrimSuffix(told.Message, ".") + "; nothing is changed, the task goes on"
	if err != nil && !errors.Is(err, jetstream.ErrNotFound) {
		told.Message = fmt.Sprintf("%s; and it could not be put back yet (%v): a control process does so as soon as it can", e.Message, err)
	}
	return &told
}

// settlePromotion gives the task as it is now, without a promotion that was abandoned. Only who holds its lease may call it.
func (s *Service) settlePromotion(ctx context.Context, t *jetstream.Task) (*jetstream.Task, error) {
	now, err := s.cfg.Tasks.Get(ctx, t.Spec.Name)
	if err == nil && now.ID != t.ID {
		err = fmt.Errorf("task %s: %w", t.Spec.Name, jetstream.ErrNotFound)
	}
	if err != nil || now.Promoted == nil || now.Promoted.Done {
		return now, err
	}
	within, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	if err := s.rollBack(within, now); err != nil {
		return nil, fmt.Errorf("put back a promotion that was abandoned: %w", err)
	}
	return s.cfg.Tasks.Get(ctx, t.Spec.Name)
}

// rollBack has the task go on as before its promotion, which was not done. The task in the other direction goes first, wholly: two
// that run against each other would undo newer changes by older ones.
func (s *Service) rollBack(ctx context.Context, t *jetstream.Task) error {
	if err := s.removeReverse(ctx, t.Promoted.Reverse); err != nil {
		return err
	}
	_, err := s.cfg.Tasks.Update(ctx, t.Spec.Name, func(now *jetstream.Task) error {
		if now.ID != t.ID || now.Promoted == nil || now.Promoted.ID != t.Promoted.ID || now.Promoted.Done {
			return nil
		}
		goOn(now)
		return nil
	})
	if err == nil {
		s.cfg.Log.Warn("promotion rolled back", "task", t.Spec.Name, "target", t.Promoted.Target)
	}
	return err
}

// goOn has a task be applied again after a promotion.
func goOn(t *jetstream.Task) {
	t.Promoted = nil
	if t.State == jetstream.TaskPaused {
		t.State = jetstream.TaskRunning
	}
}

func (s *Service) removeReverse(ctx context.Context, ref *jetstream.TaskRef) error {
	if ref == nil {
		return nil
	}
	t, err := s.cfg.Tasks.Get(ctx, ref.Name)
	if errors.Is(err, jetstream.ErrNotFound) || err == nil && t.ID != ref.ID {
		return nil
	}
	if err == nil {
		t, err = s.mark(ctx, t)
	}
	for err == nil {
		if err = s.takeApart(ctx, t); !errors.Is(err, jetstream.ErrHeld) {
			return err
		}
		select {
		case <-time.After(lookAgain):
			err = nil
		case <-ctx.Done():
		}
	}
	return err
}

// carryPromotion rolls back what nobody is at any more.
func (s *Service) carryPromotion(ctx context.Context, t *jetstream.Task) {
	if t.Promoted == nil || t.Promoted.Done {
		return
	}
	err := s.alone(ctx, t.Ref().PromoteLease(), func(ctx context.Context) error {
		_, err := s.settlePromotion(ctx, t)
		return err
	})
	if err != nil && !errors.Is(err, jetstream.ErrHeld) && !errors.Is(err, jetstream.ErrNotFound) && ctx.Err() == nil {
		s.cfg.Log.Warn("promotion not rolled back yet", "task", t.Spec.Name, "error", err)
	}
}

// undo has a task go on of which a target was promoted.
func (p *promotion) undo(ctx context.Context, t *jetstream.Task) (err error) {
	if p.task, err = p.s.settlePromotion(ctx, t); err != nil {
		return err
	}
	was := p.task.Promoted
	if was == nil {
		return refuse(CodeState, "no target of task %s is promoted", p.name())
	}
	if was.Reverse != nil {
		back, err := p.s.cfg.Tasks.Get(ctx, was.Reverse.Name)
		if err == nil && back.ID == was.Reverse.ID {
			return refuse(CodeState, "task %s replicates in the other direction: delete it first, or each would undo the other's changes", was.Reverse.Name)
		}
		if err != nil && !errors.Is(err, jetstream.ErrNotFound) {
			return err
		}
	}
	err = p.change(ctx, func(t *jetstream.Task) error {
		if t.State == jetstream.TaskDeleting {
			return refuse(CodeState, "task %s is being deleted", p.name())
		}
		goOn(t)
		return nil
	})
	if err == nil {
		p.answer.Task, p.answer.Target = summary(p.task), was.Target
		p.s.cfg.Log.Info("promotion undone", "task", p.name(), "target", was.Target)
	}
	return err
}

// promoting refuses what can't be done to a task of which a target is promoted, or is being.
func promoting(t *jetstream.Task) error {
	switch p := t.Promoted; {
	case p == nil:
		return nil
	case p.Done:
		e := refuse(CodeState, "target %s of task %s was promoted: nothing is applied any more", p.Target, t.Spec.Name)
		e.Do = "'kitestream promote " + t.Spec.Name + " --undo' has it go on"
		return e
	}
	return refuse(CodeState, "target %s of task %s is being promoted", t.Promoted.Target, t.Spec.Name)
}

// signs tells a caller each second what a long request is at.
func signs(progress func(string)) (say func(string), stop func()) {
	var mu sync.Mutex
	text := "it is being looked at"
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				mu.Lock()
				now := text
				mu.Unlock()
				progress(now)
			case <-done:
				return
			}
		}
	}()
	return func(s string) {
			mu.Lock()
			defer mu.Unlock()
			text = s
		}, func() {
			close(done)
			<-ended
		}
}
