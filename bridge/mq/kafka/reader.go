package kafka

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/internal/outage"
)

// reader is an mq.Reader of one topic. A goroutine of its own keeps its place in the topic and reads ahead of the
// caller: what it gives, Next only takes. So a caller that has little time each time does not keep it from getting
// anywhere, and one that takes nothing stops it after one portion.
type reader struct {
	q       *Queue
	channel string
	out     chan []*kgo.Record // closed by run when it ends
	closed  chan struct{}      // closed by Close
	closing sync.Once
	quit    context.CancelFunc
	wg      sync.WaitGroup

	// Next's.
	held []*kgo.Record // to be given

	// run's. The gap is set before out is closed and read only after.
	link      *link
	brokers   []string // addresses last heard of
	unpacker  kgo.Decompressor
	half      int // bytes to fetch at a time
	place     place
	begin     int64    // where the feed began; a batch may hold messages before it
	proof     bool     // the next message must be the one at place
	topic     [16]byte // the id of the topic that was read
	suspicion suspicion
	outage    outage.Outage
	final     *mq.GapError
}

func newReader(q *Queue, channel string, l *link) *reader {
	return &reader{
		q: q, channel: channel, out: make(chan []*kgo.Record), closed: make(chan struct{}),
		link: l, unpacker: kgo.DefaultDecompressor(), half: q.cfg.PrefetchBytes / 2,
		outage: outage.New(q.log.With(slog.String(keyChannel, channel))),
	}
}

// start lets the reader read ahead until Close.
func (r *reader) start(ctx context.Context) {
	ctx, r.quit = context.WithCancel(context.WithoutCancel(ctx))
	r.wg.Go(func() { r.run(ctx) })
}

// Next implements mq.Reader.
func (r *reader) Next(ctx context.Context) (mq.Message, error) {
	select {
	case <-r.closed:
		return mq.Message{}, mq.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return mq.Message{}, err
	}
	for len(r.held) == 0 {
		var ok bool
		select {
		case r.held, ok = <-r.out:
			if !ok {
				return mq.Message{}, r.end()
			}
		case <-ctx.Done():
			return mq.Message{}, ctx.Err()
		case <-r.closed:
			return mq.Message{}, mq.ErrClosed
		}
	}
	m := r.held[0]
	if r.held = r.held[1:]; len(r.held) == 0 {
		r.held = nil // or it would keep the batch
	}
	return message(m), nil
}

// end is why there is nothing more.
func (r *reader) end() error {
	if r.final != nil {
		return r.final
	}
	return mq.ErrClosed
}

// Close implements mq.Reader.
func (r *reader) Close() error {
	r.closing.Do(func() {
		close(r.closed)
		r.quit()
		r.q.forget(r)
	})
	r.wg.Wait()
	return nil
}

// run reads until Close or a gap. It is the only place where reading is given up or tried anew.
func (r *reader) run(ctx context.Context) {
	defer close(r.out)
	defer func() { r.link.close() }()
	for ctx.Err() == nil {
		err := r.read(ctx)
		if errors.As(err, &r.final) {
			return
		}
		if silent(err) {
			r.redial()
		}
		r.pause(ctx, err)
	}
}

// silent reports whether a broker owes an answer.
func silent(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// redial gives all connections up, but not what is known of the cluster. The client would give each up only when it has
// waited for an answer on it too.
func (r *reader) redial() {
	l, err := dial(r.q.cfg, r.brokers, r.q.opts...)
	if err != nil { // a file is not there right now
		r.q.log.Debug("old connections are kept", keyChannel, r.channel, keyError, err)
		return
	}
	r.link.close()
	r.link = l
}

// pause waits before the next attempt, longer each time.
func (r *reader) pause(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	t := time.NewTimer(r.outage.Failed(err))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// read attaches and hands out what comes until something breaks.
func (r *reader) read(ctx context.Context) error {
	f, err := r.attach(ctx)
	if err != nil {
		return err
	}
	defer f.stop()
	for {
		var p portion
		select {
		case p = <-f.out:
		case <-ctx.Done():
			return ctx.Err()
		}
		if p.answer != nil {
			r.topic = f.at.id
			r.outage.Over()
		}
		ahead := p.err == nil && p.bytes <= r.half
		if ahead {
			f.goOn()
		}
		if err := r.hand(ctx, p); err != nil {
			return err
		}
		switch {
		case p.err != nil:
			return p.err
		case !ahead: // a large one passes alone
			f.goOn()
		}
	}
}

// hand unpacks a portion and gives its messages to Next, one unit at a time.
func (r *reader) hand(ctx context.Context, p portion) error {
	for _, unit := range p.units() {
		msgs, err := p.unpack(r.channel, unit, max(r.begin, r.place.at.offset), r.unpacker)
		if err != nil {
			return err
		}
		if msgs, err = r.accept(msgs); err != nil {
			return err
		}
		if len(msgs) == 0 {
			continue
		}
		last := place{at: markOf(msgs[len(msgs)-1]), known: true, taken: true}
		select {
		case r.out <- msgs:
			r.place = last
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// accept checks that messages are those that come next. Guarantee 5: where a message is known to have stood there must
// still be that one. The message given last, which a new feed begins with to prove that, is left out.
func (r *reader) accept(msgs []*kgo.Record) ([]*kgo.Record, error) {
	if len(msgs) == 0 || !r.proof {
		return msgs, nil
	}
	r.proof = false
	at, got := r.place.at, markOf(msgs[0])
	switch {
	case got.offset == at.offset && at.stamp != 0 && got.stamp != at.stamp:
		return nil, r.gap(got.position(), reasonOther)
	case got.offset > at.offset && r.place.end() > at.offset: // it has been seen, and the log still begins before it
		return nil, r.gap(got.position(), reasonRemoved)
	case r.place.taken:
		return msgs[1:], nil
	}
	return msgs, nil
}

// markOf is where a message stands.
func markOf(m *kgo.Record) mark {
	return mark{offset: m.Offset, stamp: max(m.Timestamp.UnixMilli(), 0)}
}

// message copies what the caller may keep: a record is part of its batch.
func message(m *kgo.Record) mq.Message {
	return mq.Message{Position: markOf(m).position(), Payload: bytes.Clone(m.Value), Properties: properties(m.Headers)}
}

// properties are a message's headers, of which Milvus writes each once.
func properties(headers []kgo.RecordHeader) map[string]string {
	if len(headers) == 0 {
		return nil
	}
	p := make(map[string]string, len(headers))
	for _, h := range headers {
		p[h.Key] = string(h.Value)
	}
	return p
}

var _ mq.Reader = (*reader)(nil)
