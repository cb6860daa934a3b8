package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// heartbeat is how often a consumer that has nothing to deliver says so. After two that don't come it may be gone.
const heartbeat = 2 * time.Second

var errNoAnswer = errors.New("consumer does not answer acks")

// feed fills the backlog from one consumer after the other until ctx ends or the lane is somebody else's.
//
// A durable consumer would deliver again what was lost on the wire, or prefetched by a client that is gone, only after
// AckWait, and out of turn. So whenever deliveries may have been lost, this begins anew: a consumer of a new name from
// the floor, and what comes again is passed over.
func (l *Lane) feed(ctx context.Context, cons natsjs.Consumer) {
	defer close(l.done)
	defer l.conn.RemoveStatusListener(l.connected)
	for {
		why := l.consume(ctx, cons)
		if ctx.Err() != nil {
			return
		}
		l.cfg.Log.Info("lane begins anew from its floor", "lane", l.cfg.ID.String(), "floor", l.Floor(), "reason", why)
		l.backlog.orphan()
		var err error
		if cons, err = l.retake(ctx); err != nil {
			l.backlog.close(err)
			return
		}
	}
}

// consume feeds from one consumer until something may be missing, and says what.
func (l *Lane) consume(ctx context.Context, cons natsjs.Consumer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	broken := make(chan error, 1)
	fail := func(err error) {
		select {
		case broken <- err:
		default:
		}
	}
	r := &receiver{lane: l}
	// The client's buffer ahead of the backlog. A pull of too few bytes for the next event would never be answered, so
	// it asks for at least as many as an event can have.
	maxBytes := max(l.cfg.PrefetchBytes/4, int(l.conn.MaxPayload())+64<<10)
	cc, err := cons.Consume(func(m natsjs.Msg) {
		if err := r.receive(ctx, m); err != nil {
			fail(err)
		}
	}, natsjs.PullMaxMessagesWithBytesLimit(max(l.cfg.PrefetchEvents/4, 2), maxBytes),
		natsjs.PullExpiry(30*time.Second), natsjs.PullHeartbeat(heartbeat),
		natsjs.ConsumeErrHandler(func(_ natsjs.ConsumeContext, err error) { fail(err) }))
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	defer func() {
		cancel() // the callback may wait for room
		cc.Stop()
		<-cc.Closed()
	}()
	return l.trouble(ctx, broken)
}

// trouble waits until something may be missing, and says what.
func (l *Lane) trouble(ctx context.Context, broken <-chan error) error {
	for {
		select {
		case err := <-broken:
			return err
		case <-l.connected:
			return errReconnected
		case t := <-l.silent:
			if l.backlog.current(t) { // not an earlier consumer's
				return errNoAnswer
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// retake takes the lane again under a new consumer, for as long as it takes. Its error is final or ctx's.
func (l *Lane) retake(ctx context.Context) (natsjs.Consumer, error) {
	for tries := 0; ; tries++ {
		cons, err := l.tryRetake(ctx)
		if err == nil || endsLane(err) {
			return cons, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.cfg.Log.Debug("lane can't begin anew yet", "lane", l.cfg.ID.String(), "error", err)
		pause(ctx, tries, l.connected)
	}
}

func (l *Lane) tryRetake(ctx context.Context) (natsjs.Consumer, error) {
	var cons natsjs.Consumer
	var floor uint64
	err := attempt(ctx, l.conn, requestTimeout, func(ctx context.Context) (err error) {
		cons, floor, err = l.claim.take(ctx, l.Floor())
		return err
	})
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return nil, fmt.Errorf("lane %s: %w: %w", l.cfg.ID, ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	l.backlog.acked(floor) // the consumer may have known an ack whose answer was lost
	if err := l.claim.sweep(ctx); err != nil {
		l.cfg.Log.Debug("old consumers stay", "lane", l.cfg.ID.String(), "error", err)
	}
	return cons, nil
}

// receiver takes the deliveries of one consumer, in the client's callback.
type receiver struct {
	lane *Lane
	last uint64 // consumer sequence
}

// receive queues a delivery. Its error says that deliveries before this one are missing; from then on all are refused.
func (r *receiver) receive(ctx context.Context, m natsjs.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return fmt.Errorf("read delivery: %w", err)
	}
	if meta.Sequence.Consumer != r.last+1 {
		return fmt.Errorf("delivery %d came after %d", meta.Sequence.Consumer, r.last)
	}
	r.last++
	b := r.lane.backlog
	if isNew, isAcked := b.fresh(meta.Sequence.Stream, m.Reply()); !isNew {
		if isAcked {
			return m.Ack() // acked in the record while there was no consumer to tell
		}
		return nil
	}
	d := Delivery{Seq: meta.Sequence.Stream, Subject: m.Subject(), Header: m.Headers(), Body: m.Data()}
	d.bytes = len(d.Subject) + len(d.Body)
	for k, values := range d.Header {
		for _, v := range values {
			d.bytes += len(k) + len(v)
		}
	}
	if d.Event, d.Err = ParseEvent(d.Subject, d.Header, d.Body); d.Event != nil {
		d.Event.Seq = d.Seq
	}
	if err := b.push(ctx, d, m.Reply()); err != nil && ctx.Err() == nil && b.err() == nil {
		return err
	}
	return nil
}
