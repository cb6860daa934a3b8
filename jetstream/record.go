package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// verdict is what to do with a record that has been looked at.
type verdict int

const (
	keep   verdict = iota // leave it as it is
	write                 // write what it has become
	remove                // delete it
)

// maxConflicts is how often a compare-and-set is tried again. Every round one of the contenders gets through, so that
// the 64 lanes of a target at one barrier need no more than 64.
const maxConflicts = 256

// checked is a record that can say whether this program could have written it.
type checked interface{ check() error }

// decodeRecord reads a record of a bucket. Its error wraps ErrMalformed.
func decodeRecord[T checked](key string, data []byte) (T, error) {
	var rec T
	if err := json.Unmarshal(data, &rec); err != nil {
		return rec, fmt.Errorf("record %s: %w: %w", key, ErrMalformed, err)
	}
	if err := rec.check(); err != nil {
		return rec, fmt.Errorf("record %s: %w: %w", key, ErrMalformed, err)
	}
	return rec, nil
}

// loadRecord reads the record at key and its revision; 0 when there is none.
func loadRecord[T checked](ctx context.Context, kv natsjs.KeyValue, key string) (T, uint64, error) {
	var none T
	e, err := kv.Get(ctx, key)
	if errors.Is(err, natsjs.ErrKeyNotFound) {
		return none, 0, nil
	}
	if err != nil {
		return none, 0, fmt.Errorf("read record %s: %w", key, err)
	}
	rec, err := decodeRecord[T](key, e.Value())
	return rec, e.Revision(), err
}

// storeRecord writes a record if its revision is still the given one, 0 for none. Else its error wraps ErrConflict.
func storeRecord(ctx context.Context, kv natsjs.KeyValue, key string, rec any, revision uint64) (uint64, error) {
	data, err := json.Marshal(rec)
	if err != nil {
		return 0, fmt.Errorf("encode record %s: %w", key, err)
	}
	var rev uint64
	if revision == 0 {
		rev, err = kv.Create(ctx, key, data)
	} else {
		rev, err = kv.Update(ctx, key, data, revision)
	}
	if err != nil {
		return 0, fmt.Errorf("write record %s: %w", key, conflict(err))
	}
	return rev, nil
}

// removeRecord deletes a record if its revision is still the given one. Else its error wraps ErrConflict.
func removeRecord(ctx context.Context, kv natsjs.KeyValue, key string, revision uint64) error {
	if err := kv.Purge(ctx, key, natsjs.LastRevision(revision)); err != nil {
		return fmt.Errorf("delete record %s: %w", key, conflict(err))
	}
	return nil
}

func conflict(err error) error {
	if errors.Is(err, natsjs.ErrKeyExists) || errors.Is(err, natsjs.ErrKeyRevisionMismatch) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// alterRecord reads the record at key (rev is 0 when there is none), lets fn say what to do with it, and does that by
// compare-and-set, from the start again when somebody else was faster or an answer was lost with the connection: fn may
// find done what it did before. It gives back the record as it then stands, with its revision; after a removal the
// revision that was removed. An error of fn ends it.
func alterRecord[T checked](ctx context.Context, conn *nats.Conn, kv natsjs.KeyValue, key string, fn func(rec *T, rev uint64) (verdict, error)) (T, uint64, error) {
	for tries := 0; ; tries++ {
		a := alteration[T]{kv: kv, key: key, fn: fn}
		err := attempt(ctx, conn, requestTimeout, a.do)
		again := a.conflict || errors.Is(err, errReconnected)
		if !again || ctx.Err() != nil || tries >= maxConflicts {
			return a.rec, a.rev, err
		}
		pause(ctx, 0, nil)
	}
}

// alteration is one try at a compare-and-set.
type alteration[T checked] struct {
	kv       natsjs.KeyValue
	key      string
	fn       func(*T, uint64) (verdict, error)
	rec      T
	rev      uint64
	conflict bool // somebody else was faster
}

func (a *alteration[T]) do(ctx context.Context) error {
	var err error
	if a.rec, a.rev, err = loadRecord[T](ctx, a.kv, a.key); err != nil {
		return err
	}
	v, err := a.fn(&a.rec, a.rev)
	if err != nil {
		return err
	}
	switch {
	case v == write:
		a.rev, err = storeRecord(ctx, a.kv, a.key, a.rec, a.rev)
	case v == remove && a.rev != 0:
		err = removeRecord(ctx, a.kv, a.key, a.rev)
	}
	a.conflict = errors.Is(err, ErrConflict)
	return err
}
