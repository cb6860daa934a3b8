package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kitestream/bridge/mq"
)

// Reasons of a gap.
const (
	reasonRemoved  = "it has been removed from the topic (by age, size or hand)"
	reasonDeleted  = "the topic has been deleted"
	reasonReplaced = "the topic was deleted and created anew"
	reasonOther    = "another message stands there now, so the topic was replaced or cut short"
	reasonShort    = "the topic was replaced or cut short"
)

// How long a broker must keep saying what would end a reader for good, but which may pass: one that was just started may
// not have heard of a topic, and one that was just elected may not know how far the log is committed.
const (
	absentFor = 10 * time.Second
	shortFor  = 5 * time.Second
	answers   = 3 // at least
)

// place is where a reader stands in its channel.
type place struct {
	at    mark // the last message handed out, or the one to begin with
	known bool // there is such a one; else: begin with the oldest
	taken bool // at has been handed out
}

// wanted is the offset of the message to hand out next, of a place that is known.
func (p place) wanted() int64 {
	if p.taken {
		return p.at.offset + 1
	}
	return p.at.offset
}

// end is how far the log must reach at least: past a message that has been seen, or to one that may be yet to come.
func (p place) end() int64 {
	if p.taken || p.at.stamp != 0 {
		return p.at.offset + 1
	}
	return p.at.offset
}

// suspicion is a gap that is not certain yet.
type suspicion struct {
	reason string // without what may change from one look to the next
	since  time.Time
	count  int
}

// suspect returns the gap once the broker has shown it for long enough, until then an error to try again after.
func (r *reader) suspect(before suspicion, gap *mq.GapError, reason string, long time.Duration) error {
	s := before
	if s.reason != reason {
		s = suspicion{reason: reason, since: time.Now()}
	}
	s.count++
	r.suspicion = s
	if s.count >= answers && time.Since(s.since) >= long {
		return gap
	}
	return fmt.Errorf("make sure of a gap: %s", gap.Reason)
}

// attach looks the reader's place up and starts a feed there. Guarantee 5: a topic that can't hold what the reader
// wants is a gap.
func (r *reader) attach(ctx context.Context) (*feed, error) {
	before := r.suspicion
	r.suspicion = suspicion{}
	r.outage.Attempt()
	ctx2, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	at, err := r.link.lookUp(ctx2, r.channel)
	switch {
	case errors.Is(err, errAbsent) && r.place.known: // somebody read that position, so there was a topic
		return nil, r.suspect(before, r.gap("", reasonDeleted), reasonDeleted, absentFor)
	case err != nil:
		return nil, err
	}
	r.brokers = at.brokers
	first, err := r.link.offset(ctx2, at, oldest, uncommitted)
	if err != nil {
		return nil, err
	}
	start := first
	if r.place.known {
		if r.replaced(at) {
			return nil, r.gap(mark{offset: first}.position(), reasonReplaced)
		}
		end, err := r.link.offset(ctx2, at, newest, uncommitted)
		if err != nil {
			return nil, err
		}
		switch found := (mark{offset: first}).position(); {
		case r.place.wanted() < first:
			return nil, r.gap(found, reasonRemoved)
		case end < r.place.end():
			gap := r.gap(found, fmt.Sprintf("the topic ends at %d, so %s", end, reasonShort))
			return nil, r.suspect(before, gap, reasonShort, shortFor)
		}
		start = max(r.place.at.offset, first)
	}
	r.begin, r.proof = start, r.place.known && start == r.place.at.offset
	return startFeed(ctx, r.link, at, start, r.half), nil
}

// replaced reports whether the topic is surely another one than that which was read.
func (r *reader) replaced(at leader) bool {
	return r.topic != [16]byte{} && at.id != [16]byte{} && at.id != r.topic
}

// gap is the error that ends this reader.
func (r *reader) gap(found mq.Position, reason string) *mq.GapError {
	wanted := r.place.at
	if r.place.taken {
		wanted = mark{offset: wanted.offset + 1}
	}
	return &mq.GapError{Channel: r.channel, Wanted: wanted.position(), Found: found, Reason: reason}
}
