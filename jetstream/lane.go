package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// LaneConfig says which lane is opened and how much of it is held in memory.
type LaneConfig struct {
	ID    LaneID
	Epoch uint64 // of the lane's lease
	// PrefetchEvents and PrefetchBytes bound what waits to be handed out; up to half as much again may be on its way.
	// Default 1024 and 8 MiB. Too little leaves the target idle between batches; a single event may be larger.
	PrefetchEvents int
	PrefetchBytes  int
	// SaveEvery is how often the floor is recorded beside the consumer's own, for the case that the consumer is deleted
	// by hand, or that the NATS server is killed and forgets its last acks: then that much is applied again. Default 5 s.
	SaveEvery time.Duration
	Log       *slog.Logger // default: none
}

func (c LaneConfig) withDefaults() LaneConfig {
	if c.PrefetchEvents <= 0 {
		c.PrefetchEvents = 1024
	}
	if c.PrefetchBytes <= 0 {
		c.PrefetchBytes = 8 << 20
	}
	if c.SaveEvery <= 0 {
		c.SaveEvery = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Delivery is one message of a lane. The message as it is on the stream is there for parking, whatever Err says.
type Delivery struct {
	Event *Event // nil when Err is set
	Err   error  // wraps ErrMalformed or ErrVersion: the message is no event that this program knows
	Seq   uint64 // stream sequence, for Ack

	Subject string
	Header  nats.Header
	Body    []byte
	bytes   int
}

func (d Delivery) size() int { return d.bytes }

// ErrLaneClosed is what a Lane's methods return after Close.
var ErrLaneClosed = errors.New("lane is closed")

// Lane is a worker's hold on one lane of a target: its events, each handed out once and in the stream's order, and the
// checkpoint that says which of them the target has. Whatever happens to connection, server or consumer, the Lane
// begins again from the floor by itself and passes over what it has handed out already; nobody sees it but by the time
// it takes. Another process that opens the lane later begins from the floor too, and this Lane ends with ErrFenced.
//
// Next and TryNext are for one goroutine; the rest may be called from any.
type Lane struct {
	cfg     LaneConfig
	conn    *nats.Conn
	claim   *claim
	backlog *backlog

	connected chan nats.Status
	silent    chan ticket // an ack that its consumer did not answer
	cancel    context.CancelFunc
	done      chan struct{}

	acking chan struct{} // holds one token: one ack at a time
	saved  time.Time     // when the floor was last recorded; whoever has the token
}

// OpenLane takes the lane under the epoch of its lease. The error wraps ErrFenced when the lane has been opened under
// a later epoch, ErrNotFound when there is no such task. ctx is for the opening only; the Lane lasts until Close.
func OpenLane(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, cfg LaneConfig) (*Lane, error) {
	cfg = cfg.withDefaults()
	c, err := newClaim(ctx, js, kv, cfg.ID, cfg.Epoch)
	if err != nil {
		return nil, fmt.Errorf("open lane %s: %w", cfg.ID, err)
	}
	// Before the consumer is there: from now on a new connection means that deliveries may be lost.
	connected := js.Conn().StatusChanged(nats.CONNECTED)
	cons, floor, err := c.take(ctx, 0)
	if err != nil {
		js.Conn().RemoveStatusListener(connected)
		return nil, fmt.Errorf("open lane %s: %w", cfg.ID, err)
	}
	if err := c.sweep(ctx); err != nil {
		cfg.Log.Debug("old consumers stay", "lane", cfg.ID.String(), "error", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &Lane{
		cfg: cfg, conn: js.Conn(), claim: c, backlog: newBacklog(floor, cfg.PrefetchEvents, cfg.PrefetchBytes),
		connected: connected, silent: make(chan ticket, 1), cancel: cancel, done: make(chan struct{}),
		acking: make(chan struct{}, 1), saved: time.Now(),
	}
	go l.feed(running, cons)
	return l, nil
}

// Next waits for the lane's next event. The error is ctx's, or final: ErrFenced, ErrNotFound when the task's stream is
// gone, ErrLaneClosed.
func (l *Lane) Next(ctx context.Context) (Delivery, error) { return l.backlog.next(ctx) }

// TryNext is the lane's next event if it is here already, to fill a batch with.
func (l *Lane) TryNext() (Delivery, bool) {
	d, ok, _ := l.backlog.take()
	return d, ok
}

// Floor is the checkpoint: the target has everything of this lane up to this sequence.
func (l *Lane) Floor() uint64 { return l.backlog.acks() }

// Ack says that the target has everything that was handed out up to and including seq. A nil error promises that no
// holder is given any of it again, unless the NATS server is killed within SaveEvery of it. It goes on trying until
// ctx ends; any other error is final: ErrFenced, ErrNotFound, ErrLaneClosed.
func (l *Lane) Ack(ctx context.Context, seq uint64) error {
	select {
	case l.acking <- struct{}{}:
		defer func() { <-l.acking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for tries := 0; ; tries++ {
		done, err := l.tryAck(ctx, seq)
		if done {
			return err
		}
		if pause(ctx, tries, nil); ctx.Err() != nil {
			return fmt.Errorf("ack %d on lane %s: %w: %w", seq, l.cfg.ID, ctx.Err(), err)
		}
	}
}

// tryAck reports whether trying again is of no use.
func (l *Lane) tryAck(ctx context.Context, seq uint64) (bool, error) {
	if err := l.backlog.err(); err != nil {
		return true, err
	}
	t, err := l.backlog.toAck(seq)
	if t.done || err != nil {
		return true, err
	}
	if t.reply == "" || l.doubleAck(ctx, t) != nil || !l.backlog.current(t) {
		// The consumer can't be told, or was told when its floor had been read for the next one. But the record is as
		// good a place: who opens the lane reads both. Guarantee 4: a later holder has changed it, and this fails.
		if err := l.save(ctx, seq); err != nil {
			return endsLane(err), err
		}
		l.tell(l.backlog.acked(seq))
		return true, nil
	}
	l.backlog.acked(seq)
	if time.Since(l.saved) >= l.cfg.SaveEvery {
		if err := l.save(ctx, seq); errors.Is(err, ErrFenced) {
			return true, err
		} // any other error: the consumer knows; the next ack records it
	}
	return true, nil
}

// doubleAck acks and waits for the consumer's word. When it gives none, it may be gone.
func (l *Lane) doubleAck(ctx context.Context, t ticket) error {
	err := attempt(ctx, l.conn, requestTimeout, func(ctx context.Context) error {
		_, err := l.conn.RequestWithContext(ctx, t.reply, []byte("+ACK"))
		return err
	})
	if err != nil && ctx.Err() == nil {
		select {
		case l.silent <- t:
		default: // the feed has one to look at
		}
	}
	return err
}

// tell acks without waiting for an answer what the record says is acked. While that was written, a new consumer may have
// delivered it again; told by nobody, it would count it as on its way for ever.
func (l *Lane) tell(reply string) {
	if reply == "" {
		return
	}
	if err := l.conn.Publish(reply, []byte("+ACK")); err != nil {
		l.cfg.Log.Debug("consumer is not told of an ack", "lane", l.cfg.ID.String(), "error", err)
	}
}

func (l *Lane) save(ctx context.Context, floor uint64) error {
	err := attempt(ctx, l.conn, requestTimeout, func(ctx context.Context) error { return l.claim.save(ctx, floor) })
	if err != nil {
		return err
	}
	l.saved = time.Now()
	return nil
}

// endsLane reports whether an error of the claim ends the Lane.
func endsLane(err error) bool {
	return errors.Is(err, ErrFenced) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrMalformed) ||
		errors.Is(err, nats.ErrConnectionClosed)
}

// Close ends the Lane and records its floor. What was handed out and not acked is handed out again by the next one.
func (l *Lane) Close(ctx context.Context) error {
	l.backlog.close(ErrLaneClosed)
	l.cancel()
	<-l.done
	select {
	case l.acking <- struct{}{}:
		defer func() { <-l.acking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := l.save(ctx, l.Floor()); err != nil && !errors.Is(err, ErrFenced) {
		return fmt.Errorf("close lane %s: %w", l.cfg.ID, err)
	}
	return nil
}
