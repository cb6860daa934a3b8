package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kitestream/bridge/mq"
)

// last is the position of a topic's newest message. The log may end with marks of transactions, which are no messages,
// so it is searched backwards, twice as far each time.
func (l *link) last(ctx context.Context, topic string) (mq.Position, error) {
	at, err := l.lookUpForSure(ctx, topic)
	if errors.Is(err, errAbsent) {
		return "", nil
	}
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

// lookUpForSure is lookUp, but asks a few times before it believes that there is no such topic: whoever hears that
// would take the channel for empty.
func (l *link) lookUpForSure(ctx context.Context, topic string) (leader, error) {
	for i := range answers {
		at, err := l.lookUp(ctx, topic)
		if !errors.Is(err, errAbsent) || i == answers-1 {
			return at, err
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return leader{}, fmt.Errorf("look up topic %s: %w", topic, ctx.Err())
		}
	}
	return leader{}, errAbsent
}

// askAgain is how long lookUpForSure waits between questions.
const askAgain = 100 * time.Millisecond

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
