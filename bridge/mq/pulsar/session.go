package pulsar

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/pulsar-client-go/pulsar"

	"kitestream/bridge/mq"
)

// reasonRemoved is the reason of a gap in a topic that is otherwise the one it was.
const reasonRemoved = "it is not in the topic any more (ledgers are removed by retention or with the topic)"

// silence is how long nothing may come before the broker is asked whether there is more.
const silence = 3 * time.Second

// session opens the channel at the reader's place and reads until something breaks.
func (r *reader) session(ctx context.Context) error {
	if err := r.waitForRoom(ctx); err != nil {
		return err
	}
	r.outage.Attempt()
	ctx, lost := context.WithCancel(ctx)
	defer lost()
	src, err := r.attach(ctx, lost)
	if err != nil {
		return err
	}
	defer src.Close()
	return r.pump(ctx, src)
}

// waitForRoom returns when the caller has taken half of what is held.
func (r *reader) waitForRoom(ctx context.Context) error {
	for !r.hold.half() {
		select {
		case <-r.hold.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// attach finds the reader's place and opens the topic there. Guarantee 5: a topic that can't hold what is wanted is a gap.
func (r *reader) attach(ctx context.Context, lost func()) (*source, error) {
	if r.link == nil {
		l, err := dial(r.q.cfg, r.log)
		if err != nil {
			return nil, err
		}
		r.link = l
	}
	e, err := r.link.extent(r.channel)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := r.locate(ctx, e); err != nil {
		return nil, err
	}
	if e.empty {
		r.outage.Over() // nothing can come to show that all is well
	}
	from := pulsar.EarliestMessageID()
	if r.place.known {
		from = r.place.at.id()
	}
	return r.link.read(r.channel, from, r.sizes.begin(), lost)
}

// locate compares the reader's place with what there is of the channel.
func (r *reader) locate(ctx context.Context, e extent) error {
	p := r.place
	switch {
	case !e.exists && !p.known:
		return errAbsent
	case !e.exists: // somebody read that position, so there was a topic
		return r.gap("", "the topic has been deleted")
	case !p.known:
		return nil
	case e.empty:
		return r.gap("", "the topic holds no message, so it was emptied, or deleted and made again")
	case p.at.compare(e.last) <= 0:
		return nil
	case !p.taken && p.at == mark{ledger: e.last.ledger, entry: e.last.entry + 1, stamp: p.at.stamp}:
		// The next message is yet to be written, and may be the first of another ledger: whatever follows the last.
		r.place = place{known: true, at: e.last, taken: true}
		return nil
	}
	oldest, err := r.link.look(ctx, r.channel, pulsar.EarliestMessageID(), 1)
	if err != nil {
		return err
	}
	return r.gap(oldest[0].position(), fmt.Sprintf("the topic ends at %s, so it was replaced", e.last.position()))
}

// pump reads messages, checks them and puts them into the hold.
func (r *reader) pump(ctx context.Context, src *source) error {
	for {
		if ctx.Err() != nil {
			return errLost
		}
		if r.hold.full() {
			if r.sizes.crowded() {
				return errCrowded // what the library holds is dropped and read again when there is room
			}
			if err := r.waitForRoom(ctx); err != nil {
				return errLost
			}
		}
		if r.sizes.narrow() {
			return errNarrow
		}
		raw, err := r.next(ctx, src)
		if err != nil {
			return err
		}
		m, ok, err := r.accept(ctx, raw)
		if err != nil {
			return err
		}
		if ok {
			r.hold.put(m)
		}
	}
}

// next returns the source's next message. A broker whose ledger was removed while it was being read from sends nothing more
// and says nothing, so silence is looked into.
func (r *reader) next(ctx context.Context, src *source) (pulsar.Message, error) {
	for {
		wait, cancel := context.WithTimeout(ctx, silence)
		raw, err := src.Next(wait)
		over := wait.Err() != nil
		cancel()
		switch {
		case err == nil:
			return raw, nil
		case ctx.Err() != nil || !over:
			return nil, errLost
		}
		e, err := r.link.extent(r.channel)
		if err != nil {
			return nil, err
		}
		if !e.exists || !e.empty && (!r.place.taken || r.place.at.compare(e.last) < 0) {
			return nil, errSilent
		}
	}
}

// accept checks that a message is the one that comes next and moves the reader's place. It reports false without an error
// for the message that a session begins with to prove that it is still there.
func (r *reader) accept(ctx context.Context, raw pulsar.Message) (mq.Message, bool, error) {
	got := stamped(raw)
	again, err := r.check(ctx, got)
	if err != nil {
		return mq.Message{}, false, err
	}
	r.outage.Over()
	r.place = place{known: true, at: got, taken: true, rest: int(max(raw.ID().BatchSize(), 1)-1) - int(got.batch)}
	if again {
		return mq.Message{}, false, nil
	}
	r.doubted = nil
	m := mq.Message{Position: got.position(), Payload: raw.Payload(), Properties: raw.Properties()}
	if len(m.Properties) == 0 {
		m.Properties = nil
	}
	r.sizes.saw(size(m))
	return m, true, nil
}

// check says whether a message may come now, and whether it has been read before.
func (r *reader) check(ctx context.Context, got mark) (again bool, err error) {
	p := r.place
	switch {
	case !p.known:
		return false, nil
	case got.compare(p.at) == 0: // wanted, or opened at to prove that it is still there
		if got.differs(p.at) {
			return false, r.gap(got.position(), "another message stands there now, so the cluster was set up anew")
		}
		return p.taken, nil
	case p.taken && p.rest > 0 && got.compare(mark{ledger: p.at.ledger, entry: p.at.entry, batch: p.at.batch + 1}) == 0:
		return false, nil
	case p.taken && p.rest == 0 && got.compare(mark{ledger: p.at.ledger, entry: p.at.entry + 1}) == 0:
		return false, nil
	case p.taken && p.rest == 0 && got.ledger > p.at.ledger && got.entry == 0 && got.batch == 0:
		return false, r.crossed(ctx, got)
	}
	return false, r.doubt(got, reasonRemoved)
}

// crossed proves that the first message of a ledger follows the last one read, by reading that one again and what comes
// after it. The broker still has it: ledgers are removed from the oldest on and never come back, so all between the two were
// there until now. And the same comes next: the topic's time to live, which moves the cursor of a reader that is far behind
// and mostly to where a ledger begins, has not yet moved the new one. Guarantee 5: without the proof, it is a gap.
func (r *reader) crossed(ctx context.Context, got mark) error {
	seen, err := r.link.look(ctx, r.channel, r.place.at.id(), 2)
	switch {
	case err != nil:
		return err
	case seen[0].compare(r.place.at) != 0 || seen[0].differs(r.place.at):
		return r.doubt(got, "ledgers were removed while they were being read, so nothing proves that the next message follows")
	case seen[1].compare(got) != 0:
		return errDoubt // the cursor was moved, but what is wanted is there
	}
	return nil
}

// doubt is a gap when the same was seen before, in another session. Guarantee 5: a message is never passed over.
func (r *reader) doubt(got mark, reason string) error {
	if r.doubted != nil && *r.doubted == got {
		return r.gap(got.position(), reason)
	}
	r.doubted = &got
	return errDoubt
}
