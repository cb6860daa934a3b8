package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// verdictKind is what the keys of verdicts begin with, in the bucket of statuses.
const verdictKind = "verdict"

// Verdict is how the last verification of a whole target ended.
type Verdict struct {
	At          time.Time `json:"at"`      // when it ended
	Verdict     string    `json:"verdict"` // equal, different or unknown
	Why         string    `json:"why,omitempty"`
	Differences int64     `json:"differences"`
	Rows        int64     `json:"rows"` // of the source that were compared
	Collections int       `json:"collections"`
	Seconds     float64   `json:"seconds"` // how long it took
	Worker      string    `json:"worker"`
}

func (v Verdict) check() error {
	if v.Worker == "" || v.Verdict == "" {
		return errors.New("no worker or no verdict")
	}
	return nil
}

// PutVerdict keeps the verdict about a target instead of the one before.
func PutVerdict(ctx context.Context, kv natsjs.KeyValue, target TargetID, v Verdict) error {
	return putStatus(ctx, kv, target.record(verdictKind), v)
}

// VerdictOf reads the last verdict about a target. The error wraps ErrNotFound when there is none yet.
func VerdictOf(ctx context.Context, kv natsjs.KeyValue, target TargetID) (Verdict, error) {
	v, rev, err := loadRecord[Verdict](ctx, kv, target.record(verdictKind))
	if err == nil && rev == 0 {
		err = fmt.Errorf("verdict about %s: %w", target, ErrNotFound)
	}
	return v, err
}

// VerifyLease is the key of the lease that makes a process the only one to verify the target by itself.
func (t TargetID) VerifyLease() string { return "verify." + token(t.Task.Name) + "." + token(t.Name) }
