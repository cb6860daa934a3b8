package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// LeaseConfig says how long leases last.
type LeaseConfig struct {
	// TTL is how long after its last renewal a lease expires; whole seconds. Default 3 s. Short: work moves soon after
	// a death, and moves needlessly when NATS is slow. A lease is renewed each TTL/4.
	TTL time.Duration
	// Margin is how long before the server its holder gives a lease up, for what was sent just before to have ended.
	// Default 300 ms; less than half of TTL.
	Margin time.Duration
}

// DefaultLeaseConfig is what a LeaseConfig holds where it is left zero.
func DefaultLeaseConfig() LeaseConfig {
	return LeaseConfig{TTL: 3 * time.Second, Margin: 300 * time.Millisecond}
}

// Validate joins all that is wrong with the config.
func (c LeaseConfig) Validate() error {
	var errs []error
	if c.TTL < time.Second || c.TTL%time.Second != 0 {
		errs = append(errs, &FieldError{"ttl", fmt.Sprintf("%v is not whole seconds, 1 or more", c.TTL)})
	}
	if c.Margin < 0 || c.Margin >= c.TTL/2 {
		errs = append(errs, &FieldError{"margin", fmt.Sprintf("%v is not between 0 and half of ttl, %v", c.Margin, c.TTL/2)})
	}
	return errors.Join(errs...)
}

// Leases are the leases in one KV bucket: each a key with a TTL that whoever holds it keeps alive. Safe for concurrent
// use.
type Leases struct {
	js  natsjs.JetStream
	kv  natsjs.KeyValue
	cfg LeaseConfig
}

// NewLeases uses a bucket that has a limit marker TTL, without which nobody would see a lease expire. What cfg leaves
// zero is the default.
func NewLeases(js natsjs.JetStream, kv natsjs.KeyValue, cfg LeaseConfig) (*Leases, error) {
	def := DefaultLeaseConfig()
	if cfg.TTL == 0 {
		cfg.TTL = def.TTL
	}
	if cfg.Margin == 0 {
		cfg.Margin = min(def.Margin, cfg.TTL/4)
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure leases: %w", err)
	}
	return &Leases{js: js, kv: kv, cfg: cfg}, nil
}

// leaseRecord is the value of a lease's key.
type leaseRecord struct {
	Holder  string `json:"holder"`
	Session string `json:"session"` // one acquisition: tells a holder its own renewal, whose answer was lost, from another's
}

func (r leaseRecord) check() error {
	if r.Holder == "" || r.Session == "" {
		return errors.New("no holder or no session")
	}
	return nil
}

// Acquire takes the lease, for as long as Run is running; without Run it ends after one TTL. The error wraps ErrHeld
// when somebody has it. When the answer is lost the lease may be taken by nobody; then it expires by itself.
func (l *Leases) Acquire(ctx context.Context, key, holder string) (*Lease, error) {
	rec := leaseRecord{Holder: holder, Session: nuid.Next()}
	value, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("encode lease %s: %w", key, err)
	}
	start := time.Now() // the server counts from later
	ctx, cancel := context.WithTimeout(ctx, l.cfg.TTL-l.cfg.Margin)
	defer cancel()
	rev, err := l.kv.Create(ctx, key, value, natsjs.KeyTTL(l.cfg.TTL))
	if errors.Is(err, natsjs.ErrKeyExists) {
		return nil, fmt.Errorf("acquire lease %s: %w", key, ErrHeld)
	}
	if err != nil {
		return nil, fmt.Errorf("acquire lease %s: %w", key, err)
	}
	return newLease(l, key, value, rev, start), nil
}

// Holders gives who holds each live lease whose key is the prefix followed by '.' and more.
func (l *Leases) Holders(ctx context.Context, prefix string) (map[string]string, error) {
	entries, err := snapshot(ctx, l.kv, prefix+".>")
	if err != nil {
		return nil, err
	}
	holders := make(map[string]string, len(entries))
	for _, e := range entries {
		rec, err := decodeRecord[leaseRecord](e.Key(), e.Value())
		if err != nil {
			return nil, err
		}
		holders[e.Key()] = rec.Holder
	}
	return holders, nil
}

