package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Rewind is a target's going back to an earlier place of its task's stream. As long as it is Pending no worker is to hold a
// lane of the target.
type Rewind struct {
	Number  int       `json:"number"` // of the target's rewinds, from 1
	To      uint64    `json:"to"`     // the first event that is applied again; 0: it was given up, and nothing changed
	At      time.Time `json:"at"`
	Pending bool      `json:"pending,omitempty"` // its lanes have not been put back yet
}

// Held is what a task's stream holds.
type Held struct {
	First, Last         uint64 // sequences
	Bytes               uint64
	FirstTime, LastTime time.Time
}

// StreamHolds reads what the task's stream holds. The error wraps ErrStreamGone if there is none.
func StreamHolds(ctx context.Context, js natsjs.JetStream, task string) (Held, error) {
	s, err := openStream(ctx, js, task)
	if err != nil {
		return Held{}, err
	}
	st := s.CachedInfo().State
	return Held{First: st.FirstSeq, Last: st.LastSeq, Bytes: st.Bytes, FirstTime: st.FirstTime, LastTime: st.LastTime}, nil
}

// FirstSince is the sequence of the first event that was published at that moment or later, and when it was. The error wraps
// ErrNotFound if there is none.
func FirstSince(ctx context.Context, js natsjs.JetStream, task string, since time.Time) (uint64, time.Time, error) {
	return first(ctx, js, task, natsjs.ConsumerConfig{DeliverPolicy: natsjs.DeliverByStartTimePolicy, OptStartTime: &since})
}

// FirstFrom is the first event that the stream holds at a sequence or behind it, as FirstSince.
func FirstFrom(ctx context.Context, js natsjs.JetStream, task string, seq uint64) (uint64, time.Time, error) {
	return first(ctx, js, task, natsjs.ConsumerConfig{DeliverPolicy: natsjs.DeliverByStartSequencePolicy, OptStartSeq: seq})
}

func first(ctx context.Context, js natsjs.JetStream, task string, cfg natsjs.ConsumerConfig) (uint64, time.Time, error) {
	s, err := openStream(ctx, js, task)
	if err != nil {
		return 0, time.Time{}, err
	}
	cfg.AckPolicy, cfg.HeadersOnly, cfg.MemoryStorage, cfg.Replicas = natsjs.AckNonePolicy, true, true, 1
	cfg.InactiveThreshold = 2 * requestTimeout
	cons, err := s.CreateConsumer(ctx, cfg)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("look for a place in the stream of task %s: %w", task, err)
	}
	defer func() { _ = s.DeleteConsumer(context.WithoutCancel(ctx), cons.CachedInfo().Name) }() // else the server does
	if cons.CachedInfo().NumPending == 0 {
		return 0, time.Time{}, fmt.Errorf("look for a place in the stream of task %s: %w", task, ErrNotFound)
	}
	m, err := cons.Next(natsjs.FetchMaxWait(requestTimeout))
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read a place in the stream of task %s: %w", task, err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read a place in the stream of task %s: %w", task, err)
	}
	return meta.Sequence.Stream, meta.Timestamp, nil
}

// Rewinder puts the lanes of a target back. Nobody may hold one of them, nor take one, before it is done. Whatever ends it on
// the way, it can be done again, to the same place, and comes to the same end.
type Rewinder struct {
	JS     natsjs.JetStream
	KV     natsjs.KeyValue // BucketLanes
	Target TargetID
	Lanes  int    // how many the task has
	To     uint64 // the first event that is to be applied again
}

// Reached is how far the target's lanes have come: the highest of their floors. There is nothing to go back to behind it.
func (r Rewinder) Reached(ctx context.Context) (uint64, error) {
	_, highest, err := r.floors(ctx)
	return highest, err
}

// Check says why the target can't go back there, as an *UnsafeRewindError; nil if it can.
func (r Rewinder) Check(ctx context.Context, spec TaskSpec) error {
	rec, _, err := loadRecord[barrierRecord](ctx, r.KV, r.Target.record(barrierKind))
	if err != nil {
		return err
	}
	next, err := r.rewound(ctx, rec)
	if err != nil {
		return err
	}
	past, err := readPast(ctx, r.JS, r.Target, next)
	if err != nil {
		return err
	}
	if e, why := past.unsafe(spec, r.To); e != nil {
		return &UnsafeRewindError{Event: e, Why: why}
	}
	return nil
}

// UnsafeRewindError says that what came before an event can't be applied again after it.
type UnsafeRewindError struct {
	Event *Event
	Why   string
}

// Error is the event and the reason.
func (e *UnsafeRewindError) Error() string {
	return fmt.Sprintf("what came before sequence %d, %s of %s, can't be applied again: %s", e.Event.Seq, e.Event.Kind, e.Event.Name(), e.Why)
}

