package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// stopKind is what the keys of stops begin with.
const stopKind = "stop"

// Stop is a collection that has stopped on a target: no retry can apply one of its events. The lanes pass over its
// events, and each remembers the first that it passed over, so that a retry replays them from there.
type Stop struct {
	Database     string         `json:"database"` // as the source calls it, and the collection
	Collection   string         `json:"collection"`
	CollectionID int64          `json:"collection_id"` // the source's
	Reason       string         `json:"reason"`        // for people, with the way out
	Code         string         `json:"code"`          // for programs
	Since        time.Time      `json:"since"`
	Lanes        map[int]uint64 `json:"lanes"`          // stream sequence of the first event that each lane passed over
	Retry        bool           `json:"retry"`          // the lanes are to replay what they passed over
	Turn         uint64         `json:"turn,omitempty"` // of the retry: all lanes replay in the same order, or they would wait for one another

	// Former are the names that it had before renames that were passed over, the oldest first, which is the target's unless There is.
	Former []QualifiedName `json:"former,omitempty"`
	// There is the name that a rename gave it on the target that was made good; nil: none was.
	There *QualifiedName `json:"there,omitempty"`
	// Barrier is the last barrier that was passed over: no lane replays before it has come past that one, so that all
	// come to it again.
	Barrier uint64 `json:"barrier,omitempty"`
}

// Name is what the source calls the collection.
func (s Stop) Name() QualifiedName { return QualifiedName{s.Database, s.Collection} }

// Names are all names under which events of the collection may have been passed over.
func (s Stop) Names() []QualifiedName {
	var all []QualifiedName
	for _, n := range append(slices.Clone(s.Former), s.Name()) {
		if !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// OnTarget is the source's name for the collection under which the target has it, if the target has it at all.
func (s Stop) OnTarget() QualifiedName {
	if s.There != nil {
		return *s.There
	}
	return append(slices.Clone(s.Former), s.Name())[0]
}

// At reports where a lane stands with a barrier that is being replayed. The lowest lane that replays carries it out, when
// all that do have come to it.
func (s Stop) At(barrier uint64, lane int) BarrierState {
	at, replays := s.Lanes[lane]
	if replays && at > barrier {
		return BarrierPassed
	}
	if !replays || !s.Retry {
		return BarrierWaiting
	}
	for l, seq := range s.Lanes {
		if seq < barrier || l < lane {
			return BarrierWaiting
		}
	}
	return BarrierReady
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
	s.Lanes, s.Former = maps.Clone(s.Lanes), slices.Clone(s.Former)
	return s
}

// Stops are the stopped collections of one target, kept in a KV bucket and followed by a local copy, which shows this
// process's own changes at once and others' as soon as Run hears of them. Safe for concurrent use.
type Stops struct {
	js   natsjs.JetStream
	kv   natsjs.KeyValue
	id   TargetID
	copy *localCopy[Stop]
}

// OpenStops reads the target's stopped collections. From then on the copy changes with this process's own changes, and
// with everybody's while Run is running.
func OpenStops(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, id TargetID) (*Stops, error) {
	c, err := openCopy[Stop](ctx, js, kv, id.record(stopKind, "*"))
	if err != nil {
		return nil, fmt.Errorf("open stops of %s: %w", id, err)
	}
	return &Stops{js: js, kv: kv, id: id, copy: c}, nil
}

// Run follows others' changes until ctx ends, and returns its error. It calls heard, if there is one, after each.
func (s *Stops) Run(ctx context.Context, heard func()) error {
	s.copy.heard = heard
	return follow(ctx, s.js, s.kv, s.id.record(stopKind, "*"), s.copy)
}

// Lookup says whether a collection is stopped, from the local copy.
func (s *Stops) Lookup(collectionID int64) (Stop, bool) {
	stop, ok := s.copy.lookup(s.key(collectionID))
	return stop.clone(), ok
}

// List is the stopped collections, by name, from the local copy.
func (s *Stops) List() []Stop {
	all := s.copy.list()
	for i := range all {
		all[i] = all[i].clone()
	}
	slices.SortFunc(all, func(a, b Stop) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.CollectionID, b.CollectionID))
	})
	return all
}

