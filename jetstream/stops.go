package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// stopKind is what the keys of stops begin with.
const stopKind = "stop"

// Stop is a collection that has stopped on a target: no retry can apply one of its events. The lanes pass over its
// events, and each remembers the first that it passed over, so that a retry replays them from there.
type Stop struct {
	Database     string         `json:"database"`
	Collection   string         `json:"collection"`
	CollectionID int64          `json:"collection_id"` // the source's
	Reason       string         `json:"reason"`        // for people, with the way out
	Code         string         `json:"code"`          // for programs
	Since        time.Time      `json:"since"`
	Lanes        map[int]uint64 `json:"lanes"` // stream sequence of the first event that each lane passed over
	Retry        bool           `json:"retry"` // the lanes are to replay what they passed over
}

// Holds reports whether the lane passes over the collection's events: all lanes do, and once a retry is asked for only
// those that still have something to replay.
func (s Stop) Holds(lane int) bool {
	_, behind := s.Lanes[lane]
	return behind || !s.Retry
}

func (s Stop) check() error {
	if s.CollectionID == 0 || s.Collection == "" {
		return errors.New("no collection")
	}
	for lane, seq := range s.Lanes {
		if lane < 0 || seq == 0 {
			return fmt.Errorf("lane %d passed over sequence %d", lane, seq)
		}
	}
	return nil
}

func (s Stop) clone() Stop {
	s.Lanes = maps.Clone(s.Lanes)
	return s
}

// Stops are the stopped collections of one target, kept in a KV bucket and followed by a local copy, which shows this
// process's own changes at once and others' as soon as Run hears of them. Safe for concurrent use.
type Stops struct {
	js natsjs.JetStream
	kv natsjs.KeyValue
	id TargetID

	mu     sync.Mutex
	known  map[int64]knownStop
	newest uint64 // highest revision that this process wrote or heard of
	began  uint64 // newest when the watch began whose full set is awaited
}

// knownStop is a record as last known. One that is gone keeps its place, so that an old value that is heard of late
// does not bring it back.
type knownStop struct {
	stop     Stop
	revision uint64
	gone     bool
}

// OpenStops reads the target's stopped collections. From then on the copy changes with this process's own changes, and
// with everybody's while Run is running.
func OpenStops(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, id TargetID) (*Stops, error) {
	s := &Stops{js: js, kv: kv, id: id, known: map[int64]knownStop{}}
	entries, err := snapshot(ctx, js.Conn(), kv, s.filter())
	if err != nil {
		return nil, fmt.Errorf("open stops of %s: %w", id, err)
	}
	for _, e := range entries {
		if err := s.learn(e); err != nil {
			return nil, fmt.Errorf("open stops of %s: %w", id, err)
		}
	}
	return s, nil
}

// Run follows others' changes until ctx ends, and returns its error.
func (s *Stops) Run(ctx context.Context) error { return follow(ctx, s.js, s.kv, s.filter(), s) }

// Lookup says whether a collection is stopped, from the local copy.
func (s *Stops) Lookup(collectionID int64) (Stop, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.known[collectionID]
	if !ok || k.gone {
		return Stop{}, false
	}
	return k.stop.clone(), true
}

// List is the stopped collections, by name, from the local copy.
func (s *Stops) List() []Stop {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Stop
	for _, k := range s.known {
		if !k.gone {
			all = append(all, k.stop.clone())
		}
	}
	slices.SortFunc(all, func(a, b Stop) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.CollectionID, b.CollectionID))
	})
	return all
}

// Put stops a collection, or gives a stopped one a new reason and takes back a retry. Of each lane the first event
// passed over stays the first. Since it is stopped stays, too.
func (s *Stops) Put(ctx context.Context, stop Stop) error {
	_, err := s.alter(ctx, stop.CollectionID, "put", func(rec *Stop, there bool) (verdict, error) {
		merged := stop.clone()
		if merged.Lanes == nil {
			merged.Lanes = map[int]uint64{}
		}
		if there {
			merged.Since = rec.Since
			for lane, seq := range rec.Lanes {
				if mine, ok := merged.Lanes[lane]; !ok || seq < mine {
					merged.Lanes[lane] = seq
				}
			}
		}
		*rec = merged
		return write, rec.check()
	})
	return err
}