// Run puts the lanes back. The error wraps ErrAtBarrier if a worker was carrying a barrier out when it let go: whether it has
// is not known, so nothing is changed.
func (r Rewinder) Run(ctx context.Context) error {
	_, _, err := alterRecord(ctx, r.JS.Conn(), r.KV, r.Target.record(barrierKind), func(rec *barrierRecord, _ uint64) (verdict, error) {
		if rec.complete() {
			return keep, ErrAtBarrier
		}
		next, err := r.rewound(ctx, *rec)
		if err != nil {
			return keep, err
		}
		*rec = barrierRecord{Passed: min(rec.Passed, next.From-1), Rewound: &next}
		return write, nil
	})
	if err != nil {
		return fmt.Errorf("rewind %s to %d: %w", r.Target, r.To, err)
	}
	steps := []func(context.Context) error{r.resetUnmets, r.resetStops}
	for lane := range r.Lanes {
		steps = append(steps, func(ctx context.Context) error { return r.putBack(ctx, r.Target.Lane(lane)) })
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return fmt.Errorf("rewind %s to %d: %w", r.Target, r.To, err)
		}
	}
	return nil
}

// rewound is what the target's workers have to know after the rewind. What an earlier one has left counts on: barriers up to
// there were carried out, also if the lanes are behind them again.
func (r Rewinder) rewound(ctx context.Context, rec barrierRecord) (rewound, error) {
	before := rewound{Until: rec.Passed}
	if rec.Rewound != nil {
		before = *rec.Rewound
	}
	lowest, _, err := r.floors(ctx)
	if err != nil {
		return rewound{}, err
	}
	next := rewound{From: min(r.To, lowest+1), Until: max(before.Until, rec.Passed), Cuts: map[int64]uint64{}}
	for id, cut := range before.Cuts {
		next.Cuts[id] = max(cut, rec.Passed)
	}
	stops, err := OpenStops(ctx, r.JS, r.KV, r.Target)
	if err != nil {
		return rewound{}, err
	}
	for _, s := range stops.List() {
		first := s.first()
		if first == 0 {
			continue // it has passed nothing over
		}
		cut := first - 1 // what of its barriers came before it stopped was carried out
		if rec.Rewound != nil {
			cut = max(cut, before.reach(s.CollectionID))
		}
		next.Cuts[s.CollectionID] = cut
		next.From = min(next.From, first)
	}
	for id, cut := range next.Cuts {
		if cut >= next.Until {
			delete(next.Cuts, id)
		}
	}
	return next, nil
}

// floors are the lowest and the highest of the lanes' floors.
func (r Rewinder) floors(ctx context.Context) (lowest, highest uint64, err error) {
	s, err := openStream(ctx, r.JS, r.Target.Task.Name)
	if err != nil {
		return 0, 0, err
	}
	for lane := range r.Lanes {
		id := r.Target.Lane(lane)
		rec, _, err := loadRecord[laneRecord](ctx, r.KV, id.record(laneKind))
		if err != nil {
			return 0, 0, err
		}
		floor, err := durableFloor(ctx, r.KV, s, id, rec)
		if err != nil {
			return 0, 0, err
		}
		if lane == 0 || floor < lowest {
			lowest = floor
		}
		highest = max(highest, floor)
	}
	return lowest, highest, nil
}

// resetUnmets forgets the refused settings that will be tried again.
func (r Rewinder) resetUnmets(ctx context.Context) error {
	unmets, err := OpenUnmets(ctx, r.JS, r.KV, r.Target)
	if err != nil {
		return err
	}
	for _, u := range unmets.List() {
		if u.Events[0].Seq < r.To {
			continue
		}
		if err := unmets.Met(ctx, u.Setting); err != nil {
			return err
		}
	}
	return nil
}

// resetStops has collections go on that have passed nothing over before the place: all of it comes again. The others stay
// stopped, and their lanes pass over again what they come to.
func (r Rewinder) resetStops(ctx context.Context) error {
	stops, err := OpenStops(ctx, r.JS, r.KV, r.Target)
	if err != nil {
		return err
	}
	for _, s := range stops.List() {
		if first := s.first(); first != 0 && first < r.To {
			continue
		}
		if err := stops.Clear(ctx, s.CollectionID); err != nil {
			return err
		}
	}
	return nil
}

// putBack puts one lane back, unless it is not there yet. Its consumer goes: whoever still has it finds nobody to ack to, and
// another session in the record.
func (r Rewinder) putBack(ctx context.Context, id LaneID) error {
	s, err := openStream(ctx, r.JS, id.Target.Task.Name)
	if err != nil {
		return err
	}
	var consumer string
	_, _, err = alterRecord(ctx, r.JS.Conn(), r.KV, id.record(laneKind), func(rec *laneRecord, _ uint64) (verdict, error) {
		floor, err := durableFloor(ctx, r.KV, s, id, *rec)
		if err != nil {
			return keep, err
		}
		if rec.Consumer != "" {
			consumer = rec.Consumer
		}
		*rec = laneRecord{Epoch: rec.Epoch, Session: nuid.Next(), Floor: min(floor, r.To-1)}
		return write, nil
	})
	if err != nil || consumer == "" {
		return err
	}
	if err := s.DeleteConsumer(ctx, consumer); err != nil && !errors.Is(err, natsjs.ErrConsumerNotFound) {
		return fmt.Errorf("delete consumer %s: %w", consumer, err)
	}
	return nil
}
