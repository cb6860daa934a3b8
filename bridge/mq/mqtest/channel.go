package mqtest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"kitestream/bridge/mq"
)

// Connect makes a queue that logs to the test. It is closed at the end.
func Connect[C any, Q mq.Queue](t testing.TB, connect func(C, *slog.Logger) (Q, error), cfg C) Q {
	t.Helper()
	return connected(t, connect, cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

// ConnectLogging makes a queue whose log, from Info on, is returned. It is closed at the end.
func ConnectLogging[C any, Q mq.Queue](t testing.TB, connect func(C, *slog.Logger) (Q, error), cfg C) (Q, *Log) {
	t.Helper()
	log := &Log{}
	return connected(t, connect, cfg, log.Logger(slog.LevelInfo)), log
}

func connected[C any, Q mq.Queue](t testing.TB, connect func(C, *slog.Logger) (Q, error), cfg C, log *slog.Logger) Q {
	t.Helper()
	q, err := connect(cfg, log)
	Must(t, err)
	t.Cleanup(func() { Must(t, q.Close()) })
	return q
}

// Channel is a channel that is there and empty, for tests in which the way to the broker is the test's own to spoil, and
// for benchmarks.
type Channel struct {
	Queue  mq.Queue
	Name   string
	Append func(t testing.TB, channel string, msgs ...Message) []mq.Position // as Broker's
}

func (c Channel) write(t testing.TB, from, n, size int) {
	t.Helper()
	c.Append(t, c.Name, Numbered(from, n, size)...)
}

// Cuts has the connection cut that many times while n messages are read.
func (c Channel) Cuts(t *testing.T, n, times int, cut func()) {
	c.write(t, 0, n, 500)
	r := Open(t, c.Queue, c.Name, "")
	for i := 0; i < n; i += n / times {
		Expect(t, r, i, i+n/times)
		cut()
	}
	c.write(t, n, 1, 8)
	Expect(t, r, n, n+1)
}

// Silence is the pulled cable, or a broker that hangs: nothing arrives and nothing says so. The queue goes by the proxy.
func (c Channel) Silence(t *testing.T, p *Proxy) {
	r := Open(t, c.Queue, c.Name, "")
	c.write(t, 0, 10, 8)
	Expect(t, r, 0, 10)
	p.Freeze()
	c.write(t, 10, 10, 8)
	began := time.Now()
	Expect(t, r, 10, 20)
	t.Logf("recovered after %v", time.Since(began))
}

// ReadAhead counts what passes the proxy while nobody takes a message of the n that the channel has.
func (c Channel) ReadAhead(t *testing.T, p *Proxy, n, bound int) {
	before := p.Received()
	r := Open(t, c.Queue, c.Name, "")
	Expect(t, r, 0, 1)
	p.Settles()
	if got := p.Received() - before; got > bound {
		t.Errorf("%d bytes came ahead of the caller, bound %d", got, bound)
	}
	Expect(t, r, 1, n)
	Must(t, r.Close())
}

// Outage is a time in which no broker answers.
type Outage struct {
	Begin, End func()
	Lasts      time.Duration // for a reader that waits
}

// LoggedOnce expects a line in the queue's log when an outage begins and one when it is over, however long it lasts.
func (c Channel) LoggedOnce(t *testing.T, log *Log, o Outage) {
	r := Open(t, c.Queue, c.Name, "")
	c.write(t, 0, 1, 8)
	Expect(t, r, 0, 1)
	if lines := log.String(); lines != "" {
		t.Errorf("logged without an outage:\n%s", lines)
	}
	o.Begin()
	ctx, cancel := context.WithTimeout(t.Context(), o.Lasts)
	defer cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("next = %v, want that time is up", err)
	}
	if _, err := c.Queue.Last(t.Context(), c.Name); err == nil {
		t.Error("last of a channel is no error although no broker answers")
	}
	o.End()
	c.write(t, 1, 1, 8)
	Expect(t, r, 1, 2)
	if log.Lines() != 2 {
		t.Errorf("%d lines for one outage, want 2:\n%s", log.Lines(), log)
	}
}
