package mqtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kitestream/bridge/mq"
)

// callerCases are about callers that give up and come back.
func callerCases() cases {
	return cases{
		"next_cancelled_and_called_again":     cancelled,
		"next_cancelled_often_loses_nothing":  cancelledOften,
		"next_with_an_ended_context_returns":  cancelledBefore,
		"open_does_not_depend_on_its_context": openContext,
	}
}

// restartCases are about a broker that goes away and comes back.
func restartCases() cases {
	return cases{
		"restart_while_reading":              restartReading,
		"restart_while_waiting":              restartWaiting,
		"restart_while_absent":               restartAbsent,
		"restart_twice_with_a_slow_caller":   restartTwice,
		"restart_keeps_positions_and_bounds": restartKeeps,
	}
}

func cancelled(s *suite) {
	s.create()
	s.write(3, 100)
	r := s.open("")
	s.expect(r, 0, 3)
	Nothing(s.T, r)
	Nothing(s.T, r)
	s.write(2, 100)
	s.expect(r, 3, 5)
}

func cancelledOften(s *suite) {
	s.create()
	const n = 300
	r := s.open("")
	write := func() {
		for range n {
			s.write(1, 2000)
		}
	}
	s.atOnce(write, func() error {
		cut := 0
		for i := 0; i < n; {
			ctx, cancel := context.WithTimeout(s.Context(), time.Duration(1+cut%40)*time.Millisecond/4)
			m, err := r.Next(ctx)
			cancel()
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				cut++
				continue
			case err == nil:
				err = numbered(m, i)
				i++
			}
			if err != nil {
				return fmt.Errorf("after %d cuts: %w", cut, err)
			}
		}
		return nil
	})
	Nothing(s.T, r)
}

func cancelledBefore(s *suite) {
	s.create()
	s.write(2, 100)
	r := s.open("")
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		s.Errorf("next = %v, want that the context is cancelled", err)
	}
	s.expect(r, 0, 2)
}

func openContext(s *suite) {
	s.create()
	s.write(2, 100)
	ctx, cancel := context.WithCancel(s.Context())
	r, err := s.q.Open(ctx, s.channel, "")
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	cancel()
	s.expect(r, 0, 2)
}

func restartReading(s *suite) {
	s.create()
	s.write(5000, 1000)
	r := s.open("")
	s.expect(r, 0, 2500)
	s.Restart(s.T)
	s.write(100, 1000)
	s.expect(r, 2500, 5100)
	Nothing(s.T, r)
}

// restartWaiting has a caller blocked in Next all through the restart.
func restartWaiting(s *suite) {
	s.create()
	s.write(10, 100)
	r := s.open("")
	s.expect(r, 0, 10)
	got := make(chan mq.Message, 1)
	fail := make(chan error, 1)
	ctx, cancel := context.WithTimeout(s.Context(), Patience)
	defer cancel()
	go func() {
		m, err := r.Next(ctx)
		if err != nil {
			fail <- err
			return
		}
		got <- m
	}()
	s.Restart(s.T)
	s.write(5, 100)
	select {
	case m := <-got:
		s.isNumber(m, 10)
	case err := <-fail:
		s.Fatalf("next over a restart: %v", err)
	}
	s.expect(r, 11, 15)
	Nothing(s.T, r)
}

func restartAbsent(s *suite) {
	r := s.open("")
	Nothing(s.T, r)
	s.Restart(s.T)
	s.create()
	s.write(3, 100)
	s.expect(r, 0, 3)
}

// restartTwice leaves messages in the reader's hands over two restarts.
func restartTwice(s *suite) {
	s.create()
	n := 2 * s.Prefetch / (16 << 10)
	s.write(n, 16<<10)
	r := s.open("")
	s.expect(r, 0, 3)
	s.Restart(s.T)
	s.expect(r, 3, 5)
	s.Restart(s.T)
	s.expect(r, 5, n)
	Nothing(s.T, r)
}

func restartKeeps(s *suite) {
	s.create()
	at := s.writeCut(30, 100, 10)
	read := s.expect(s.open(""), 0, 30)
	s.Trim(s.T, s.channel, at[10])
	s.Restart(s.T)
	s.expect(s.open(read[10]), 10, 30)
	s.gap(s.open(read[9]), 9)
	last, err := s.q.Last(s.Context(), s.channel)
	for deadline := time.Now().Add(Patience); err != nil && time.Now().Before(deadline); { // it may just be reconnecting
		pause(s.T, 50*time.Millisecond)
		last, err = s.q.Last(s.Context(), s.channel)
	}
	if err != nil {
		s.Fatal(err)
	}
	s.same("last", last, read[29])
}
