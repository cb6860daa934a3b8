package mqtest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"time"

	"kitestream/bridge/mq"
)

// closeCases are about ending.
func closeCases() cases {
	return cases{
		"close_ends_a_waiting_next":           closeWaiting,
		"close_ends_a_next_without_a_channel": closeAbsent,
		"close_twice":                         closeTwice,
		"closed_queue_refuses":                closedQueue,
		"close_leaves_no_goroutines":          closeLeaks,
	}
}

func closeWaiting(s *suite) {
	s.create()
	s.write(1, 100)
	r := s.open("")
	s.expect(r, 0, 1)
	s.closesWhileWaiting(r, r.Close)
}

func closeAbsent(s *suite) {
	r := s.open("")
	s.closesWhileWaiting(r, s.q.Close)
}

// closesWhileWaiting calls Next, then closes, and expects Next to say so, soon.
func (s *suite) closesWhileWaiting(r mq.Reader, closing func() error) {
	s.Helper()
	result := make(chan error, 1)
	go func() {
		_, err := r.Next(s.Context())
		result <- err
	}()
	pause(s.T, 200*time.Millisecond)
	if err := closing(); err != nil {
		s.Errorf("close: %v", err)
	}
	select {
	case err := <-result:
		if !errors.Is(err, mq.ErrClosed) {
			s.Errorf("next = %v, want that it is closed", err)
		}
	case <-time.After(5 * time.Second):
		s.Fatal("next still waits 5 s after close")
	}
}

func closeTwice(s *suite) {
	s.create()
	s.write(1, 100)
	r := s.open("")
	s.expect(r, 0, 1)
	for range 2 {
		if err := r.Close(); err != nil {
			s.Errorf("close: %v", err)
		}
	}
	if _, err := r.Next(s.Context()); !errors.Is(err, mq.ErrClosed) {
		s.Errorf("next = %v, want that it is closed", err)
	}
}

func closedQueue(s *suite) {
	s.create()
	s.write(3, 100)
	r := s.open("")
	s.expect(r, 0, 1)
	for range 2 {
		if err := s.q.Close(); err != nil {
			s.Errorf("close: %v", err)
		}
	}
	if _, err := r.Next(s.Context()); !errors.Is(err, mq.ErrClosed) {
		s.Errorf("next = %v, want that it is closed", err)
	}
	if _, err := s.q.Open(s.Context(), s.channel, ""); !errors.Is(err, mq.ErrClosed) {
		s.Errorf("open = %v, want that it is closed", err)
	}
	if _, err := s.q.Last(s.Context(), s.channel); !errors.Is(err, mq.ErrClosed) {
		s.Errorf("last = %v, want that it is closed", err)
	}
}

// closeLeaks uses readers in every state, closes them, and counts.
func closeLeaks(s *suite) {
	s.create()
	at := s.writeCut(200, 1000, 10)
	s.Trim(s.T, s.channel, at[10])
	once := s.open(at[10]) // what a client starts once is there from now on
	s.expect(once, 10, 20)
	if err := once.Close(); err != nil { // a reader may well start a goroutine for each request
		s.Fatal(err)
	}
	before := s.goroutines()

	q := s.Connect(s.T)
	var readers []mq.Reader
	for i, from := range []mq.Position{"", at[10], at[150], at[2], s.Ahead(s.T, s.channel, 1), at[20], at[30]} {
		channel := s.channel
		if i == 0 {
			channel = s.newChannel(s.T)
		}
		r, err := q.Open(s.Context(), channel, from)
		if err != nil {
			s.Fatal(err)
		}
		readers = append(readers, r)
		ctx, cancel := context.WithTimeout(s.Context(), 300*time.Millisecond)
		_, _ = r.Next(ctx) // some give a message, one a gap, some nothing
		cancel()
	}
	for _, r := range readers[:4] { // the others end with the queue
		if err := r.Close(); err != nil {
			s.Errorf("close reader: %v", err)
		}
	}
	if err := q.Close(); err != nil {
		s.Errorf("close queue: %v", err)
	}

	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); pause(s.T, 20*time.Millisecond) {
		if left = added(before, s.goroutines()); len(left) == 0 {
			return
		}
	}
	s.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
}

// goroutines are the stacks of those that are not the broker's, by the line that names the goroutine.
func (s *suite) goroutines() map[string]string {
	buf := make([]byte, 8<<20)
	all := map[string]string{}
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		name, _, _ := strings.Cut(stack, " [")
		if !slices.ContainsFunc(s.Foreign, func(part string) bool { return strings.Contains(stack, part) }) {
			all[name] = stack
		}
	}
	return all
}

func added(before, after map[string]string) []string {
	var left []string
	for name, stack := range after {
		if _, ok := before[name]; !ok {
			left = append(left, stack)
		}
	}
	return left
}
