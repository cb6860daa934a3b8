package bridge

import (
	"context"
	"errors"
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"

	"kitestream/bridge/mq"
)

// channel is one physical queue channel being read for a task. Its reader runs in a goroutine of its own and hands
// windows over one by one, so that it is never more than two windows ahead of the sequencer. But for out and final,
// the sequencer's goroutine owns every field.
type channel struct {
	name   string
	out    chan *window
	final  chan error // why reading ended; at most once
	resume Resume     // where the window after head begins
	head   *window    // the window being emitted; nil: none
	next   int        // head's next change
	done   *done      // what of head is on the stream already; nil after the first window
	gap    error      // set when the channel can't be read any more
	atEnd  bool       // reading began with what was the last message then, which is surely there
}

// done says how far a channel's last event on the stream reaches: into which message, and into which lane's rows of it.
type done struct {
	position mq.Position
	lane     int
	rows     int // rows of that lane that are on the stream
}

// rowsOf is how many of the lane's rows of the message at position are on the stream already, of `all` there.
func (d *done) rowsOf(position mq.Position, lane, all int) int {
	switch {
	case d == nil || d.position != position || lane > d.lane:
		return 0
	case lane < d.lane:
		return all
	}
	return min(d.rows, all)
}

func newChannel(name string, at Resume) *channel {
	return &channel{name: name, resume: at, out: make(chan *window, 1), final: make(chan error, 1)}
}

// unproven reports whether the queue may still turn out not to hold what was to be read first.
func (c *channel) unproven() bool {
	return c.gap == nil && !c.atEnd && c.resume.Tick == "" && c.head == nil
}

// reached reports whether everything of the channel that is older than ts has been handed to the publisher.
func (c *channel) reached(ts uint64) bool {
	if c.gap != nil {
		return true // nothing more will come
	}
	if c.head != nil && c.next < len(c.head.changes) {
		return c.head.changes[c.next].ts >= ts
	}
	return c.resume.TS >= ts
}

// read reads the channel from its resume point until ctx ends or the queue has a gap. s is told of each window. The message
// that the last event on the stream came from is never left out, though its collection be foreign now, having been dropped.
func (c *channel) read(ctx context.Context, at Resume, last mq.Position, s *sequencer) error {
	r, err := s.queue.Open(ctx, c.name, at.Start)
	if err != nil {
		return fmt.Errorf("open channel %s at %q: %w", c.name, at.Start, err)
	}
	defer r.Close()
	w := newWindows(at)
	for {
		m, err := r.Next(ctx)
		if err != nil {
			return fmt.Errorf("read channel %s: %w", c.name, err)
		}
		if m.Position != last && s.foreign.rowsIn(m.Properties) {
			s.metrics.foreign.Inc()
			continue
		}
		win := w.add(peeked(m))
		if win == nil {
			continue
		}
		select {
		case c.out <- win:
			s.notify()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// peeked is the message as a change; one that can't be read is a change all the same, for the sequencer to park.
func peeked(m mq.Message) change {
	c, err := peek(m)
	if err != nil {
		return change{kind: commonpb.MsgType_Undefined, position: m.Position, payload: m.Payload, broken: err}
	}
	return c
}

// asGap says whether the error means that the queue no longer holds what comes next.
func asGap(err error) (*mq.GapError, bool) {
	var gap *mq.GapError
	ok := errors.As(err, &gap)
	return gap, ok
}
