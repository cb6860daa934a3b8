package bridge

import (
	"context"
	"errors"
	"maps"
	"testing"

	"kitestream/bridge/mq"
)

// refusing is a queue that keeps what it is told to, and now and then can't be told.
type refusing struct {
	kept  map[string]mq.Position
	calls int
	fail  bool
}

func (r *refusing) Release(_ context.Context, owner, channel string, upTo mq.Position) error {
	r.calls++
	if r.fail {
		return errors.New("no answer")
	}
	r.kept[owner+"/"+channel] = upTo
	return nil
}

func (r *refusing) Leave(string) {}

func (r *refusing) Abandon(_ context.Context, owner, channel string) error {
	r.calls++
	if r.fail {
		return errors.New("no answer")
	}
	delete(r.kept, owner+"/"+channel)
	return nil
}

func TestAnchorsFollowTheSavedResumePoints(t *testing.T) {
	q := &refusing{kept: map[string]mq.Position{}}
	a := anchors{queue: q, task: "t", told: map[string]mq.Position{}}
	for i, step := range []struct {
		needed map[string]Resume
		fail   bool
		want   map[string]mq.Position
		calls  int
	}{
		{needed: map[string]Resume{"a": {Start: "1"}, "b": {Start: "1"}}, want: map[string]mq.Position{"t/a": "1", "t/b": "1"}, calls: 2},
		{needed: map[string]Resume{"a": {Start: "2"}, "b": {Start: "1"}}, want: map[string]mq.Position{"t/a": "2", "t/b": "1"}, calls: 1},
		{needed: map[string]Resume{"a": {Start: "3"}}, fail: true, want: map[string]mq.Position{"t/a": "2", "t/b": "1"}, calls: 2},
		{needed: map[string]Resume{"a": {Start: "3"}}, want: map[string]mq.Position{"t/a": "3"}, calls: 2},
		{needed: map[string]Resume{"a": {Start: "3"}}, want: map[string]mq.Position{"t/a": "3"}},
	} {
		q.fail, q.calls = step.fail, 0
		if err := a.tell(t.Context(), step.needed); (err != nil) != step.fail {
			t.Errorf("step %d: %v", i, err)
		}
		if !maps.Equal(q.kept, step.want) || q.calls != step.calls {
			t.Errorf("step %d: the queue keeps %v after %d calls, want %v after %d", i, q.kept, q.calls, step.want, step.calls)
		}
	}
}
