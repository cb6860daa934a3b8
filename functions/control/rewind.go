package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"kitestream/jetstream"
)

// rewind marks a target to go back, waits until its workers have let go of it, and puts its lanes back. When that is not done in
// time the caller is told, and it is done later: the mark is what counts.
func (s *Service) rewind(ctx context.Context, c call) (any, error) {
	var r RewindRequest
	if err := decode(c.data, &r); err != nil {
		return nil, err
	}
	t, err := s.task(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(t.Spec.Targets, func(spec jetstream.TargetSpec) bool { return spec.Name == r.Target }) {
		return nil, invalidField("target", "target: task %s has no target %q", t.Spec.Name, r.Target)
	}
	answer, err := s.place(ctx, t, r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.TTL+gracePeriod)
	defer cancel()
	err = jetstream.ErrAtBarrier // not marked
	for last := time.Now(); ; {
		if errors.Is(err, jetstream.ErrAtBarrier) {
			if t, err = s.markRewind(ctx, t, r.Target, answer.Seq); err != nil {
				return nil, err
			}
		}
		if err = s.putBack(ctx, t, r.Target); err == nil {
			answer.Task = summary(t)
			return answer, nil
		}
		if !errors.Is(err, jetstream.ErrHeld) && !errors.Is(err, jetstream.ErrAtBarrier) && ctx.Err() == nil {
			return nil, err
		}
		if time.Since(last) >= time.Second {
			last = time.Now()
			c.progress("the target is still being let go of")
		}
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return nil, s.notRewound(context.WithoutCancel(ctx), t, r.Target, err)
		}
	}
}

// place finds where the target is to go back to, and refuses what the stream does not hold any more, what the target has not
// come to yet, and what can't be applied again.
func (s *Service) place(ctx context.Context, t *jetstream.Task, r RewindRequest) (*RewindAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, shortTimeout)
	defer cancel()
	seq, since, err := parsePlace(r.To, time.Now())
	if err != nil {
		return nil, err
	}
	held, err := jetstream.StreamHolds(ctx, s.cfg.JS, t.Spec.Name)
	if none(err) || err == nil && held.Last < held.First {
		return nil, refuse(CodeState, "the stream of task %s holds nothing yet: there is nothing to apply again", t.Spec.Name)
	}
	if err != nil {
		return nil, err
	}
	kept := fmt.Sprintf("the stream holds sequence %d (published %s) to %d (%s)", held.First, stamp(held.FirstTime), held.Last, stamp(held.LastTime))
	old := held.First > 1 && since.Before(held.FirstTime)
	if seq == 0 && !old {
		if seq, _, err = jetstream.FirstSince(ctx, s.cfg.JS, t.Spec.Name, since); none(err) {
			return nil, invalidField("to", "to: nothing was published since %s; %s", stamp(since), kept)
		}
		if err != nil {
			return nil, err
		}
	}
	if seq < held.First {
		return nil, invalidField("to", "to: %s is older than what is kept: %s", r.To, kept)
	}
	back := s.rewinder(t, r.Target, seq)
	reached, err := back.Reached(ctx)
	if err != nil {
		return nil, err
	}
	if seq > reached+1 || seq == reached+1 && t.Rewinds[r.Target].To != seq { // it may be asked again, and be there already
		return nil, invalidField("to", "to: %s is sequence %d, which target %s has not come to: it has applied everything up to %d; %s", r.To, seq, r.Target, reached, kept)
	}
	if err := back.Check(ctx, t.Spec); err != nil {
		return nil, unsafeRewind(err, r, kept)
	}
	_, published, err := jetstream.FirstFrom(ctx, s.cfg.JS, t.Spec.Name, seq)
	return &RewindAnswer{Target: r.Target, Seq: seq, Published: published, Reached: reached}, err
}

func unsafeRewind(err error, r RewindRequest, kept string) error {
	var unsafe *jetstream.UnsafeRewindError
	switch {
	case errors.As(err, &unsafe):
		return invalidField("to", "to: %s is too far back: %v; the earliest place is sequence %d; %s", r.To, unsafe, unsafe.Event.Seq, kept)
	case errors.Is(err, jetstream.ErrMalformed), errors.Is(err, jetstream.ErrVersion):
		return invalidField("to", "to: %s is too far back: %v; %s", r.To, err, kept)
	}
	return err
}

