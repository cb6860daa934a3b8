package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// outgoing is one event on its way.
type outgoing struct {
	msg   *nats.Msg
	id    string
	kind  Kind
	size  int
	sent  time.Time // for the first time
	known bool      // the server says that the stream holds it at an earlier place
	marks []func(uint64)
}

// mark is a function whose time has come.
type mark struct {
	fn  func(uint64)
	seq uint64
}

// pipeline is what Run's goroutine keeps, and nobody else touches.
//
// pending[i] belongs at sequence base+1+i and is sent with the expectation that base+i is the last. An answer counts only
// if it is of the current generation: after a failure nothing is sent until the answers to what was sent are in (or will
// not come any more), then the stream is read, and the rest is sent again as a new generation.
type pipeline struct {
	p       *Publisher
	base    uint64      // the last sequence known to be stored
	pending []*outgoing // without answer, in order; the first sent of them are on the way
	sent    int
	bytes   int // of pending
	window  int // how many may be on the way now: one, until the first is acknowledged after a failure

	generation uint64
	out, got   int // messages sent and answers seen in this generation
	progress   time.Time
	failure    error     // why nothing is sent
	tries      int       // resyncs since the last acknowledged event
	retryAt    time.Time // not to resync before
	wake       *time.Timer
	said       bool      // the log has heard of the failure
	shutOut    time.Time // when the stream was first found listening to another writer

	ready   []mark
	metrics *taskMetrics
}

func newPipeline(p *Publisher, base uint64) pipeline {
	wake := time.NewTimer(time.Hour)
	wake.Stop()
	return pipeline{p: p, base: base, window: p.cfg.InFlight, wake: wake, metrics: p.cfg.Metrics.forTask(p.cfg.Task)}
}

// Run sends what is published and deals with the answers until ctx ends, or until nothing can be published any more:
// ErrFenced when another publisher has taken over, ErrStreamGone when the stream is not what it was. Trouble that may
// pass, such as a full stream or a server that is away, is waited for without end; Waiting tells. Call it once.
func (p *Publisher) Run(ctx context.Context) error {
	err := p.run(ctx)
	p.pipe.metrics.stopped()
	p.err = err
	close(p.done)
	return err
}

