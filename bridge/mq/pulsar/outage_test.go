//go:build servers

package pulsar_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
	"kitestream/bridge/mq/pulsar"
	"kitestream/test/servers"
)

// numbered are n messages that carry their number, from that on.
func numbered(from, n, size int) []mqtest.Message {
	msgs := make([]mqtest.Message, n)
	for i := range msgs {
		msgs[i].Payload = binary.LittleEndian.AppendUint64(make([]byte, 0, max(size, 8)), uint64(from+i))[:max(size, 8)]
	}
	return msgs
}

// expect reads the messages numbered from…to-1 and returns where they stand.
func expect(t testing.TB, r mq.Reader, from, to int) []mq.Position {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var at []mq.Position
	for i := from; i < to; i++ {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("read message %d: %v", i, err)
		}
		if got := binary.LittleEndian.Uint64(m.Payload); got != uint64(i) {
			t.Fatalf("message at %s has number %d, want %d", m.Position, got, i)
		}
		at = append(at, m.Position)
	}
	return at
}

// expectGap reads until the gap, which must come at the message with that number.
func expectGap(t testing.TB, r mq.Reader, from, at int) *mq.GapError {
	t.Helper()
	expect(t, r, from, at)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var gap *mq.GapError
	if m, err := r.Next(ctx); !errors.As(err, &gap) {
		t.Fatalf("next = message at %q, %v; want a gap", m.Position, err)
	}
	return gap
}

func open(t testing.TB, q mq.Queue, channel string, from mq.Position) mq.Reader {
	t.Helper()
	r, err := q.Open(t.Context(), channel, from)
	must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func testCut(t *testing.T, p *servers.Pulsar, w *writer) {
	const n = 10_000
	w.append(t, "cut", numbered(0, n, 500)...)
	px := newProxy(t, p.Proxy)
	r := open(t, connect(t, px.url()), "cut", "")
	for i := 0; i < n; i += n / 10 {
		expect(t, r, i, i+n/10)
		px.cut()
	}
	w.append(t, "cut", numbered(n, 1, 8)...)
	expect(t, r, n, n+1)
}

// testSilence is the pulled cable: nothing arrives and nothing says so.
func testSilence(t *testing.T, p *servers.Pulsar, w *writer) {
	w.append(t, "silence", numbered(0, 10, 8)...)
	px := newProxy(t, p.Proxy)
	r := open(t, connect(t, px.url()), "silence", "")
	expect(t, r, 0, 10)
	px.freeze()
	w.append(t, "silence", numbered(10, 10, 8)...)
	began := time.Now()
	expect(t, r, 10, 20)
	t.Logf("recovered after %v", time.Since(began))
}

// testReadAhead counts what passes the wire while nobody takes a message.
func testReadAhead(t *testing.T, p *servers.Pulsar, w *writer) {
	px := newProxy(t, p.Proxy)
	for _, size := range []int{8, 1000, 100_000, 700_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			channel := fmt.Sprintf("ahead-%d", size)
			n := min(5000, 24<<20/size)
			w.append(t, channel, numbered(0, n, size)...)
			defer w.remove(t, channel)
			cfg := pulsar.DefaultConfig()
			cfg.URL, cfg.PrefetchBytes, cfg.PrefetchMessages = px.url(), 1<<20, 1000
			r := open(t, connectWith(t, cfg), channel, "")
			before := px.received()
			expect(t, r, 0, 1)
			px.settles(t)
			// Until the size of messages is known, eight of them may be on their way besides.
			bound := min(cfg.PrefetchBytes+10*size, cfg.PrefetchMessages*(size+200)) + 64<<10
			if got := px.received() - before; got > bound {
				t.Errorf("%d bytes came ahead of the caller, bound %d", got, bound)
			}
			expect(t, r, 1, n)
		})
	}
}

// testOutageLog: a line when an outage begins and one when it is over, however long it lasts.
func testOutageLog(t *testing.T, p *servers.Pulsar, w *writer) {
	px := newProxy(t, p.Proxy)
	w.append(t, "outage", numbered(0, 1, 8)...)
	var out lockedBuffer
	cfg := pulsar.DefaultConfig()
	cfg.URL = px.url()
	q, err := pulsar.Connect(cfg, slog.New(slog.NewTextHandler(&out, nil)))
	must(t, err)
	defer func() { must(t, q.Close()) }()
	r := open(t, q, "outage", "")
	expect(t, r, 0, 1)
	if lines := out.String(); lines != "" {
		t.Errorf("logged without an outage:\n%s", lines)
	}
	px.down()
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
	defer cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("next = %v, want that time is up", err)
	}
	if _, err := q.Last(t.Context(), "outage"); err == nil {
		t.Error("last is no error although there is no connection")
	}
	px.up(t)
	w.append(t, "outage", numbered(1, 1, 8)...)
	expect(t, r, 1, 2)
	if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), "connection refused") {
		t.Errorf("%d lines for one outage, want 2 and the reason:\n%s", n, out.String())
	}
}

// lockedBuffer takes the log of several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
