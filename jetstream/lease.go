package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Lease is one held lease. Once it is over it stays over. Safe for concurrent use.
type Lease struct {
	leases *Leases
	key    string
	value  []byte
	epoch  uint64
	lost   chan struct{}

	op sync.Mutex // one renewal or release at a time

	mu       sync.Mutex
	revision uint64
	deadline time.Time
	timer    *time.Timer // runs at the deadline
	why      error       // set when the lease is over
	contexts map[*leaseContext]struct{}
}

func newLease(ls *Leases, key string, value []byte, revision uint64, start time.Time) *Lease {
	l := &Lease{
		leases: ls, key: key, value: value, epoch: revision, lost: make(chan struct{}), revision: revision,
		deadline: start.Add(ls.cfg.TTL - ls.cfg.Margin), contexts: map[*leaseContext]struct{}{},
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(time.Until(l.deadline), func() { l.expired() })
	return l
}

var (
	errLeaseTaken    = fmt.Errorf("lease is somebody else's: %w", ErrFenced)
	errLeaseUnheard  = fmt.Errorf("lease was not renewed in time: %w", ErrFenced)
	errLeaseReleased = fmt.Errorf("lease was released: %w", ErrFenced)
)

// Epoch is the fencing number: every later holder of the same key has a greater one.
func (l *Lease) Epoch() uint64 { return l.epoch }

// Deadline is until when nobody else can hold the lease: from before the request of its last renewal, by the
// process's monotonic clock. Guarantee 4: no write to a target may have a later deadline.
func (l *Lease) Deadline() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deadline
}

// Lost is closed when the lease is over: taken, not renewed in time, or released.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Run renews the lease until it is over or ctx ends, and returns ErrFenced, nil after a Release, or ctx's error. It
// does not release it.
func (l *Lease) Run(ctx context.Context) error {
	every := l.leases.cfg.TTL / 4
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.lost:
			if err := l.reason(); !errors.Is(err, errLeaseReleased) {
				return fmt.Errorf("hold lease %s: %w", l.key, err)
			}
			return nil
		case <-timer.C:
			if l.renew(ctx) != nil {
				timer.Reset(every / 4) // soon again: the deadline comes nearer
			} else {
				timer.Reset(every)
			}
		}
	}
}

// renew makes the lease last a TTL from now. An error other than the lease's end is for trying again.
func (l *Lease) renew(ctx context.Context) error {
	l.op.Lock()
	defer l.op.Unlock()
	rev, ok := l.current()
	if !ok {
		return nil
	}
	start := time.Now()
	err := attempt(ctx, l.leases.js.Conn(), l.leases.cfg.TTL/4, func(ctx context.Context) error {
		ack, err := l.leases.put(ctx, l.key, l.value, rev)
		switch {
		case err == nil:
			l.extend(ack.Sequence, start)
		case isWrongSequence(err):
			return l.settle(ctx)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("renew lease %s: %w", l.key, err)
	}
	return nil
}

// settle finds out why the revision was not as expected: an earlier renewal of our own was stored though its answer
// never came, or the lease is no longer ours.
func (l *Lease) settle(ctx context.Context) error {
	e, err := l.leases.kv.Get(ctx, l.key)
	switch {
	case errors.Is(err, natsjs.ErrKeyNotFound):
		l.end(errLeaseTaken)
		return nil
	case err != nil:
		return err
	case string(e.Value()) != string(l.value):
		l.end(errLeaseTaken)
		return nil
	}
	// Ours. When that renewal was stored is not known, so the deadline stays where it is until the next one.
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision = max(l.revision, e.Revision())
	return ErrConflict
}

// Release gives the lease up: it is over at once, and free for others if it was still ours.
func (l *Lease) Release(ctx context.Context) error {
	l.end(errLeaseReleased) // first, so that nobody works under it any more
	l.op.Lock()
	defer l.op.Unlock()
	l.mu.Lock()
	rev := l.revision
	l.mu.Unlock()
	for {
		err := attempt(ctx, l.leases.js.Conn(), l.leases.cfg.TTL, func(ctx context.Context) error {
			// The marker is for those who watch; it need not stay.
			err := l.leases.kv.Purge(ctx, l.key, natsjs.LastRevision(rev), natsjs.PurgeTTL(l.leases.cfg.TTL))
			if !errors.Is(err, natsjs.ErrKeyRevisionMismatch) {
				return err
			}
			e, err := l.leases.kv.Get(ctx, l.key)
			switch {
			case errors.Is(err, natsjs.ErrKeyNotFound):
				return nil
			case err != nil:
				return err
			case string(e.Value()) != string(l.value):
				return nil // another's
			}
			rev = e.Revision() // a renewal that was cut short was stored all the same
			return errRenewedMeanwhile
		})
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errRenewedMeanwhile):
			continue
		case !errors.Is(err, errReconnected) || ctx.Err() != nil:
			return fmt.Errorf("release lease %s: %w", l.key, err)
		}
	}
}

var errRenewedMeanwhile = errors.New("lease was renewed meanwhile")

// current is the revision to renew, if the lease is not over.
func (l *Lease) current() (uint64, bool) {
	if l.expired() {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revision, l.why == nil
}

func (l *Lease) extend(revision uint64, start time.Time) {
	if l.expired() { // the answer came too late: what worked under the lease has been told that it is over
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision = revision
	l.deadline = start.Add(l.leases.cfg.TTL - l.leases.cfg.Margin)
	if l.why == nil {
		l.timer.Reset(time.Until(l.deadline))
	}
}

// expired reports whether the lease is over, by the clock and not by whether a timer has had its turn: after a SIGSTOP
// the first who asks gets the right answer.
func (l *Lease) expired() bool {
	l.mu.Lock()
	over, late := l.why != nil, !time.Now().Before(l.deadline)
	l.mu.Unlock()
	if !over && late {
		l.end(errLeaseUnheard)
	}
	return over || late
}

func (l *Lease) end(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why != nil {
		return
	}
	l.why = why
	l.timer.Stop()
	close(l.lost)
	for c := range l.contexts {
		c.cancel(why)
	}
	clear(l.contexts)
}

func (l *Lease) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// Context is ctx, ended when the lease is over. Its Err looks at the clock, so it is right even when the process was
// stopped past the deadline and no timer has run yet. It has no deadline of its own, since the lease's moves: a single
// write takes context.WithDeadline of it and Deadline.
func (l *Lease) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancelCause(ctx)
	c := &leaseContext{Context: inner, lease: l, cancel: cancel}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why != nil {
		cancel(l.why)
	} else {
		l.contexts[c] = struct{}{}
	}
	return c, func() {
		cancel(context.Canceled)
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.contexts, c)
	}
}

// leaseContext looks at the lease's clock before it says that it has not ended.
type leaseContext struct {
	context.Context //nolint:containedctx // it is a context
	lease           *Lease
	cancel          context.CancelCauseFunc
}

// Err is nil while the lease is held and the parent has not ended.
func (c *leaseContext) Err() error {
	if c.Context.Err() == nil {
		c.lease.expired() // ends this context when it is
	}
	return c.Context.Err()
}
