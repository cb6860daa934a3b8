package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// scanQuiet is how long a scan waits for the next event before it looks whether there still is one to wait for.
const scanQuiet = 5 * time.Second

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
	sc := scan{stream: s, filters: filters, next: max(from, 1), fn: fn}
	if sc.end, err = sc.last(ctx); err != nil || sc.end < sc.next {
		return err
	}
	return sc.run(ctx, pullBytes(js))
}

type scan struct {
	stream  natsjs.Stream
	filters []string
	next    uint64 // everything below has been given to fn
	end     uint64 // sequence of the event that the scan ends with
	fn      func(*Event) error
}

// last is the sequence of the newest event of all filters, 0 if there is none. Asked of the leader, so that the scan
// knows its end even if the replica that serves the consumer lags behind.
func (sc *scan) last(ctx context.Context) (uint64, error) {
	var end uint64
	for _, f := range sc.filters {
		m, err := sc.stream.GetLastMsgForSubject(ctx, f)
		if errors.Is(err, natsjs.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("find last event of %s: %w", f, err)
		}
		end = max(end, m.Sequence)
	}
	return end, nil
}

func (sc *scan) run(ctx context.Context, limit natsjs.PullMaxBytes) error {
	cons, err := sc.stream.OrderedConsumer(ctx, natsjs.OrderedConsumerConfig{
		FilterSubjects: sc.filters, DeliverPolicy: natsjs.DeliverByStartSequencePolicy, OptStartSeq: sc.next,
	})
	if err != nil {
		return fmt.Errorf("read stream: %w", err)
	}
	msgs, err := cons.Messages(limit)
	if err != nil {
		return fmt.Errorf("read stream: %w", err)
	}
	defer msgs.Stop()
	defer context.AfterFunc(ctx, msgs.Stop)() // a consumer that looks for its lost server does not look at ctx
	for sc.next <= sc.end {
		if err := sc.step(ctx, msgs); err != nil {
			return err
		}
	}
	return nil
}

// step gives fn one event. When none comes for a while, what the scan was to end with may have been deleted.
func (sc *scan) step(ctx context.Context, msgs natsjs.MessagesContext) error {
	quiet, cancel := context.WithTimeout(ctx, scanQuiet)
	defer cancel()
	m, err := msgs.Next(natsjs.NextContext(quiet))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		end, err := sc.last(ctx)
		sc.end = min(end, sc.end)
		return err
	case err != nil:
		return fmt.Errorf("read stream from %d: %w", sc.next, err)
	}
	return sc.give(m)
}

func (sc *scan) give(m natsjs.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return fmt.Errorf("read stream from %d: %w", sc.next, err)
	}
	if meta.Sequence.Stream > sc.end { // the one that the scan was to end with is no more
		sc.next = meta.Sequence.Stream
		return nil
	}
	e, err := ParseEvent(m.Subject(), m.Headers(), m.Data())
	if err != nil {
		return fmt.Errorf("read event at %d: %w", meta.Sequence.Stream, err)
	}
	e.Seq = meta.Sequence.Stream
	sc.next = e.Seq + 1
	return sc.fn(e)
}

// pullBytes bounds what a pull consumer's client holds ready: room for several of the largest messages.
func pullBytes(js natsjs.JetStream) natsjs.PullMaxBytes {
	return natsjs.PullMaxBytes(max(8<<20, 3*js.Conn().MaxPayload()))
}
