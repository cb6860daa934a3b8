package pulsar

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/internal/outage"
)

var (
	errAbsent  = errors.New("channel does not exist yet")
	errLost    = errors.New("connection to Pulsar was lost")
	errSilent  = errors.New("the broker has messages and sends none")
	errCrowded = errors.New("messages are larger than was allowed for")
	errNarrow  = errors.New("messages are smaller than was allowed for")
	errDoubt   = errors.New("a message did not follow the one before")
)

// place is where a reader stands in its channel.
type place struct {
	known bool // false: begin with the oldest
	at    mark // the last message read, or the one to begin with
	taken bool // at has been read
	rest  int  // how many messages of at's batch are still to come
}

// wanted is the position of the message to read next. The first of another ledger may come in its stead.
func (p place) wanted() mq.Position {
	switch {
	case !p.taken:
		return p.at.position()
	case p.rest > 0:
		return mark{ledger: p.at.ledger, entry: p.at.entry, batch: p.at.batch + 1}.position()
	}
	return mark{ledger: p.at.ledger, entry: p.at.entry + 1}.position()
}

// reader is an mq.Reader of one topic. One goroutine, run, owns everything but the hold and reads ahead into it: a message
// that begins a new ledger can be proven to follow the last of the old one only while the broker still has that, so it
// must be looked at when it comes and not when the caller takes it.
type reader struct {
	q       *Queue
	channel string
	log     *slog.Logger
	hold    *hold
	cancel  context.CancelFunc // ends run
	closed  <-chan struct{}    // closed by Close
	ended   chan struct{}      // closed when run has ended

	place   place
	link    *link // nil before the first attempt to read
	doubted *mark // where the last doubt was, if it was the last thing to happen
	sizes   sizes
	outage  outage.Outage
}

// open makes a reader and starts it. It outlives ctx.
func (q *Queue) open(ctx context.Context, channel string, at place) *reader {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	log := q.log.With(keyChannel, channel)
	r := &reader{
		q: q, channel: channel, log: log, place: at, outage: outage.New(log),
		// One half of the bounds is for what is held here, the other for what the library holds.
		hold:   newHold(max(q.cfg.PrefetchMessages/2, 1), q.cfg.PrefetchBytes/2),
		sizes:  newSizes(q.cfg),
		cancel: cancel, closed: ctx.Done(), ended: make(chan struct{}),
	}
	go r.run(ctx)
	return r
}

// Next implements mq.Reader.
func (r *reader) Next(ctx context.Context) (mq.Message, error) {
	for {
		select {
		case <-r.closed:
			return mq.Message{}, mq.ErrClosed
		default:
		}
		if err := ctx.Err(); err != nil {
			return mq.Message{}, err
		}
		if m, ok, err := r.hold.take(); ok || err != nil {
			return m, err
		}
		select {
		case <-r.hold.ready:
		case <-r.closed:
		case <-ctx.Done():
		}
	}
}

// Close implements mq.Reader. It waits for a request to the broker that is under way.
func (r *reader) Close() error {
	r.cancel()
	<-r.ended
	r.q.forget(r)
	return nil
}

// run reads until there is a gap or Close is called.
func (r *reader) run(ctx context.Context) {
	defer close(r.ended)
	for {
		err := r.session(ctx)
		if err = r.settle(ctx, err); err != nil {
			r.hold.finish(err)
			break
		}
	}
	if r.link != nil {
		r.link.close()
	}
}

// settle decides what becomes of a session that ended: nil means to begin another. It is the only place where reading is
// given up or tried anew.
func (r *reader) settle(ctx context.Context, err error) error {
	var gap *mq.GapError
	switch {
	case errors.As(err, &gap):
		return err
	case ctx.Err() != nil:
		return mq.ErrClosed
	case errors.Is(err, errCrowded), errors.Is(err, errNarrow), errors.Is(err, errDoubt):
		return nil
	}
	t := time.NewTimer(r.outage.Failed(err))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return mq.ErrClosed
	}
}

// gap is the error that ends this reader.
func (r *reader) gap(found mq.Position, reason string) error {
	return &mq.GapError{Channel: r.channel, Wanted: r.place.wanted(), Found: found, Reason: reason}
}

var _ mq.Reader = (*reader)(nil)
