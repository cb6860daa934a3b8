package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Needed is the sequence of the first event on the task's stream that one of its targets has not applied, or may have to be given again:
// what a stopped collection has passed over, and what a rewound target has to know of its past. One behind the last event if all
// targets have everything. The error wraps ErrStreamGone if there is no stream.
func Needed(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, task *Task) (uint64, error) {
	held, err := StreamHolds(ctx, js, task.Spec.Name)
	if err != nil {
		return 0, err
	}
	needed := held.Last + 1 // of before the lanes are looked at: what comes meanwhile is kept
	for _, t := range task.Spec.Targets {
		first, err := neededBy(ctx, js, kv, task.Ref().Target(t.Name), task.Spec.Lanes)
		if err != nil {
			return 0, fmt.Errorf("look what target %s still needs: %w", t.Name, err)
		}
		if first > 0 {
			needed = min(needed, first)
		}
	}
	return needed, nil
}

// neededBy is the first event that a target needs; 0 if it needs none.
func neededBy(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, id TargetID, lanes int) (uint64, error) {
	var first uint64
	needs := func(seq uint64) {
		if first == 0 || seq < first {
			first = max(seq, 1)
		}
	}
	for lane := range lanes {
		st, err := LaneState(ctx, js, kv, id.Lane(lane))
		if err != nil {
			return 0, err
		}
		if st.Pending > 0 || st.AckPending > 0 || st.Consumer == "" {
			needs(st.Floor + 1)
		}
	}
	stops, err := OpenStops(ctx, js, kv, id)
	if err != nil {
		return 0, err
	}
	for _, s := range stops.List() {
		if seq := s.first(); seq > 0 {
			needs(seq)
		}
	}
	barrier, _, err := loadRecord[barrierRecord](ctx, kv, id.record(barrierKind))
	if err != nil {
		return 0, err
	}
	if r := barrier.Rewound; r != nil && first > 0 && first <= r.Until {
		needs(r.From)
	}
	return first, nil
}

// Trim removes all events before a sequence from the task's stream.
func Trim(ctx context.Context, js natsjs.JetStream, task string, before uint64) error {
	s, err := openStream(ctx, js, task)
	if err != nil {
		return err
	}
	if err := s.Purge(ctx, natsjs.WithPurgeSequence(before)); err != nil {
		return fmt.Errorf("trim the stream of task %s: %w", task, err)
	}
	return nil
}

// PublishedBefore is the sequence of the first event that was published at that moment or later; one behind the last if all are older.
func PublishedBefore(ctx context.Context, js natsjs.JetStream, task string, moment time.Time) (uint64, error) {
	held, err := StreamHolds(ctx, js, task)
	if err != nil {
		return 0, err
	}
	if held.Last < held.First || !held.FirstTime.Before(moment) {
		return held.First, nil
	}
	seq, _, err := FirstSince(ctx, js, task, moment)
	if errors.Is(err, ErrNotFound) {
		return held.Last + 1, nil
	}
	return seq, err
}

// LastFence is the sequence of the last take-over of the task's stream.
func LastFence(ctx context.Context, js natsjs.JetStream, task string) (uint64, error) {
	e, err := LastEvent(ctx, js, task, ChannelSubjects(task, fenceChannel))
	if err != nil {
		return 0, err
	}
	return e.Seq, nil
}

// FenceAgain is an event that marks the take-over of an epoch anew, so that the first mark may be trimmed. Number tells one from another.
func FenceAgain(epoch uint64, holder string, number int64) *Event {
	return &Event{
		ID: fmt.Sprintf("fence:%d:%s:again-%d", epoch, holder, number), Kind: Fence, Channel: fenceChannel, Lane: NoLane, TS: uint64(time.Now().UnixMilli()) << 18,
	}
}
