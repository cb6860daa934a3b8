package natsmq_test

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
	"kitestream/bridge/mq/natsmq"
	"kitestream/jetstream/jetstreamtest"
)

// number appends n messages that carry their number and returns the number after the last.
func (w *writer) number(t testing.TB, channel string, from, n, size int) int {
	t.Helper()
	msgs := make([]mqtest.Message, n)
	for i := range msgs {
		msgs[i].Payload = binary.LittleEndian.AppendUint64(make([]byte, 0, size), uint64(from+i))[:max(size, 8)]
	}
	w.append(t, channel, msgs...)
	return from + n
}

// expect reads the messages numbered from…to-1.
func expect(t testing.TB, r mq.Reader, from, to int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := from; i < to; i++ {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("read message %d: %v", i, err)
		}
		if got := binary.LittleEndian.Uint64(m.Payload); got != uint64(i) {
			t.Fatalf("message at %s has number %d, want %d", m.Position, got, i)
		}
	}
}

func open(t testing.TB, q mq.Queue, from mq.Position) mq.Reader {
	t.Helper()
	r, err := q.Open(t.Context(), "channel", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// setUp is a server with one channel, and a queue on it.
func setUp(t *testing.T) (*jetstreamtest.Server, *writer, *natsmq.Queue) {
	s := jetstreamtest.Run(t)
	w := newWriter(t, s.URL())
	w.create(t, "channel")
	return s, w, connect(t, s.URL())
}

func TestConnectionIsCutAgainAndAgain(t *testing.T) {
	s, w, q := setUp(t)
	const n = 20_000
	w.number(t, "channel", 0, n, 500)
	r := open(t, q, "")
	for i := 0; i < n; i += n / 10 {
		expect(t, r, i, i+n/10)
		s.Cut()
	}
	w.number(t, "channel", n, 1, 8)
	expect(t, r, n, n+1)
}

func TestConsumerIsDeletedByAnotherHand(t *testing.T) {
	_, w, q := setUp(t)
	w.number(t, "channel", 0, 20_000, 500)
	r := open(t, q, "")
	for i := 0; i < 20_000; i += 5000 {
		expect(t, r, i, i+5000)
		if n := w.deleteConsumers(t, "channel"); n != 1 {
			t.Errorf("%d consumers on the stream, want 1", n)
		}
	}
	next := make(chan error, 1)
	go func() { // waits for the next message when its consumer goes
		_, err := r.Next(t.Context())
		next <- err
	}()
	eventually(t, "the reader has a consumer", func() bool { return len(w.consumers(t, "channel")) == 1 })
	w.deleteConsumers(t, "channel")
	w.number(t, "channel", 20_000, 1, 8)
	if err := <-next; err != nil {
		t.Fatal(err)
	}
}

func TestMessageDeletedFromTheMiddleIsAGap(t *testing.T) {
	_, w, q := setUp(t)
	w.number(t, "channel", 0, 100, 8)
	s, err := w.js.Stream(t.Context(), "channel")
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{51, 52} {
		if err := s.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []mq.Position{"", "40", "50", "51"} {
		r := open(t, q, from)
		start := 0
		if from != "" {
			start = int(sequence(t, from)) - 1
		}
		expect(t, r, start, 50)
		var gap *mq.GapError
		if _, err := r.Next(t.Context()); !errors.As(err, &gap) {
			t.Fatalf("from %q: next = %v, want a gap", from, err)
		}
		if sequence(t, gap.Wanted) != 51 || sequence(t, gap.Found) != 53 {
			t.Errorf("from %q: gap from %s to %s, want 51 to 53", from, gap.Wanted, gap.Found)
		}
	}
	expect(t, open(t, q, "53"), 52, 100)
}

func TestCloseLeavesNothingInTheServer(t *testing.T) {
	_, w, q := setUp(t)
	w.number(t, "channel", 0, 100, 8)
	for range 3 {
		r := open(t, q, "")
		expect(t, r, 0, 10)
		if n := len(w.consumers(t, "channel")); n != 1 {
			t.Errorf("%d consumers while one reader reads", n)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if left := w.consumers(t, "channel"); len(left) != 0 {
			t.Errorf("consumers after close: %v", left)
		}
	}
}

func TestServerIsDownAtFirst(t *testing.T) {
	s, w, _ := setUp(t)
	w.number(t, "channel", 0, 10, 8)
	s.Stop()
	q := connect(t, s.URL())
	r := open(t, q, "")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("next = %v, want that time is up", err)
	}
	if _, err := q.Last(ctx, "channel"); err == nil {
		t.Error("last of a channel on a server that is down is no error")
	}
	s.Start()
	expect(t, r, 0, 10)
	eventually(t, "last answers again", func() bool {
		p, err := q.Last(t.Context(), "channel")
		return err == nil && sequence(t, p) == 10
	})
}

// TestNetworkGoesSilent is the pulled cable: nothing arrives and nothing says so.
func TestNetworkGoesSilent(t *testing.T) {
	t.Parallel()
	s := jetstreamtest.Run(t)
	w := newWriter(t, s.URL())
	w.create(t, "channel")
	p := newProxy(t, s.URL())
	r := open(t, connect(t, p.url()), "")
	n := w.number(t, "channel", 0, 10, 8)
	expect(t, r, 0, n)
	p.freeze()
	w.number(t, "channel", n, 10, 8)
	began := time.Now()
	expect(t, r, n, n+10)
	t.Logf("recovered after %v", time.Since(began))
}

// TestReadAheadIsBounded counts what passes the wire while nobody takes a message.
func TestReadAheadIsBounded(t *testing.T) {
	s := jetstreamtest.Run(t)
	w := newWriter(t, s.URL())
	for _, size := range []int{8, 1000, 100_000, 700_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w.create(t, "channel")
			defer w.remove(t, "channel")
			cfg := natsmq.DefaultConfig()
			cfg.PrefetchBytes, cfg.PrefetchMessages = 1<<20, 1000
			backlog := w.number(t, "channel", 0, min(3000, 8<<20/size), size)
			p := newProxy(t, s.URL())
			cfg.URL = p.url()
			r := open(t, connectWith(t, cfg), "")
			expect(t, r, 0, 1)
			p.settles(t)
			// Besides its 150 bytes of names, which count, a message has some 50 of protocol, which do not.
			bound := min(cfg.PrefetchBytes+size, cfg.PrefetchMessages*(size+150)) + cfg.PrefetchMessages*50 + 16<<10
			if got := p.received(); got > bound {
				t.Errorf("%d bytes came ahead of the caller, bound %d", got, bound)
			}
			expect(t, r, 1, backlog)
		})
	}
}

// TestOutageIsLoggedOnce: a line when it begins and one when it is over, however long it lasts.
func TestOutageIsLoggedOnce(t *testing.T) {
	s := jetstreamtest.Run(t)
	w := newWriter(t, s.URL())
	w.create(t, "channel")
	var out lockedBuffer
	cfg := natsmq.DefaultConfig()
	cfg.URL = s.URL()
	q, err := natsmq.Connect(cfg, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	r := open(t, q, "")
	w.number(t, "channel", 0, 1, 8)
	expect(t, r, 0, 1)
	if lines := out.String(); lines != "" {
		t.Errorf("logged without an outage:\n%s", lines)
	}
	s.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("next = %v, want that time is up", err)
	}
	s.Start()
	w.number(t, "channel", 1, 1, 8)
	expect(t, r, 1, 2)
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines for one outage, want 2:\n%s", n, out.String())
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

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (w *writer) consumers(t testing.TB, channel string) []string {
	t.Helper()
	s, err := w.js.Stream(t.Context(), channel)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	list := s.ConsumerNames(t.Context())
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

func (w *writer) deleteConsumers(t testing.TB, channel string) int {
	t.Helper()
	names := w.consumers(t, channel)
	for _, name := range names {
		if err := w.js.DeleteConsumer(t.Context(), channel, name); err != nil {
			t.Fatal(err)
		}
	}
	return len(names)
}