func (p *Publisher) run(ctx context.Context) error {
	replies := make(chan *nats.Msg, 4*p.cfg.InFlight)
	sub, err := p.nc.ChanSubscribe(p.inbox+".*.*", replies)
	if err != nil {
		return fmt.Errorf("subscribe to publish answers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only with the connection
	status := p.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer p.nc.RemoveStatusListener(status)

	marks, called := make(chan mark), make(chan struct{})
	go func() {
		defer close(called)
		for m := range marks {
			m.fn(m.seq)
		}
	}()
	defer func() { close(marks); <-called }()
	return p.pipe.loop(ctx, replies, status, marks)
}

func (l *pipeline) loop(ctx context.Context, replies <-chan *nats.Msg, status <-chan nats.Status, marks chan<- mark) error {
	overdue := time.NewTicker(max(l.p.cfg.AckWait/8, time.Millisecond))
	defer overdue.Stop()
	defer l.wake.Stop()
	for {
		if err := l.advance(ctx); err != nil {
			return err
		}
		toMark, next := l.nextMark(marks)
		select {
		case o := <-l.intake():
			l.take(o)
		case m := <-replies:
			l.answers(m, replies)
		case toMark <- next:
			l.ready = l.ready[1:]
		case s := <-status:
			l.connection(s)
		case <-overdue.C:
			l.checkOverdue()
		case <-l.wake.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// intake is where events come from, nil while there is no room for one.
func (l *pipeline) intake() <-chan op {
	if len(l.pending) >= l.p.cfg.InFlight || l.bytes >= l.p.cfg.InFlightBytes {
		return nil
	}
	return l.p.ops
}

func (l *pipeline) nextMark(marks chan<- mark) (chan<- mark, mark) {
	if len(l.ready) == 0 {
		return nil, mark{}
	}
	return marks, l.ready[0]
}

func (l *pipeline) take(o op) {
	if o.event != nil {
		l.pending = append(l.pending, o.event)
		l.bytes += o.event.size
	} else {
		l.addMarks(len(l.pending), o.mark)
	}
}

// addMarks has functions called when the first n of pending are acknowledged.
func (l *pipeline) addMarks(n int, fns ...func(uint64)) {
	if n > 0 {
		l.pending[n-1].marks = append(l.pending[n-1].marks, fns...)
		return
	}
	for _, fn := range fns {
		l.ready = append(l.ready, mark{fn, l.base})
	}
}

// advance does what can be done now: read the stream after a failure, send.
func (l *pipeline) advance(ctx context.Context) error {
	if l.failure != nil && l.got >= l.out && !time.Now().Before(l.retryAt) {
		if err := l.resync(ctx); err != nil {
			return err
		}
	}
	return l.send()
}

// send puts pending events on the way, as many as the window allows. Its error is final.
func (l *pipeline) send() error {
	defer func() { l.metrics.inFlight.Set(float64(l.sent)) }()
	for l.failure == nil && l.sent < min(len(l.pending), l.window) {
		e := l.pending[l.sent]
		last := l.base + uint64(l.sent)
		e.msg.Header[natsjs.ExpectedLastSeqHeader] = []string{strconv.FormatUint(last, 10)}
		e.msg.Reply = l.p.inbox + "." + strconv.FormatUint(l.generation, 10) + "." + strconv.FormatUint(last+1, 10)
		now := time.Now()
		if e.sent.IsZero() {
			e.sent = now
		}
		if l.got >= l.out {
			l.progress = now // the wait for an answer begins
		}
		err := l.p.nc.PublishMsg(e.msg)
		switch {
		case errors.Is(err, nats.ErrMaxPayload): // the limit was lowered since Publish looked
			return fmt.Errorf("publish event %q of %d bytes: %w", e.id, e.size, ErrTooLarge)
		case err != nil && hopeless(err):
			return fmt.Errorf("publish event %q: %w", e.id, err)
		case err != nil:
			l.fail(fmt.Errorf("publish event %q: %w", e.id, err))
			return nil
		}
		l.sent++
		l.out++
	}
	return nil
}

// answers deals with one answer and with all that have come with it.
func (l *pipeline) answers(m *nats.Msg, more <-chan *nats.Msg) {
	for {
		l.answer(m)
		select {
		case m = <-more:
		default:
			return
		}
	}
}

func (l *pipeline) answer(m *nats.Msg) {
	generation, seq, err := parseReply(strings.TrimPrefix(m.Subject, l.p.inbox+"."))
	if err != nil || generation != l.generation {
		return
	}
	l.got++
	l.progress = time.Now()
	ack, err := parseAck(m)
	switch {
	case err != nil:
		l.fail(err)
	case ack.Stream != StreamName(l.p.cfg.Task):
		l.fail(fmt.Errorf("stream %s has taken the event", ack.Stream))
	case ack.Sequence == seq:
		// An event is stored only right behind the one before it. So the answers before this one, if missing, were good.
		l.acked(seq)
	case ack.Duplicate && seq > l.base:
		l.pending[seq-l.base-1].known = true
		l.fail(fmt.Errorf("event is stored already, at %d", ack.Sequence))
	default:
		l.fail(fmt.Errorf("event was stored at %d instead of %d", ack.Sequence, seq))
	}
}

// acked takes events up to seq off the pipeline.
func (l *pipeline) acked(seq uint64) {
	now := time.Now()
	for l.base < seq {
		e := l.pending[0]
		l.pending[0] = nil
		l.pending = l.pending[1:]
		l.base++
		l.bytes -= e.size
		l.sent = max(0, l.sent-1)
		l.metrics.published(e.kind, e.size, now.Sub(e.sent).Seconds())
		l.addMarks(0, e.marks...)
	}
	l.tries, l.retryAt, l.window = 0, time.Time{}, l.p.cfg.InFlight
	if l.failure == nil {
		l.well()
	}
}

// fail stops the sending. Only the first failure of a generation counts: the others follow from it.
func (l *pipeline) fail(err error) {
	if l.failure != nil {
		return
	}
	l.failure = err
	l.waitBecause(err)
	l.wake.Reset(max(0, time.Until(l.retryAt)))
}

func (l *pipeline) connection(s nats.Status) {
	switch {
	case s == nats.CONNECTED:
		l.retryAt = time.Time{}
	case l.got < l.out: // no answers will come for what is on the way
		l.got = l.out
		l.fail(fmt.Errorf("connection to NATS: %s", s))
	}
}

func (l *pipeline) checkOverdue() {
	if l.got < l.out && time.Since(l.progress) >= l.p.cfg.AckWait {
		l.got = l.out
		l.fail(fmt.Errorf("no answer from the stream for %v", l.p.cfg.AckWait))
	}
}

// parseReply reads <generation>.<sequence>.
func parseReply(s string) (generation, seq uint64, err error) {
	g, q, _ := strings.Cut(s, ".")
	if generation, err = strconv.ParseUint(g, 10, 64); err != nil {
		return 0, 0, fmt.Errorf("parse generation: %w", err)
	}
	if seq, err = strconv.ParseUint(q, 10, 64); err != nil {
		return 0, 0, fmt.Errorf("parse sequence: %w", err)
	}
	return generation, seq, nil
}
