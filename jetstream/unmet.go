package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// unmetKind is what the keys of unmet settings begin with.
const unmetKind = "unmet"

// Unmet is a setting that a target refused for good. The target goes on without it; the events are kept, so that a retry
// can apply them again, whatever has become of them on the stream.
type Unmet struct {
	Setting      string        `json:"setting"`                 // Setting.Key
	Name         QualifiedName `json:"name,omitzero"`           // what the source calls it now; a database if Collection is empty
	CollectionID int64         `json:"collection_id,omitempty"` // the source's
	DatabaseID   int64         `json:"database_id,omitempty"`
	Kind         Kind          `json:"kind"`   // of the event that was refused last
	Code         string        `json:"code"`   // for programs
	Reason       string        `json:"reason"` // for people
	Since        time.Time     `json:"since"`
	Retry        bool          `json:"retry,omitempty"` // it is to be tried again
	Events       []KeptEvent   `json:"events"`          // in the stream's order: what a retry has to apply
}

// KeptEvent is an event as it was on the stream.
type KeptEvent struct {
	Seq     uint64      `json:"seq"`
	Subject string      `json:"subject"`
	Header  nats.Header `json:"header"`
	Body    []byte      `json:"body"`
}

func (u Unmet) check() error {
	if u.Setting == "" || len(u.Events) == 0 {
		return errors.New("no setting, or no event")
	}
	return nil
}

// Replay are the kept events, with the names that things have now. The error wraps ErrMalformed or ErrVersion.
func (u Unmet) Replay() ([]*Event, error) {
	out := make([]*Event, 0, len(u.Events))
	for _, k := range u.Events {
		e, err := ParseEvent(k.Subject, k.Header, k.Body)
		if err != nil {
			return nil, fmt.Errorf("unmet setting %s: %w", u.Setting, err)
		}
		e.Seq, e.Database, e.Collection = k.Seq, u.Name.Database, u.Name.Collection
		out = append(out, e)
	}
	return out, nil
}

// Unmets are the unmet settings of one target, kept in a KV bucket and followed by a local copy. Safe for concurrent use.
type Unmets struct {
	js   natsjs.JetStream
	kv   natsjs.KeyValue
	id   TargetID
	copy *localCopy[Unmet]
}

// OpenUnmets reads the target's unmet settings. From then on the copy changes as that of OpenStops does.
func OpenUnmets(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, id TargetID) (*Unmets, error) {
	c, err := openCopy[Unmet](ctx, js, kv, id.record(unmetKind, "*"))
	if err != nil {
		return nil, fmt.Errorf("open unmet settings of %s: %w", id, err)
	}
	return &Unmets{js: js, kv: kv, id: id, copy: c}, nil
}

// Run follows others' changes until ctx ends, and returns its error. It calls heard, if there is one, after each.
func (s *Unmets) Run(ctx context.Context, heard func()) error {
	s.copy.heard = heard
	return follow(ctx, s.js, s.kv, s.id.record(unmetKind, "*"), s.copy)
}

// List is the unmet settings, by name and age, from the local copy.
func (s *Unmets) List() []Unmet {
	all := s.copy.list()
	slices.SortFunc(all, func(a, b Unmet) int {
		return cmp.Or(cmp.Compare(a.Name.Database, b.Name.Database), cmp.Compare(a.Name.Collection, b.Name.Collection),
			cmp.Compare(a.Events[0].Seq, b.Events[0].Seq), cmp.Compare(a.Setting, b.Setting))
	})
	return all
}

// Refused says that the target refused the event for good, and will be without what it sets.
func (s *Unmets) Refused(ctx context.Context, e *Event, code, reason string) error {
	set, err := SettingOf(e)
	if err != nil {
		return err
	}
	return s.alter(ctx, set.Key, func(rec *Unmet, there bool) (verdict, error) {
		if !there || set.Whole {
			*rec = Unmet{Setting: set.Key, Since: cmp.Or(rec.Since, time.Now().UTC())}
		}
		rec.keep(s.id.Task.Name, e)
		rec.Name, rec.CollectionID, rec.DatabaseID, rec.Kind = e.Name(), e.CollectionID, e.DatabaseID, e.Kind
		rec.Code, rec.Reason, rec.Retry = code, head(reason, maxReason), false
		return write, rec.check()
	})
}

// Applied says that the target has carried the event out: what it sets is no longer unmet, or not only what it was.
func (s *Unmets) Applied(ctx context.Context, e *Event) error {
	set, err := SettingOf(e)
	if err != nil {
		return err
	}
	return s.alter(ctx, set.Key, func(rec *Unmet, there bool) (verdict, error) {
		if !there {
			return keep, nil
		}
		if set.Whole {
			return remove, nil
		}
		rec.keep(s.id.Task.Name, e)
		return write, nil
	})
}

// keep adds an event, once.
func (u *Unmet) keep(task string, e *Event) {
	if slices.ContainsFunc(u.Events, func(k KeptEvent) bool { return k.Seq == e.Seq }) {
		return
	}
	m := e.Msg(task)
	u.Events = append(u.Events, KeptEvent{Seq: e.Seq, Subject: m.Subject, Header: m.Header, Body: m.Data})
}

// Defined says that the target has carried out a drop or a rename: what was unmet of it is pointless, or has another name.
func (s *Unmets) Defined(ctx context.Context, e *Event) error {
	if e.Kind != DropCollection && e.Kind != DropDatabase && e.Kind != RenameCollection {
		return nil
	}
	// The bucket is asked, as another process may have had something refused just before it came to this barrier.
	all, err := openCopy[Unmet](ctx, s.js, s.kv, s.id.record(unmetKind, "*"))
	if err != nil {
		return fmt.Errorf("read unmet settings of %s: %w", s.id, err)
	}
	for _, u := range all.list() {
		ofIt := u.CollectionID == e.CollectionID && (e.CollectionID != 0 || u.DatabaseID == e.DatabaseID && u.DatabaseID != 0)
		if !ofIt {
			continue
		}
		err := s.alter(ctx, u.Setting, func(rec *Unmet, there bool) (verdict, error) {
			if !there || e.Kind != RenameCollection {
				return remove, nil
			}
			rec.Name, err = e.NewName()
			return write, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// MarkRetry asks for a setting to be tried again. ErrNotFound: it is not unmet any more.
func (s *Unmets) MarkRetry(ctx context.Context, setting string) error {
	return s.alter(ctx, setting, func(rec *Unmet, there bool) (verdict, error) {
		if !there {
			return keep, ErrNotFound
		}
		rec.Retry = true
		return write, nil
	})
}

// RefusedAgain says that a retry was in vain.
func (s *Unmets) RefusedAgain(ctx context.Context, setting, code, reason string) error {
	return s.alter(ctx, setting, func(rec *Unmet, there bool) (verdict, error) {
		if !there {
			return keep, nil
		}
		rec.Code, rec.Reason, rec.Retry = code, head(reason, maxReason), false
		return write, nil
	})
}

// Met forgets a setting: a retry has carried out all its events.
func (s *Unmets) Met(ctx context.Context, setting string) error {
	return s.alter(ctx, setting, func(*Unmet, bool) (verdict, error) { return remove, nil })
}

func (s *Unmets) alter(ctx context.Context, setting string, fn func(rec *Unmet, there bool) (verdict, error)) error {
	key := s.id.record(unmetKind, fmt.Sprintf("%016x", xxhash.Sum64String(setting)))
	if _, err := alterCopied(ctx, s.js, s.kv, s.copy, key, fn); err != nil {
		return fmt.Errorf("keep what is unmet of %s on %s: %w", setting, s.id, err)
	}
	return nil
}