// Watch gives a tick when a lease below the prefix came, went or expired, one tick for several, and one to begin with.
// Renewals give none. The channel is closed after ctx has ended.
func (l *Leases) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	w := &leaseWatch{ticks: make(chan struct{}, 1)}
	go func() {
		defer close(w.ticks)
		_ = follow(ctx, l.js, l.kv, prefix+".>", w) // ends with ctx only
	}()
	return w.ticks, nil
}

// leaseWatch remembers each key's value, so that renewals, which don't change it, give no tick.
type leaseWatch struct {
	ticks chan struct{}
	seen  map[string]string
}

func (w *leaseWatch) begin() {}

func (w *leaseWatch) full(entries []natsjs.KeyValueEntry) {
	w.seen = make(map[string]string, len(entries))
	for _, e := range entries {
		w.seen[e.Key()] = string(e.Value())
	}
	w.tick()
}

func (w *leaseWatch) change(e natsjs.KeyValueEntry) {
	if e.Operation() != natsjs.KeyValuePut {
		delete(w.seen, e.Key())
		w.tick()
		return
	}
	if v := string(e.Value()); w.seen[e.Key()] != v {
		w.seen[e.Key()] = v
		w.tick()
	}
}

func (w *leaseWatch) tick() {
	select {
	case w.ticks <- struct{}{}:
	default:
	}
}

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
	ctx, cancel := context.WithTimeout(ctx, l.leases.cfg.TTL/4)
	defer cancel()
	// Not kv.Update, which would drop the TTL: the key would live for ever.
	msg := nats.NewMsg(kvSubject(l.leases.kv, l.key))
	msg.Data = l.value
	ack, err := l.leases.js.PublishMsg(ctx, msg, natsjs.WithExpectLastSequencePerSubject(rev), natsjs.WithMsgTTL(l.leases.cfg.TTL))
	switch {
	case err == nil:
		l.extend(ack.Sequence, start)
		return nil
	case isWrongSequence(err):
		return l.settle(ctx)
	}
	return fmt.Errorf("renew lease %s: %w", l.key, err)
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
		return fmt.Errorf("read lease %s: %w", l.key, err)
	case string(e.Value()) != string(l.value):
		l.end(errLeaseTaken)
		return nil
	}
	// Ours. When that renewal was stored is not known, so the deadline stays where it is until the next one.
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision = max(l.revision, e.Revision())
	return fmt.Errorf("renew lease %s: %w", l.key, ErrConflict)
}

// Release gives the lease up: it is over at once, and free for others if it was still ours.
func (l *Lease) Release(ctx context.Context) error {
	l.end(errLeaseReleased) // first, so that nobody works under it any more
	l.op.Lock()
	defer l.op.Unlock()
	l.mu.Lock()
	rev := l.revision
	l.mu.Unlock()
	// The marker is for those who watch; it need not stay.
	err := l.leases.kv.Purge(ctx, l.key, natsjs.LastRevision(rev), natsjs.PurgeTTL(l.leases.cfg.TTL))
	if err != nil && !errors.Is(err, natsjs.ErrKeyRevisionMismatch) {
		return fmt.Errorf("release lease %s: %w", l.key, err)
	}
	return nil
}

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
	context.Context
	lease  *Lease
	cancel context.CancelCauseFunc
}

// Err is nil while the lease is held and the parent has not ended.
func (c *leaseContext) Err() error {
	if c.Context.Err() == nil {
		c.lease.expired() // ends this context when it is
	}
	return c.Context.Err()
}

// isWrongSequence reports whether a publish was refused because its expectation of a sequence was wrong. Replicated
// streams answer with a code of their own.
func isWrongSequence(err error) bool {
	var api *natsjs.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == natsjs.JSErrCodeStreamWrongLastSequence || api.ErrorCode == natsjs.JSErrCodeStreamWrongLastSequenceConstant)
}
