package natsmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/internal/outage"
)

var (
	errStopped     = errors.New("stopped")
	errReconnected = errors.New("connection was made anew")
	errSilent      = errors.New("server has stopped sending heartbeats")
	errOutOfOrder  = errors.New("messages arrived out of order")
	errAbsent      = errors.New("channel does not exist yet")
)

// reasonRemoved is the reason of a gap in a stream that is otherwise the one it was.
const reasonRemoved = "it has been removed from the stream (by age, size, purge or hand)"

// place is where a reader stands in its channel.
type place struct {
	at    mark // the last message handed out, or the one to begin with; zero: begin with the oldest
	taken bool // at has been handed out
}

// wanted is the sequence of the message to hand out next, 0 for the oldest.
func (p place) wanted() uint64 {
	if p.taken {
		return p.at.seq + 1
	}
	return p.at.seq
}

// reader is an mq.Reader of one stream. It keeps its place itself and has no state at the server that it could not do
// without: whatever happens to the consumer or the connection, it makes another consumer from its place.
type reader struct {
	q       *Queue
	channel string
	log     *slog.Logger
	done    chan struct{}                      // closed by Close
	abort   atomic.Pointer[context.CancelFunc] // ends the request to the server that is under way
	closing sync.Once

	mu       sync.Mutex // held by Next all along, so that Close waits for it to leave
	place    place
	link     *link // nil before the first attempt to read
	feed     *feed // nil: to be made
	consumer string
	fresh    <-chan struct{} // closed when the feed is of an earlier connection
	beat     *time.Ticker    // when to look for silence
	outage   outage.Outage
	final    error // the *mq.GapError that ended reading, or ErrClosed
}

func newReader(q *Queue, channel string) *reader {
	log := q.log.With(keyChannel, channel)
	return &reader{q: q, channel: channel, log: log, done: make(chan struct{}), outage: outage.New(log)}
}

// Next implements mq.Reader.
func (r *reader) Next(ctx context.Context) (mq.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if err := r.ended(ctx); err != nil {
			return mq.Message{}, err
		}
		raw, err := r.pull(ctx)
		if err == nil {
			var m mq.Message
			var ok bool
			if m, ok, err = r.accept(ctx, raw); ok {
				return m, nil
			}
		}
		if err = r.settle(ctx, err); err != nil {
			return mq.Message{}, err
		}
	}
}

// ended returns why there is nothing to be done: closed, at a gap, or out of time.
func (r *reader) ended(ctx context.Context) error {
	select {
	case <-r.done:
		return mq.ErrClosed
	default:
	}
	if r.final != nil {
		return r.final
	}
	return ctx.Err()
}

// pull returns the feed's next message and waits for it. Without a feed, it makes one.
func (r *reader) pull(ctx context.Context) (*nats.Msg, error) {
	if r.feed == nil {
		if err := r.attach(ctx); err != nil {
			return nil, err
		}
	}
	for {
		if m, err := r.feed.take(); m != nil || err != nil {
			return m, err
		}
		select {
		case <-r.feed.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.done:
			return nil, mq.ErrClosed
		case <-r.fresh:
			return nil, errReconnected
		case <-r.beat.C:
			heard, silent := r.feed.pulse()
			if silent {
				return nil, errSilent
			}
			if heard {
				r.outage.Over()
			}
		}
	}
}

// accept checks that a message is the one that comes next and moves the reader's place. It reports false without an
// error for the message that a new feed begins with to prove that it is still the same stream.
func (r *reader) accept(ctx context.Context, raw *nats.Msg) (mq.Message, bool, error) {
	meta, err := raw.Metadata()
	if err != nil {
		return mq.Message{}, false, fmt.Errorf("read message of %s: %w", r.channel, err)
	}
	got := mark{seq: meta.Sequence.Stream, stamp: meta.Timestamp.UnixNano()}
	if err := r.check(ctx, got); err != nil {
		return mq.Message{}, false, err
	}
	r.outage.Over()
	if r.place.taken && got.seq == r.place.at.seq {
		return mq.Message{}, false, nil
	}
	r.place = place{at: got, taken: true}
	return mq.Message{Position: got.position(), Payload: raw.Data, Properties: properties(raw.Header)}, true, nil
}

// check says whether a message may come now. Guarantee 5: a message that is not the one wanted is a gap if the server
// has the wanted one no more; otherwise that was lost on its way, and another feed will bring it.
func (r *reader) check(ctx context.Context, got mark) error {
	at, want := r.place.at, r.place.wanted()
	switch {
	case at.seq == 0, got.seq == want && got.seq != at.seq:
		return nil
	case got.seq == at.seq: // wanted, or sent again to prove that it is still the same stream
		if at.stamp != 0 && at.stamp != got.stamp {
			return r.gap(got.position(), "another message stands there now, so the stream was replaced or cut short")
		}
		return nil
	case got.seq > want && r.removed(ctx, want):
		return r.gap(got.position(), reasonRemoved)
	}
	return errOutOfOrder
}

// gap is the error that ends this reader.
func (r *reader) gap(found mq.Position, reason string) error {
	wanted := r.place.at
	if r.place.taken {
		wanted = mark{seq: wanted.seq + 1}
	}
	return &mq.GapError{Channel: r.channel, Wanted: wanted.position(), Found: found, Reason: reason}
}

// settle decides what becomes of an attempt to read: nil means to try again. It is the only place where reading is
// given up or tried anew.
func (r *reader) settle(ctx context.Context, err error) error {
	var gap *mq.GapError
	switch {
	case err == nil:
		return nil
	case r.feed != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err // the feed is well, and the caller may come back
	case errors.Is(err, mq.ErrClosed):
		return err
	}
	r.detach()
	switch {
	case errors.As(err, &gap):
		r.final = err
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errReconnected):
		return nil
	}
	return r.pause(ctx, err)
}

// pause waits before the next attempt, longer each time, but not past a new connection.
func (r *reader) pause(ctx context.Context, err error) error {
	t := time.NewTimer(r.outage.Failed(err))
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.fresh:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.done:
		return mq.ErrClosed
	}
	return nil
}

// Close implements mq.Reader.
func (r *reader) Close() error {
	r.closing.Do(func() { close(r.done) })
	r.interrupt()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.final == nil || !errors.Is(r.final, mq.ErrClosed) {
		r.final = mq.ErrClosed
		r.detach()
		if r.link != nil {
			r.link.close()
		}
		r.q.forget(r)
	}
	return nil
}

// interrupt ends the request to the server that is under way.
func (r *reader) interrupt() {
	if cancel := r.abort.Load(); cancel != nil {
		(*cancel)()
	}
}

// properties are a message's headers, of which Milvus writes each once.
func properties(h nats.Header) map[string]string {
	if len(h) == 0 {
		return nil
	}
	p := make(map[string]string, len(h))
	for k, v := range h {
		if len(v) > 0 {
			p[k] = v[0]
		}
	}
	return p
}
