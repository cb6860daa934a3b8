package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// scanQuiet is how long a scan waits for events that should come before it asks for them anew.
const scanQuiet = 2 * time.Second

// errGap says that deliveries were lost on the way.
var errGap = errors.New("deliveries were lost")

// Scan calls fn with every event that one of the filters lets through, in the stream's order, from sequence from on up
// to the last that was there when Scan was called. The filters must not overlap; none stands for the whole stream. An
// event that can't be read ends the scan with an error that wraps ErrMalformed or ErrVersion, an error of fn ends it too.
func Scan(ctx context.Context, js natsjs.JetStream, task string, filters []string, from uint64, fn func(*Event) error) error {
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
// The client library's ordered consumer does this too, but when its server is gone it holds up whoever stops it.
func (sc *scan) run(ctx context.Context, limit int) error {
	for sc.next <= sc.end {
		err := sc.pass(ctx, limit)
		if err != nil && ctx.Err() == nil && lost(err) {
			// What the scan was to end with may have been deleted.
			var end uint64
			if end, err = sc.last(ctx); err == nil || lost(err) {
				sc.end, err = min(max(end, sc.next), sc.end), nil
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pass reads with one consumer until the end, or until it loses something.
func (sc *scan) pass(ctx context.Context, limit int) error {
	cons, err := sc.consumer(ctx)
	if err != nil {
		return fmt.Errorf("read stream from %d: %w", sc.next, err)
	}
	delivered := uint64(0)
	for sc.next <= sc.end {
		if delivered, err = sc.fetch(ctx, cons, limit, delivered); err != nil {
			return err
		}
	}
	return nil
}

// consumer makes one that the server removes by itself.
func (sc *scan) consumer(ctx context.Context) (natsjs.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return sc.stream.CreateConsumer(ctx, natsjs.ConsumerConfig{
		FilterSubjects: sc.filters, DeliverPolicy: natsjs.DeliverByStartSequencePolicy, OptStartSeq: sc.next,
		AckPolicy: natsjs.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 5 * scanQuiet,
	})
}

// fetch gives fn one pull's events. Deliveries are counted: one that is missing was lost.
func (sc *scan) fetch(ctx context.Context, cons natsjs.Consumer, limit int, delivered uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, scanQuiet)
	defer cancel()
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
		if err := sc.give(m, meta.Sequence.Stream); err != nil || sc.next > sc.end {
			return delivered, err
		}
	}
	if delivered == before {
		return delivered, errGap
	}
	return delivered, nil
}

func (sc *scan) give(m natsjs.Msg, seq uint64) error {
	if seq > sc.end { // the one that the scan was to end with is no more
		sc.next = seq
		return nil
	}
	e, err := ParseEvent(m.Subject(), m.Headers(), m.Data())
	if err != nil {
		return fmt.Errorf("read event at %d: %w", seq, err)
	}
	e.Seq = seq
	sc.next = seq + 1
	return sc.fn(e)
}

// pullBytes bounds what a pull brings at once: room for several of the largest messages.
func pullBytes(js natsjs.JetStream) int { return max(8<<20, 3*int(js.Conn().MaxPayload())) }
