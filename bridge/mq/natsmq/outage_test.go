package natsmq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	w.append(t, channel, mqtest.Numbered(from, n, size)...)
	return from + n
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
	mqtest.Channel{Queue: q, Name: "channel", Append: w.append}.Cuts(t, 20_000, 10, s.Cut)
}

func TestConsumerIsDeletedByAnotherHand(t *testing.T) {
	_, w, q := setUp(t)
	w.number(t, "channel", 0, 20_000, 500)
	r := mqtest.Open(t, q, "channel", "")
	for i := 0; i < 20_000; i += 5000 {
		mqtest.Expect(t, r, i, i+5000)
		if n := w.deleteConsumers(t, "channel"); n != 1 {
			t.Errorf("%d consumers on the stream, want 1", n)
		}
	}
	next := make(chan error, 1)
	go func() { // waits for the next message when its consumer goes
		_, err := r.Next(t.Context())
		next <- err
	}()
	mqtest.Eventually(t, "the reader has a consumer", func() bool { return len(w.consumers(t, "channel")) == 1 })
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
		r := mqtest.Open(t, q, "channel", from)
		start := 0
		if from != "" {
			start = int(sequence(t, from)) - 1
		}
		mqtest.Expect(t, r, start, 50)
		var gap *mq.GapError
		if _, err := r.Next(t.Context()); !errors.As(err, &gap) {
			t.Fatalf("from %q: next = %v, want a gap", from, err)
		}
		if sequence(t, gap.Wanted) != 51 || sequence(t, gap.Found) != 53 {
			t.Errorf("from %q: gap from %s to %s, want 51 to 53", from, gap.Wanted, gap.Found)
		}
	}
	mqtest.Expect(t, mqtest.Open(t, q, "channel", "53"), 52, 100)
}

func TestCloseLeavesNothingInTheServer(t *testing.T) {
	_, w, q := setUp(t)
	w.number(t, "channel", 0, 100, 8)
	for range 3 {
		r := mqtest.Open(t, q, "channel", "")
		mqtest.Expect(t, r, 0, 10)
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
	r := mqtest.Open(t, q, "channel", "")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("next = %v, want that time is up", err)
	}
	if _, err := q.Last(ctx, "channel"); err == nil {
		t.Error("last of a channel on a server that is down is no error")
	}
	s.Start()
	mqtest.Expect(t, r, 0, 10)
	mqtest.Eventually(t, "last answers again", func() bool {
		p, err := q.Last(t.Context(), "channel")
		return err == nil && sequence(t, p) == 10
	})
}

func newProxy(t *testing.T, s *jetstreamtest.Server) *mqtest.Proxy {
	t.Helper()
	return mqtest.NewProxy(t, "127.0.0.1:0", strings.TrimPrefix(s.URL(), "nats://"))
}

func TestNetworkGoesSilent(t *testing.T) {
	t.Parallel()
	s, w, _ := setUp(t)
	p := newProxy(t, s)
	mqtest.Channel{Queue: connect(t, "nats://"+p.Addr), Name: "channel", Append: w.append}.Silence(t, p)
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
			p := newProxy(t, s)
			cfg.URL = "nats://" + p.Addr
			// Besides its 150 bytes of names, which count, a message has some 50 of protocol, which do not.
			bound := min(cfg.PrefetchBytes+size, cfg.PrefetchMessages*(size+150)) + cfg.PrefetchMessages*50 + 16<<10
			mqtest.Channel{Queue: mqtest.Connect(t, natsmq.Connect, cfg), Name: "channel"}.ReadAhead(t, p, backlog, bound)
		})
	}
}

func TestOutageIsLoggedOnce(t *testing.T) {
	s, w, _ := setUp(t)
	q, out := mqtest.ConnectLogging(t, natsmq.Connect, config(s.URL()))
	mqtest.Channel{Queue: q, Name: "channel", Append: w.append}.LoggedOnce(t, out, mqtest.Outage{
		Begin: s.Stop, End: s.Start, Lasts: 4 * time.Second,
	})
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