// parsePlace reads a sequence, or a time; of the latter the sequence is 0.
func parsePlace(to string, now time.Time) (seq uint64, since time.Time, err error) {
	if seq, err := strconv.ParseUint(to, 10, 64); err == nil && seq > 0 {
		return seq, time.Time{}, nil
	}
	if since, err := time.Parse(time.RFC3339Nano, to); err == nil {
		return 0, since, nil
	}
	if ago, err := time.ParseDuration(to); err == nil && ago > 0 {
		return 0, now.Add(-ago), nil
	}
	return 0, time.Time{}, invalidField("to", "to: %q is no place: want a sequence from 1 on, a time as RFC 3339 (2026-01-31T12:00:00Z), or how long ago (2h30m)", to)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (s *Service) rewinder(t *jetstream.Task, target string, to uint64) jetstream.Rewinder {
	return jetstream.Rewinder{JS: s.cfg.JS, KV: s.cfg.Buckets.Lanes, Target: t.Ref().Target(target), Lanes: t.Spec.Lanes, To: to}
}

// markRewind has the target's workers let go of it. A target that is going back to that place already goes on doing so.
func (s *Service) markRewind(ctx context.Context, t *jetstream.Task, target string, to uint64) (*jetstream.Task, error) {
	id := t.ID
	t, err := s.cfg.Tasks.Update(ctx, t.Spec.Name, func(t *jetstream.Task) error {
		if t.ID != id { // deleted by another request and made anew: not the one that was asked for
			return jetstream.ErrNotFound
		}
		if t.State == jetstream.TaskDeleting {
			return refuse(CodeState, "task %s is being deleted", t.Spec.Name)
		}
		if err := promoting(t); err != nil {
			return err
		}
		last := t.Rewinds[target]
		if last.Pending && last.To != to {
			return refuse(CodeState, "target %s is being rewound to sequence %d just now", target, last.To)
		}
		if t.Rewinds == nil {
			t.Rewinds = map[string]jetstream.Rewind{}
		}
		if !last.Pending {
			t.Rewinds[target] = jetstream.Rewind{Number: last.Number + 1, To: to, At: time.Now().UTC(), Pending: true}
		}
		return nil
	})
	return t, err
}

// carryRewinds puts back what is marked.
func (s *Service) carryRewinds(ctx context.Context, t *jetstream.Task) {
	for target, r := range t.Rewinds {
		if !r.Pending {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, stepTimeout)
		err := s.putBack(ctx, t, target)
		cancel()
		if err != nil && !errors.Is(err, jetstream.ErrHeld) && ctx.Err() == nil {
			s.cfg.Log.Warn("target not rewound yet", "task", t.Spec.Name, "target", target, "to", r.To, "error", err)
		}
	}
}

// putBack puts the lanes of a target back that was marked for that, and takes the mark off. One process does it at a time. The
// error wraps ErrHeld while a worker still has a lane, or another process is at it; ErrAtBarrier if a worker has to end first what
// it had begun: then the mark is taken off and nothing else was done.
func (s *Service) putBack(ctx context.Context, t *jetstream.Task, target string) error {
	if now, err := s.marked(ctx, t, target); now == nil {
		return err
	}
	holders, err := s.cfg.Leases.Holders(ctx, t.Ref().Target(target).LeasePrefix())
	if err != nil {
		return fmt.Errorf("read who holds the lanes of target %s: %w", target, err)
	}
	if len(holders) > 0 {
		return fmt.Errorf("rewind target %s: %w", target, jetstream.ErrHeld)
	}
	return s.alone(ctx, "rewind."+t.ID+"."+target, func(ctx context.Context) error {
		now, err := s.marked(ctx, t, target)
		if now == nil {
			return err
		}
		to := now.Rewinds[target].To
		err = s.rewinder(now, target, to).Run(ctx)
		if err != nil && !errors.Is(err, jetstream.ErrAtBarrier) {
			return err
		}
		if err == nil {
			s.cfg.Log.Info("target rewound", "task", now.Spec.Name, "target", target, "to", to)
		}
		return errors.Join(err, s.unmark(ctx, now, target, err == nil))
	})
}

// marked is the task as it is now, if it has the mark still that t has; else nil, and how that ended.
func (s *Service) marked(ctx context.Context, t *jetstream.Task, target string) (*jetstream.Task, error) {
	now, err := s.cfg.Tasks.Get(ctx, t.Spec.Name)
	if err != nil {
		return nil, err
	}
	mark := now.Rewinds[target]
	switch {
	case now.ID != t.ID || mark.Number != t.Rewinds[target].Number || !mark.Pending && mark.To > 0:
		return nil, nil // done by another
	case !mark.Pending:
		return nil, fmt.Errorf("rewind target %s: %w", target, jetstream.ErrAtBarrier) // which another has found
	}
	return now, nil
}

// unmark lets workers have the target's lanes again.
func (s *Service) unmark(ctx context.Context, t *jetstream.Task, target string, done bool) error {
	_, err := s.cfg.Tasks.Update(ctx, t.Spec.Name, func(now *jetstream.Task) error {
		mark := now.Rewinds[target]
		if now.ID != t.ID || mark.Number != t.Rewinds[target].Number {
			return nil
		}
		if mark.Pending = false; !done {
			mark.To = 0
		}
		now.Rewinds[target] = mark
		return nil
	})
	return err
}

// notRewound says why a rewind was not done in time.
func (s *Service) notRewound(ctx context.Context, t *jetstream.Task, target string, err error) *Error {
	if errors.Is(err, jetstream.ErrAtBarrier) {
		e := refuse(CodeState, "target %s of task %s: %v, and has not ended in time; nothing was changed", target, t.Spec.Name, jetstream.ErrAtBarrier)
		e.Do = "ask again; if it stays so, see with 'kitestream task get " + t.Spec.Name + "' what the target waits for"
		return e
	}
	e := s.stillHeld(ctx, t)
	e.Message = fmt.Sprintf("target %s of task %s is marked to be rewound and some lanes are still in a worker's hands", target, t.Spec.Name)
	e.Do = "nothing: it is rewound as soon as they are let go; or ask again"
	return e
}
