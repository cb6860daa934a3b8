package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
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
	var rev uint64
	err = attempt(ctx, l.js.Conn(), l.cfg.TTL-l.cfg.Margin, func(ctx context.Context) (err error) {
		rev, err = l.kv.Create(ctx, key, value, natsjs.KeyTTL(l.cfg.TTL))
		return err
	})
	if errors.Is(err, natsjs.ErrKeyExists) {
		return nil, fmt.Errorf("acquire lease %s: %w", key, ErrHeld)
	}
	if err != nil {
		return nil, fmt.Errorf("acquire lease %s: %w", key, err)
	}
	return newLease(l, key, value, rev, start), nil
}

// put writes a lease's key with a TTL if its revision is still the given one. Not kv.Update, which would drop the TTL:
// the key would live for ever.
func (l *Leases) put(ctx context.Context, key string, value []byte, revision uint64) (*natsjs.PubAck, error) {
	msg := nats.NewMsg(kvSubject(l.kv, key))
	msg.Data = value
	return l.js.PublishMsg(ctx, msg, natsjs.WithExpectLastSequencePerSubject(revision), natsjs.WithMsgTTL(l.cfg.TTL))
}

// Holders gives who holds each live lease whose key is the prefix followed by '.' and more; an empty name where the
// record says none that can be read.
func (l *Leases) Holders(ctx context.Context, prefix string) (map[string]string, error) {
	entries, err := snapshot(ctx, l.js.Conn(), l.kv, prefix+".>")
	if err != nil {
		return nil, err
	}
	holders := make(map[string]string, len(entries))
	for _, e := range entries {
		rec, err := decodeRecord[leaseRecord](e.Key(), e.Value())
		if err != nil {
			rec.Holder = "" // held all the same
		}
		holders[e.Key()] = rec.Holder
	}
	return holders, nil
}

// Watch gives a tick when a lease below the prefix came, went or expired, one tick for several, and one to begin with.
// Renewals give none. The channel is closed after ctx has ended. The error is about the prefix.
func (l *Leases) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	if prefix == "" || strings.ContainsAny(prefix, " *>") || strings.Contains("."+prefix+".", "..") {
		return nil, fmt.Errorf("watch leases: %q is no prefix of keys", prefix)
	}
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

// isWrongSequence reports whether a publish was refused because its expectation of a sequence was wrong. Replicated
// streams answer with a code of their own.
func isWrongSequence(err error) bool {
	var api *natsjs.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == natsjs.JSErrCodeStreamWrongLastSequence || api.ErrorCode == natsjs.JSErrCodeStreamWrongLastSequenceConstant)
}
