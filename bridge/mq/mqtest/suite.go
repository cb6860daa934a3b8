package mqtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"kitestream/bridge/mq"
)

// suite is one case under way: a queue, and a channel of its own that is created by the first append.
type suite struct {
	*testing.T
	Broker
	q       mq.Queue
	channel string
	written int // messages appended to channel
}

func newSuite(t *testing.T, b Broker) *suite {
	s := &suite{T: t, Broker: b, q: b.Connect(t), channel: b.Channel(t)}
	t.Cleanup(func() {
		if err := s.q.Close(); err != nil {
			t.Errorf("close queue: %v", err)
		}
	})
	return s
}

// another is the same case on a second channel of the same queue.
func (s *suite) another() *suite {
	return &suite{T: s.T, Broker: s.Broker, q: s.q, channel: s.Channel(s.T)}
}

// create makes the case's channel.
func (s *suite) create() { s.Create(s.T, s.channel) }

// write appends the next n numbered messages of that size and returns where they stand.
func (s *suite) write(n, size int) []mq.Position {
	s.Helper()
	var all []mq.Position
	for n > 0 { // in portions, so that hundreds of megabytes are never held at once
		portion := min(n, max(1, 4<<20/size))
		msgs := make([]Message, portion)
		for i := range msgs {
			msgs[i].Payload = payload(s.written, size)
			s.written++
		}
		all = append(all, s.Append(s.T, s.channel, msgs...)...)
		n -= portion
	}
	return all
}

// writeCut is write for a case that is going to trim to the message with that index.
func (s *suite) writeCut(n, size, index int) []mq.Position {
	s.Helper()
	all := s.write(index, size)
	if s.Cut != nil {
		s.Cut(s.T, s.channel)
	}
	return append(all, s.write(n-index, size)...)
}

// payload is the numbered message: its number, then bytes that follow from it.
func payload(number, size int) []byte {
	b := bytes.Repeat([]byte{byte(number), byte(number >> 8), 0xA5}, size/3+8)[:max(size, 8)]
	binary.LittleEndian.PutUint64(b, uint64(number))
	return b
}

// open opens the case's channel. The reader is closed at the end.
func (s *suite) open(from mq.Position) mq.Reader {
	s.Helper()
	return s.openChannel(s.channel, from)
}

func (s *suite) openChannel(channel string, from mq.Position) mq.Reader {
	s.Helper()
	r, err := s.q.Open(s.Context(), channel, from)
	if err != nil {
		s.Fatalf("open %s at %q: %v", channel, from, err)
	}
	s.Cleanup(func() {
		if err := r.Close(); err != nil {
			s.Errorf("close reader: %v", err)
		}
	})
	return r
}

// next returns the next message, which must come.
func (s *suite) next(r mq.Reader) mq.Message {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	m, err := r.Next(ctx)
	if err != nil {
		s.Fatalf("next: %v", err)
	}
	return m
}

// expect reads the messages numbered from…to-1 and returns where they stand.
func (s *suite) expect(r mq.Reader, from, to int) []mq.Position {
	s.Helper()
	all, err := s.read(r, from, to)
	if err != nil {
		s.Fatal(err)
	}
	return all
}

// read is expect for any goroutine.
func (s *suite) read(r mq.Reader, from, to int) ([]mq.Position, error) {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	var all []mq.Position
	for i := from; i < to; i++ {
		m, err := r.Next(ctx)
		if err != nil {
			return nil, fmt.Errorf("read message %d: %w", i, err)
		}
		if err := numbered(m, i); err != nil {
			return nil, err
		}
		all = append(all, m.Position)
	}
	return all, nil
}

// numbered returns an error unless m is the message of that number.
func numbered(m mq.Message, i int) error {
	if len(m.Payload) < 8 {
		return fmt.Errorf("message at %s has %d bytes, want message %d", m.Position, len(m.Payload), i)
	}
	if got := binary.LittleEndian.Uint64(m.Payload); got != uint64(i) {
		return fmt.Errorf("message at %s has number %d, want %d", m.Position, got, i)
	}
	if !bytes.Equal(m.Payload, payload(i, len(m.Payload))) {
		return fmt.Errorf("message %d at %s has other bytes than were written", i, m.Position)
	}
	return nil
}

// isNumber fails the test unless m is the message of that number.
func (s *suite) isNumber(m mq.Message, i int) {
	s.Helper()
	if err := numbered(m, i); err != nil {
		s.Fatal(err)
	}
}

// atOnce runs work on goroutines of their own and also on this one, and fails the test with what went wrong.
func (s *suite) atOnce(here func(), there ...func() error) {
	s.Helper()
	errs := make([]error, len(there))
	var wg sync.WaitGroup
	for i, work := range there {
		wg.Go(func() { errs[i] = work() })
	}
	here()
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		s.Fatal(err)
	}
}

// nothing fails the test when a message or an error comes within a moment.
func (s *suite) nothing(r mq.Reader) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 300*time.Millisecond)
	defer cancel()
	if m, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		s.Fatalf("next = message at %q, %v; want none yet", m.Position, err)
	}
}

// hole is where a reader came to a gap.
type hole struct {
	gap   *mq.GapError
	first int // the number of the first message that was not given
}

// gap reads until the gap that must come and checks that nothing was left out before it.
func (s *suite) gap(r mq.Reader, from int) hole {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	for i := from; ; i++ {
		m, err := r.Next(ctx)
		if err == nil {
			s.isNumber(m, i)
			continue
		}
		var g *mq.GapError
		if !errors.As(err, &g) {
			s.Fatalf("next = %v, want a gap", err)
		}
		if g.Channel != s.channel {
			s.Errorf("gap names channel %q, want %q", g.Channel, s.channel)
		}
		if _, again := r.Next(ctx); !errors.Is(again, err) {
			s.Errorf("next after the gap = %v, want the same gap", again)
		}
		return hole{g, i}
	}
}

// same fails the test unless both positions are the same one.
func (s *suite) same(what string, got, want mq.Position) {
	s.Helper()
	if c, err := s.q.Compare(got, want); err != nil || c != 0 {
		s.Errorf("%s = %q, want %q (compare: %d, %v)", what, got, want, c, err)
	}
}
