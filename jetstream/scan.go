package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// scanQuiet is how long a scan waits for events that should come before it asks for them anew.
const scanQuiet = 2 * time.Second

// errGap says that deliveries were lost on the way.
var errGap = errors.New("deliveries were lost")

// Scan calls fn with every event that one of the filters lets through, in the stream's order, from sequence from on up
// to the last that was there when Scan was called. The filters must not overlap; none stands for the whole stream. An
// event that can't be read ends the scan with an error that wraps ErrMalformed or ErrVersion, an error of fn ends it too.
func Scan(ctx context.Context, js natsjs.JetStream, task string, filters []string, from uint64, fn func(*Event) error) error { //nolint:revive // six that are all different; a struct of two would say less at the call
	if len(filters) == 0 {
		filters = []string{StreamSubjects(task)}
	}
	s, err := openStream(ctx, js, task)
	if err != nil {
		return err
	}
	sc := scan{conn: js.Conn(), stream: s, filters: filters, next: max(from, 1), fn: fn}
	if sc.end, err = sc.last(ctx); err != nil || sc.end < sc.next {
		return err
	}
	return sc.run(ctx, pullBytes(js))
}

type scan struct {
	conn    *nats.Conn
	stream  natsjs.Stream
	filters []string
	next    uint64 // everything below has been given to fn
	end     uint64 // sequence of the event that the scan ends with
	fn      func(*Event) error
	failed  error // fn's, or that an event can't be read
}

// last is the sequence of the newest event of all filters, 0 if there is none. Asked of the leader, so that the scan
// knows its end even if the replica that serves the consumer lags behind.
func (sc *scan) last(ctx context.Context) (end uint64, err error) {
	for _, f := range sc.filters {
		err := attempt(ctx, sc.conn, requestTimeout, func(ctx context.Context) error {
			m, err := sc.stream.GetLastMsgForSubject(ctx, f)
			if err == nil {
				end = max(end, m.Sequence)
			}
			return err
		})
		if err != nil && !errors.Is(err, natsjs.ErrMsgNotFound) {
			return 0, fmt.Errorf("find last event of %s: %w", f, err)
		}
	}
	return end, nil
}

// run reads with one consumer after the other until the end, each from where the one before lost its way.
//
// The client library's ordered consumer does much the same, but when its server is gone it holds up whoever stops it.
func (sc *scan) run(ctx context.Context, limit int) error {
	for sc.next <= sc.end {
		err := sc.pass(ctx, limit)
		switch {
		case sc.failed != nil:
			return sc.failed
		case ctx.Err() != nil:
			return ctx.Err()
		case isLoss(err):
			err = sc.shorten(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isLoss reports whether the scan goes on with a new consumer.
func isLoss(err error) bool { return errors.Is(err, errGap) || errors.Is(err, errReconnected) }

// shorten looks whether what the scan was to end with is still there.
func (sc *scan) shorten(ctx context.Context) error {
	end, err := sc.last(ctx)
	if isLoss(err) {
		return nil
	}
	sc.end = min(end, sc.end)
	return err
}

// pass reads with one consumer until the end, or until it loses something.
func (sc *scan) pass(ctx context.Context, limit int) error {
	var cons natsjs.Consumer
	err := attempt(ctx, sc.conn, requestTimeout, func(ctx context.Context) (err error) {
		cons, err = sc.stream.CreateConsumer(ctx, natsjs.ConsumerConfig{
			FilterSubjects: sc.filters, DeliverPolicy: natsjs.DeliverByStartSequencePolicy, OptStartSeq: sc.next,
			AckPolicy: natsjs.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 5 * scanQuiet,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("read stream from %d: %w", sc.next, err)
	}
	delivered := uint64(0)
	for err == nil && sc.next <= sc.end && sc.failed == nil {
		err = attempt(ctx, sc.conn, scanQuiet, func(ctx context.Context) (err error) {
			delivered, err = sc.fetch(ctx, cons, limit, delivered)
			return err
		})
	}
	return err
}

// fetch gives fn one pull's events. Deliveries are counted: one that is missing was lost.
func (sc *scan) fetch(ctx context.Context, cons natsjs.Consumer, limit int, delivered uint64) (uint64, error) {
	batch, err := cons.FetchBytes(limit, natsjs.FetchContext(ctx))
	if err != nil {
		return delivered, fmt.Errorf("read stream from %d: %w", sc.next, err)
	}
	before := delivered
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return delivered, fmt.Errorf("read stream from %d: %w", sc.next, err)
		}
		if delivered++; meta.Sequence.Consumer != delivered {
			return delivered, errGap
		}
		if sc.give(m, meta.Sequence.Stream); sc.failed != nil || sc.next > sc.end {
			return delivered, nil //nolint:nilerr // run looks at failed
		}
	}
	if delivered == before {
		return delivered, errGap
	}
	return delivered, nil
}

func (sc *scan) give(m natsjs.Msg, seq uint64) {
	if seq > sc.end { // the one that the scan was to end with is no more
		sc.next = seq
		return
	}
	e, err := ParseEvent(m.Subject(), m.Headers(), m.Data())
	if err != nil {
		sc.failed = fmt.Errorf("read event at %d: %w", seq, err)
		return
	}
	e.Seq = seq
	sc.next = seq + 1
	sc.failed = sc.fn(e)
}

// pullBytes bounds what a pull brings at once: room for several of the largest messages.
func pullBytes(js natsjs.JetStream) int { return max(8<<20, 3*int(js.Conn().MaxPayload())) }
