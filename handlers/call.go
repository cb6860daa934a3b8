package handlers

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"kitestream/jetstream"
)

// op names a call to a target. It is a label of metrics.
type op string

// The calls about rows. A change of schema is named like its event.
const (
	opUpsert op = "upsert"
	opDelete op = "delete"
	opShape  op = "describe"
)

// job says what a call is about.
type job struct {
	op   op
	name string // of the collection or database
	rows int    // or keys; 0 for calls that are not about any

	optional bool // the target can go on without it
}

// once makes one call, under a deadline that is inside the worker's leases (guarantee 4). Its error is an *Error, or
// one that ends Apply: that of ctx, or jetstream.ErrFenced.
func (h *Handlers) once(ctx context.Context, j job, fn func(context.Context) error) error {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	deadline, err := h.deadline()
	if err != nil {
		return fmt.Errorf("%s %s: %w", j.op, j.name, err)
	}
	callCtx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	began := time.Now()
	err = fn(callCtx)
	h.m.seconds.WithLabelValues(h.o.Task, h.o.Target, string(j.op)).Observe(time.Since(began).Seconds())
	switch {
	case err == nil:
		if j.rows > 0 {
			h.m.callRows.WithLabelValues(h.o.Task, h.o.Target, string(j.op)).Observe(float64(j.rows))
		}
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	known := classify(err)
	h.m.errors.WithLabelValues(h.o.Task, h.o.Target, string(known.Class)).Inc()
	return &Error{Class: known.Class, Code: known.Code, Err: fmt.Errorf("%s %s: %w", j.op, j.name, known.Err)}
}

// deadline is when a call that begins now has to end (guarantee 4).
func (h *Handlers) deadline() (time.Time, error) {
	now := time.Now()
	deadline := now.Add(h.o.CallTimeout)
	if h.o.Until == nil {
		return deadline, nil
	}
	until := h.o.Until()
	if !until.After(now) {
		return time.Time{}, fmt.Errorf("the lease ended at %s: %w", until.Format(time.RFC3339Nano), jetstream.ErrFenced)
	}
	if until.Before(deadline) {
		return until, nil
	}
	return deadline, nil
}

// patient decides, for one call that may be made several times, what an error means, and waits between the times. It
// is the only place where that is decided.
type patient struct {
	h       *Handlers
	most    time.Duration // for errors that say too little
	delays  *backoff.ExponentialBackOff
	unclear time.Time // when errors began to say too little
	waiting bool
}

func (h *Handlers) patient(most time.Duration) *patient {
	return &patient{h: h, most: most, delays: &backoff.ExponentialBackOff{
		InitialInterval:     h.o.MinBackoff,
		MaxInterval:         h.o.MaxBackoff,
		Multiplier:          2,
		RandomizationFactor: 0.5,
	}}
}

// verdict takes the error of a call. It returns nil when the call is to be made again, after it has waited, and else
// the error to end with: that of the call if it is Permanent or TooLarge, or has become Permanent.
func (p *patient) verdict(ctx context.Context, err error) error {
	known, ok := err.(*Error) //nolint:errorlint // once returns it unwrapped, or else an error that ends Apply
	if !ok || known.Class == Permanent || known.Class == TooLarge {
		p.settle(ok)
		return err
	}
	if known.Class != Unclear {
		p.unclear = time.Time{}
	} else if p.unclear.IsZero() {
		p.unclear = time.Now()
	} else if time.Since(p.unclear) >= p.most {
		p.settle(true)
		return permanent(known.Code, known.Err)
	}
	if !p.waiting {
		p.waiting = true
		p.delays.Reset()
		p.h.waits.begin()
	}
	p.h.waits.failed(known)
	p.h.m.retries.WithLabelValues(p.h.o.Task, p.h.o.Target, string(known.Class)).Inc()
	if err := sleep(ctx, p.delay(known)); err != nil {
		p.settle(false)
		return err
	}
	return nil
}

func (p *patient) delay(err *Error) time.Duration {
	if err.Class == Misconfigured {
		return p.h.o.SlowBackoff
	}
	return p.delays.NextBackOff()
}

// settle ends the wait, if there is one. Answered says whether the target has said yes or no.
func (p *patient) settle(answered bool) {
	switch {
	case p.waiting:
		p.waiting = false
		p.h.waits.end(answered)
	case answered:
		p.h.waits.fine()
	}
	p.unclear = time.Time{}
}

// sleep waits, but not longer than ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// call makes a call that can't be made in parts until it succeeds, or can't.
func (h *Handlers) call(ctx context.Context, j job, fn func(context.Context) error) error {
	p := h.patient(h.o.Patience)
	if j.optional {
		p.most = h.o.SettingPatience
	}
	for {
		err := h.once(ctx, j, fn)
		if err == nil {
			p.settle(true)
			return nil
		}
		if err := p.verdict(ctx, err); err != nil {
			return err
		}
	}
}
