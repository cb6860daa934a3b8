package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"kitestream/bridge/mq"
)

// Last asks again after askAgain, a few times before it believes that there is no such topic, since whoever hears that
// would take the channel for empty, and for longer while the topic's leader is being elected.
const (
	askAgain  = 100 * time.Millisecond
	elections = 50 // answers
)

// last is the position of a topic's newest message.
func (l *link) last(ctx context.Context, topic string) (mq.Position, error) {
	for i := 1; ; i++ {
		p, err := l.lastNow(ctx, topic)
		absent := errors.Is(err, errAbsent)
		switch {
		case absent && i >= answers:
			return "", nil
		case !absent && (!kerr.IsRetriable(err) || i >= elections):
			return p, err
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return "", fmt.Errorf("look up topic %s: %w", topic, ctx.Err())
		}
	}
}

// lastNow is last by what the broker says now. The log may end with marks of transactions, which are no messages,
// so it is searched backwards, twice as far each time.
func (l *link) lastNow(ctx context.Context, topic string) (mq.Position, error) {
	at, err := l.lookUp(ctx, topic)
	if err != nil {
		return "", err
	}
	end, err := l.offset(ctx, at, newest, committed)
	if err != nil {
		return "", err
	}
	first, err := l.offset(ctx, at, oldest, uncommitted)
	if err != nil {
		return "", err
	}
	for from, step := end, int64(1); from > first; step *= 2 {
		upTo := from
		from = max(first, end-step)
		m, err := l.lastBetween(ctx, at, from, upTo)
		if err != nil || m != nil {
			return positionOf(m), err
		}
	}
	return "", nil
}

// lastBetween is the last message whose offset is from or more and less than end, nil when there is none.
func (l *link) lastBetween(ctx context.Context, at leader, from, end int64) (*kgo.Record, error) {
	f := &feed{link: l, at: at, max: 1 << 20}
	d := kgo.DefaultDecompressor()
	var last *kgo.Record
	for from < end {
		p := f.fetch(ctx, fetchRequest{offset: from, maxBytes: f.max})
		if p.err == nil && len(p.batches) == 0 {
			p.err = fmt.Errorf("fetch from topic %s at %d: %w", at.topic, from, errNoBatch)
		}
		if p.err != nil {
			return nil, p.err
		}
		for _, unit := range p.units() {
			msgs, err := p.unpack(at.topic, unit, from, d)
			if err != nil {
				return nil, err
			}
			for _, m := range msgs {
				if m.Offset < end {
					last = m
				}
			}
			from = max(from, unit[len(unit)-1].next)
		}
	}
	return last, nil
}

// positionOf is a message's position, empty without one.
func positionOf(m *kgo.Record) mq.Position {
	if m == nil {
		return ""
	}
	return markOf(m).position()
}