// Touch says that the lane passes over the collection's event at seq; to be called before the event is acked. Only a
// lane's first Touch writes. It gives the stop as it stands: a retry may have been asked for. The error wraps
// ErrNotFound when the collection is no longer stopped: then the event is to be applied.
func (s *Stops) Touch(ctx context.Context, collectionID int64, lane int, seq uint64) (Stop, error) {
	if stop, ok := s.Lookup(collectionID); ok && stop.Lanes[lane] != 0 {
		return stop, nil
	}
	return s.alter(ctx, collectionID, "touch", func(rec *Stop, there bool) (verdict, error) {
		if !there {
			return keep, ErrNotFound
		}
		if _, ok := rec.Lanes[lane]; ok || rec.Retry {
			return keep, nil
		}
		if rec.Lanes == nil {
			rec.Lanes = map[int]uint64{}
		}
		rec.Lanes[lane] = seq
		return write, rec.check()
	})
}

// MarkRetry asks the lanes to replay what they passed over. When none passed over anything, the collection is simply
// no longer stopped. ErrNotFound: it isn't.
func (s *Stops) MarkRetry(ctx context.Context, collectionID int64) error {
	_, err := s.alter(ctx, collectionID, "retry", func(rec *Stop, there bool) (verdict, error) {
		if !there {
			return keep, ErrNotFound
		}
		rec.Retry = true
		return writeOrRemove(rec), nil
	})
	return err
}

// LaneDone says that the lane has replayed everything it had passed over, and applies the collection's events again.
// When all lanes have, the collection is no longer stopped. Without a retry asked for, nothing changes.
func (s *Stops) LaneDone(ctx context.Context, collectionID int64, lane int) error {
	_, err := s.alter(ctx, collectionID, "finish", func(rec *Stop, there bool) (verdict, error) {
		if _, behind := rec.Lanes[lane]; !there || !rec.Retry || !behind {
			return keep, nil
		}
		delete(rec.Lanes, lane)
		return writeOrRemove(rec), nil
	})
	return err
}

// Clear forgets a stop and what was passed over, because the collection was dropped or copied anew.
func (s *Stops) Clear(ctx context.Context, collectionID int64) error {
	_, err := s.alter(ctx, collectionID, "clear", func(*Stop, bool) (verdict, error) { return remove, nil })
	return err
}

func writeOrRemove(rec *Stop) verdict {
	if len(rec.Lanes) == 0 {
		return remove
	}
	return write
}

// alter changes a record and shows the change in the local copy before it returns.
func (s *Stops) alter(ctx context.Context, id int64, doing string, fn func(rec *Stop, there bool) (verdict, error)) (Stop, error) {
	var last verdict
	var found bool
	rec, rev, err := alterRecord(ctx, s.js.Conn(), s.kv, s.key(id), func(rec *Stop, rev uint64) (verdict, error) {
		var err error
		found = rev != 0
		last, err = fn(rec, found)
		return last, err
	})
	if err != nil {
		return Stop{}, fmt.Errorf("%s stop of collection %d on %s: %w", doing, id, s.id, err)
	}
	gone := last == remove || last == keep && !found
	s.set(id, knownStop{stop: rec.clone(), revision: rev, gone: gone})
	return rec, nil
}

// set keeps what is newer. A removal counts as newer than the value of the same revision, which it removed.
func (s *Stops) set(id int64, k knownStop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = max(s.newest, k.revision)
	old := s.known[id]
	if k.revision > old.revision || k.revision == old.revision && k.gone {
		s.known[id] = k
	}
}

func (s *Stops) key(id int64) string { return s.id.record(stopKind, strconv.FormatInt(id, 10)) }

func (s *Stops) filter() string { return s.id.record(stopKind, "*") }

func (s *Stops) learn(e natsjs.KeyValueEntry) error {
	stop, err := decodeRecord[Stop](e.Key(), e.Value())
	if err != nil {
		return err
	}
	s.set(stop.CollectionID, knownStop{stop: stop, revision: e.Revision()})
	return nil
}

func (s *Stops) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = s.newest
}

// full drops what is no longer there: what the set lacks though it was known before the watch began. A record that
// can't be read is left as it was known; OpenStops of the next process says so.
func (s *Stops) full(entries []natsjs.KeyValueEntry) {
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Key()] = true
		_ = s.learn(e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, k := range s.known {
		if !k.gone && !there[s.key(id)] && k.revision <= s.began {
			k.gone = true
			s.known[id] = k
		}
	}
}

func (s *Stops) change(e natsjs.KeyValueEntry) {
	if e.Operation() == natsjs.KeyValuePut {
		_ = s.learn(e)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = max(s.newest, e.Revision())
	for id, k := range s.known {
		if s.key(id) == e.Key() && e.Revision() > k.revision {
			s.known[id] = knownStop{revision: e.Revision(), gone: true}
		}
	}
}
