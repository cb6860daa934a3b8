package mqtest

import (
	"errors"
	"sync"
	"testing"

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
	s := &suite{T: t, Broker: b, q: b.Connect(t), channel: b.newChannel(t)}
	t.Cleanup(func() {
		if err := s.q.Close(); err != nil {
			t.Errorf("close queue: %v", err)
		}
	})
	return s
}

// another is the same case on a second channel of the same queue.
func (s *suite) another() *suite {
	return &suite{T: s.T, Broker: s.Broker, q: s.q, channel: s.newChannel(s.T)}
}

// create makes the case's channel.
func (s *suite) create() { s.Create(s.T, s.channel) }

// write appends the next n numbered messages of that size and returns where they stand.
func (s *suite) write(n, size int) []mq.Position {
	s.Helper()
	var all []mq.Position
	for n > 0 { // in portions, so that hundreds of megabytes are never held at once
		portion := min(n, max(1, 4<<20/size))
		all = append(all, s.Append(s.T, s.channel, Numbered(s.written, portion, size)...)...)
		s.written += portion
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

// open opens the case's channel. The reader is closed at the end.
func (s *suite) open(from mq.Position) mq.Reader {
	s.Helper()
	return Open(s.T, s.q, s.channel, from)
}

// expect reads the messages numbered from…to-1 and returns where they stand.
func (s *suite) expect(r mq.Reader, from, to int) []mq.Position {
	s.Helper()
	return Expect(s.T, r, from, to)
}

// read is expect for any goroutine.
func (s *suite) read(r mq.Reader, from, to int) ([]mq.Position, error) {
	return read(s.Context(), r, from, to)
}

// isNumber fails the test unless m is the message of that number.
func (s *suite) isNumber(m mq.Message, i int) {
	s.Helper()
	Must(s.T, numbered(m, i))
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

// hole is where a reader came to a gap.
type hole struct {
	gap   *mq.GapError
	first int // the number of the first message that was not given
}

// gap reads until the gap that must come and checks that nothing was left out before it.
func (s *suite) gap(r mq.Reader, from int) hole {
	s.Helper()
	first, g := UntilGap(s.T, r, from)
	if g.Channel != s.channel {
		s.Errorf("gap names channel %q, want %q", g.Channel, s.channel)
	}
	return hole{g, first}
}

// same fails the test unless both positions are the same one.
func (s *suite) same(what string, got, want mq.Position) {
	s.Helper()
	if c, err := s.q.Compare(got, want); err != nil || c != 0 {
		s.Errorf("%s = %q, want %q (compare: %d, %v)", what, got, want, c, err)
	}
}
