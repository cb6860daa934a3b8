package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// headerRoom is what MaxBody leaves of the server's max payload for an event's headers.
	headerRoom = 4 << 10
	// parkRoom is left free in every event, so that it still fits when parking adds its own headers, and for those that
	// the publisher adds.
	parkRoom = 4 << 10
)

// PublisherConfig says who publishes to which stream. Task, Holder and Epoch must be set, for the rest zero is the default.
type PublisherConfig struct {
	Task   string
	Holder string // who publishes, for people who read the stream
	Epoch  uint64 // of the task's lease; a stream that was taken over in a later epoch is refused

	InFlight      int               // events queued and on the way without an answer; default 512. One is slow, thousands help nobody.
	InFlightBytes int               // bytes of events queued and on the way, one event may go over it; default 8 MiB
	AckWait       time.Duration     // without any answer for so long, the stream is read to see what it holds; default 5 s
	Log           *slog.Logger      // default none
	Metrics       *PublisherMetrics // default none
}

func (c PublisherConfig) withDefaults() (PublisherConfig, error) {
	var errs []error
	for _, f := range []struct{ name, value string }{{"Task", c.Task}, {"Holder", c.Holder}} {
		if f.value == "" {
			errs = append(errs, fmt.Errorf("publisher's %s is empty", f.name))
		}
	}
	if c.InFlight < 0 || c.InFlightBytes < 0 || c.AckWait < 0 {
		errs = append(errs, fmt.Errorf("publisher's InFlight (%d), InFlightBytes (%d) or AckWait (%v) is negative", c.InFlight, c.InFlightBytes, c.AckWait))
	}
	if c.InFlight == 0 {
		c.InFlight = 512
	}
	if c.InFlightBytes == 0 {
		c.InFlightBytes = 8 << 20
	}
	if c.AckWait == 0 {
		c.AckWait = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if c.Metrics == nil {
		c.Metrics, err = NewPublisherMetrics(prometheus.NewRegistry())
	}
	return c, errors.Join(append(errs, err)...)
}

// Publisher appends events to a task's stream, in the order of the Publish calls, each once. It is the stream's only
// writer from OpenPublisher on until another is opened; from then on it stores nothing more and ends with ErrFenced.
//
// Publish, Mark, Flush, MaxBody and Waiting may be called from any goroutine, before Run and while it runs.
type Publisher struct {
	cfg    PublisherConfig
	nc     *nats.Conn
	js     natsjs.JetStream
	stream taken
	inbox  string // answers come on <inbox>.<generation>.<expected sequence>

	ops     chan op
	waiting atomic.Pointer[waiting]
	done    chan struct{} // closed when Run has ended
	err     error         // why Run ended; set before done is closed

	pipe pipeline // Run's own
}

// op is what Publish and Mark hand to Run: an event, or a function to be called behind those before it.
type op struct {
	event *outgoing
	mark  func(lastSeq uint64)
}

type waiting struct {
	since time.Time
	why   error
}

// OpenPublisher takes the task's stream over: when it returns, all that earlier publishers have stored is there to be
// read, and they can store nothing more. ErrFenced if a holder with a higher epoch was here before, ErrStreamGone if
// there is no stream. It waits for a stream that is full or a server that is away, until ctx ends; ctx should be one
// that ends with the lease.
func OpenPublisher(ctx context.Context, js natsjs.JetStream, cfg PublisherConfig) (*Publisher, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	f := fence{js: js, task: cfg.Task, holder: cfg.Holder, epoch: cfg.Epoch, log: cfg.Log}
	t, err := f.raise(ctx)
	if err != nil {
		return nil, fmt.Errorf("take over stream %s: %w", StreamName(cfg.Task), err)
	}
	p := &Publisher{
		cfg: cfg, nc: js.Conn(), js: js, stream: t, inbox: js.Conn().NewInbox(),
		ops: make(chan op), done: make(chan struct{}),
	}
	p.pipe = newPipeline(p, t.last)
	return p, nil
}

// Publish queues an event behind those before it and returns when there was room for it, which says nothing about
// whether it is stored: see Mark and Flush. The event's body must not be changed from then on. ErrTooLarge, with
// nothing queued, if the event does not fit the server's max payload. When Run has ended, Publish returns its error.
func (p *Publisher) Publish(ctx context.Context, e *Event) error {
	m := e.Msg(p.cfg.Task)
	size, err := headerSize(m.Header)
	if err != nil {
		return fmt.Errorf("publish event %q: %w", e.ID, err)
	}
	size += len(m.Data)
	if most := p.nc.MaxPayload() - parkRoom; int64(size) > most {
		return fmt.Errorf("publish event %q of %d bytes with headers, the server at most takes %d: %w", e.ID, size, most, ErrTooLarge)
	}
	m.Subject = writerSubject(p.cfg.Task, p.stream.writer, m.Subject)
	return p.hand(ctx, op{event: &outgoing{msg: m, id: e.ID, kind: e.Kind, size: size}})
}

// Mark has fn called when every event published before is acknowledged, with the sequence of the last of them. The
// functions are called one at a time, in the order of the Mark calls, by a goroutine of their own; one that does not
// return holds up the later ones and the end of Run. None is called when Run has ended.
func (p *Publisher) Mark(fn func(lastSeq uint64)) {
	select {
	case p.ops <- op{mark: fn}:
	case <-p.done:
	}
}

// Flush returns nil when every event published before is acknowledged and the marks set before have been called.
func (p *Publisher) Flush(ctx context.Context) error {
	flushed := make(chan struct{})
	if err := p.hand(ctx, op{mark: func(uint64) { close(flushed) }}); err != nil {
		return err
	}
	select {
	case <-flushed:
		return nil
	case <-p.done:
		return p.ended()
	case <-ctx.Done():
		return fmt.Errorf("wait for events to be acknowledged: %w", ctx.Err())
	}
}

// MaxBody is the size of the largest body that surely fits the server's max payload beside an event's headers.
func (p *Publisher) MaxBody() int { return max(0, int(p.nc.MaxPayload())-headerRoom-parkRoom) }

// Waiting says since when and why the stream is taking no events. The time is zero while all is well.
func (p *Publisher) Waiting() (since time.Time, why error) {
	if w := p.waiting.Load(); w != nil {
		return w.since, w.why
	}
	return time.Time{}, nil
}

func (p *Publisher) hand(ctx context.Context, o op) error {
	select {
	case p.ops <- o:
		return nil
	case <-p.done:
		return p.ended()
	case <-ctx.Done():
		return fmt.Errorf("wait for room: %w", ctx.Err())
	}
}

func (p *Publisher) ended() error { return fmt.Errorf("publisher has stopped: %w", p.err) }

// headerSize is the size of the headers on the wire. It refuses an event without id, and headers that a reader would not
// be given as they are: the client library trims blanks and replaces line ends.
func headerSize(h nats.Header) (int, error) {
	n := len("NATS/1.0\r\n\r\n")
	for k, v := range h {
		value := v[0]
		if value == "" && k == nats.MsgIdHdr {
			return 0, fmt.Errorf("it has no id: %w", ErrMalformed)
		}
		if strings.ContainsAny(value, "\r\n") || value != "" && (blank(value[0]) || blank(value[len(value)-1])) {
			return 0, fmt.Errorf("its header %s is %q, which no header can carry: %w", k, value, ErrMalformed)
		}
		n += len(k) + len(": \r\n") + len(value)
	}
	return n, nil
}

func blank(c byte) bool { return c == ' ' || c == '\t' }
