package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kitestream/functions/verify"
	"kitestream/jetstream"
)

const (
	dueRound  = 5 * time.Second  // between looks what is due
	dueWait   = 10 * time.Minute // for a target to have all that the source holds; one that lags more can't be verified
	putWithin = 5 * time.Second  // for a verdict to be kept
)

// schedule verifies what is due: one target at a time in this process, and each by one process at a time.
func (v *Verifier) schedule(ctx context.Context) error {
	look := time.NewTicker(dueRound)
	defer look.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	free := make(chan struct{}, 1)
	free <- struct{}{}
	for {
		for _, d := range v.look(ctx) {
			select {
			case <-free:
				running.Go(func() {
					defer func() { free <- struct{}{} }()
					v.verifyDue(ctx, d)
				})
			default:
			}
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// due is a target that is to be verified.
type due struct {
	task   *jetstream.Task
	target jetstream.TargetSpec
}

// look shows the last verdicts as metrics, and gives what is due.
func (v *Verifier) look(ctx context.Context) []due {
	ctx, cancel := context.WithTimeout(ctx, dueRound)
	defer cancel()
	tasks, err := v.cfg.Tasks.List(ctx)
	if err != nil {
		v.cfg.Log.Debug("tasks not listed", "error", err)
	}
	v.cfg.Metrics.verified.Reset()
	v.cfg.Metrics.verifiedAt.Reset()
	var out []due
	for _, t := range tasks {
		if t.Spec.Source != v.cfg.Source {
			continue
		}
		for _, target := range t.Spec.Targets {
			last, err := jetstream.VerdictOf(ctx, v.cfg.Buckets.Status, t.Ref().Target(target.Name))
			if err == nil {
				v.cfg.Metrics.verdict(t.Spec.Name, target.Name, last)
			}
			if (err == nil || errors.Is(err, jetstream.ErrNotFound)) && isDue(&t, last, time.Now()) {
				out = append(out, due{&t, target})
			}
		}
	}
	return out
}

// isDue reports whether a target whose last verdict this is, or none, is to be verified now.
func isDue(t *jetstream.Task, last jetstream.Verdict, now time.Time) bool {
	every := t.Spec.VerifyInterval()
	if every == 0 || t.State != jetstream.TaskRunning {
		return false
	}
	since := last.At
	if since.IsZero() {
		since = t.Created
	}
	return now.Sub(since) >= every
}

// verifyDue verifies a target, if no other process is at it.
func (v *Verifier) verifyDue(ctx context.Context, d due) {
	id := d.task.Ref().Target(d.target.Name)
	log := v.cfg.Log.With("task", d.task.Spec.Name, "target", d.target.Name)
	lease, err := acquire(ctx, v.cfg.Leases, v.cfg.Tasks, d.task, claim{key: id.VerifyLease(), holder: v.cfg.Holder})
	if err != nil {
		if !errors.Is(err, jetstream.ErrHeld) && ctx.Err() == nil {
			log.Debug("lease not taken", "error", err)
		}
		return
	}
	renew, stopRenew := context.WithCancel(context.WithoutCancel(ctx))
	var renewing sync.WaitGroup
	renewing.Go(func() { _ = lease.Run(renew) }) // its end shows in the lease's context
	held, stop := lease.Context(ctx)
	defer func() {
		stop()
		stopRenew()
		renewing.Wait()
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = lease.Release(release) // one that can't be released expires
	}()
	if last, err := jetstream.VerdictOf(held, v.cfg.Buckets.Status, id); err == nil && !isDue(d.task, last, time.Now()) {
		return // another was just at it
	}
	limited := *v
	limited.cfg.Wait = func(ctx context.Context, target jetstream.TargetID, say func(string), synced func()) error {
		ctx, cancel := context.WithTimeout(ctx, dueWait)
		defer cancel()
		return v.cfg.Wait(ctx, target, say, synced)
	}
	req := VerifyRequest{Task: d.task.Spec.Name, ID: d.task.ID, Target: d.target.Name}
	report, err := limited.compare(held, d.task, req, func(string) {})
	switch {
	case held.Err() != nil: // its next holder begins anew
	case err != nil:
		log.Warn("target not verified", "error", err)
		v.keep(held, id, jetstream.Verdict{Verdict: string(verify.Unknown), Why: err.Error()})
	default:
		log.Info("target verified", "verdict", report.Verdict, "rows", report.Rows(), "differences", report.Found(), "seconds", report.Seconds)
		v.keep(held, id, verdictOf(report))
	}
}

// verdictOf is what of a report is kept.
func verdictOf(r *verify.Report) jetstream.Verdict {
	out := jetstream.Verdict{
		Verdict: string(r.Verdict), Differences: r.Found(), Rows: r.Rows(), Collections: len(r.Collections), Seconds: r.Seconds,
	}
	for _, c := range r.Collections {
		if c.Verdict == r.Verdict && out.Why == "" {
			out.Why = c.Summary()
		}
	}
	return out
}

// keep keeps a verdict, unless the task is being deleted or gone. That may fail: the last one then stays, and gets older.
func (v *Verifier) keep(ctx context.Context, id jetstream.TargetID, verdict jetstream.Verdict) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putWithin)
	defer cancel()
	verdict.At, verdict.Worker = time.Now().UTC(), v.cfg.Holder
	t, err := v.cfg.Tasks.Get(ctx, id.Task.Name)
	if err == nil && (t.ID != id.Task.ID || t.State == jetstream.TaskDeleting) {
		err = fmt.Errorf("task %s is another one by now: %w", id.Task.Name, jetstream.ErrNotFound)
	}
	if err == nil {
		err = jetstream.PutVerdict(ctx, v.cfg.Buckets.Status, id, verdict)
	}
	if err != nil {
		v.cfg.Log.Warn("verdict not kept", "task", id.Task.Name, "target", id.Name, "error", err)
	}
}