// Put stops a collection, or gives a stopped one a new reason and takes back a retry. Of each lane the first event
// passed over stays the first. Since it is stopped stays, too, and so do its names.
func (s *Stops) Put(ctx context.Context, stop Stop) error {
	_, err := s.alter(ctx, stop.CollectionID, "put", func(rec *Stop, there bool) (verdict, error) {
		merged := stop.clone()
		if merged.Lanes == nil {
			merged.Lanes = map[int]uint64{}
		}
		if there {
			merged.Since, merged.Database, merged.Collection = rec.Since, rec.Database, rec.Collection
			merged.Former, merged.There, merged.Barrier = rec.Former, rec.There, rec.Barrier
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
// lane's first Touch writes, and one of an event before that: the lane was rewound. It gives the stop as it stands: a retry may have been asked for. The error wraps
// ErrNotFound when the collection is no longer stopped: then the event is to be applied.
func (s *Stops) Touch(ctx context.Context, collectionID int64, lane int, seq uint64) (Stop, error) {
	if stop, ok := s.Lookup(collectionID); ok && stop.Lanes[lane] != 0 && stop.Lanes[lane] <= seq {
		return stop, nil
	}
	return s.alter(ctx, collectionID, "touch", func(rec *Stop, there bool) (verdict, error) {
		if !there {
			return keep, ErrNotFound
		}
		at, behind := rec.Lanes[lane]
		if behind && at <= seq || !behind && rec.Retry {
			return keep, nil
		}
		delete(rec.Lanes, lane)
		rec.enter(lane, seq)
		return write, rec.check()
	})
}

func (s *Stop) enter(lane int, seq uint64) {
	if s.Lanes == nil {
		s.Lanes = map[int]uint64{}
	}
	if _, ok := s.Lanes[lane]; !ok {
		s.Lanes[lane] = seq
	}
}

// PassOver says that all lanes, as many as lanes says, pass over the barrier at seq, at which they are; to be called
// before one of them goes on. It reports false when the collection is not stopped: then the barrier is to be carried out. A rename
// gives its new name. It may be called again.
func (s *Stops) PassOver(ctx context.Context, e *Event, lanes int) (passed bool, err error) {
	renamed := e.Name()
	if e.Kind == RenameCollection {
		if renamed, err = e.NewName(); err != nil {
			return false, err
		}
	}
	_, err = s.alter(ctx, e.CollectionID, "pass a barrier over for", func(rec *Stop, there bool) (verdict, error) {
		if passed = there; !there || rec.Barrier >= e.Seq {
			return keep, nil
		}
		for lane := range lanes { // also those that have nothing to replay but this
			rec.enter(lane, e.Seq)
		}
		rec.Barrier = e.Seq
		if renamed != rec.Name() {
			rec.Former = append(rec.Former, rec.Name())
			rec.Database, rec.Collection = renamed.Database, renamed.Collection
		}
		return write, rec.check()
	})
	return passed, err
}

// Arrive says that the lane has replayed everything before the barrier at seq; who replays for the lane after this one begins
// there. It gives the stop as it stands; one that has stopped again on the way stays where it did.
func (s *Stops) Arrive(ctx context.Context, collectionID int64, lane int, seq uint64) (Stop, error) {
	if stop, ok := s.Lookup(collectionID); ok && stop.Lanes[lane] >= seq {
		return stop, nil
	}
	return s.alter(ctx, collectionID, "arrive at a barrier of", func(rec *Stop, there bool) (verdict, error) {
		if at, ok := rec.Lanes[lane]; !there || !ok || at >= seq || !rec.Retry {
			return keep, nil
		}
		rec.Lanes[lane] = seq
		return write, nil
	})
}

// CarriedOut says that the barrier that was being replayed, and at which all lanes are, has been carried out: they go on.
func (s *Stops) CarriedOut(ctx context.Context, e *Event) (err error) {
	var renamed QualifiedName
	if e.Kind == RenameCollection {
		if renamed, err = e.NewName(); err != nil {
			return err
		}
	}
	_, err = s.alter(ctx, e.CollectionID, "go on past a barrier of", func(rec *Stop, there bool) (verdict, error) {
		if !there {
			return keep, nil
		}
		for lane, at := range rec.Lanes {
			if at == e.Seq {
				rec.Lanes[lane] = e.Seq + 1
			}
		}
		if e.Kind == RenameCollection {
			rec.There = &renamed
		}
		return write, nil
	})
	return err
}

// Turns are the stopped collections that are to be tried again, in the order in which every lane does so.
func (s *Stops) Turns() []Stop {
	all := slices.DeleteFunc(s.List(), func(s Stop) bool { return !s.Retry })
	slices.SortFunc(all, func(a, b Stop) int {
		return cmp.Or(cmp.Compare(a.Turn, b.Turn), cmp.Compare(a.CollectionID, b.CollectionID))
	})
	return all
}

// MarkRetries has all stopped collections tried again, those that stopped first before others: a later one may need the name
// that an earlier one gives up. It returns how many there were that are not being tried again already.
func (s *Stops) MarkRetries(ctx context.Context) (n int, err error) {
	all := slices.DeleteFunc(s.List(), func(s Stop) bool { return s.Retry })
	slices.SortStableFunc(all, func(a, b Stop) int { return cmp.Compare(a.first(), b.first()) })
	for _, stop := range all {
		if err := s.MarkRetry(ctx, stop.CollectionID); err != nil && !errors.Is(err, ErrNotFound) {
			return n, err
		}
		n++
	}
	return n, nil
}

// first is the first event of the collection that any lane passed over.
func (s Stop) first() uint64 {
	if len(s.Lanes) == 0 {
		return 0
	}
	return slices.Min(slices.Collect(maps.Values(s.Lanes)))
}

// MarkRetry asks the lanes to replay what they passed over. When none passed over anything, the collection is simply
// no longer stopped. ErrNotFound: it isn't.
func (s *Stops) MarkRetry(ctx context.Context, collectionID int64) error {
	var turn uint64
	for _, other := range s.List() {
		turn = max(turn, other.Turn)
	}
	_, err := s.alter(ctx, collectionID, "retry", func(rec *Stop, there bool) (verdict, error) {
		if !there {
			return keep, ErrNotFound
		}
		if rec.Retry {
			return keep, nil // it has its turn
		}
		rec.Retry, rec.Turn = true, turn+1
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
	rec, err := alterCopied(ctx, s.js, s.kv, s.copy, s.key(id), fn)
	if err != nil {
		return Stop{}, fmt.Errorf("%s stop of collection %d on %s: %w", doing, id, s.id, err)
	}
	return rec.clone(), nil
}

func (s *Stops) key(id int64) string { return s.id.record(stopKind, strconv.FormatInt(id, 10)) }
