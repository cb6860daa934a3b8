package mqtest

import (
	"errors"
	"fmt"

	"kitestream/bridge/mq"
)

// positionCases are about positions and the end of a channel.
func positionCases() cases {
	return cases{
		"position_from_milvus":      fromMilvus,
		"position_that_is_none":     noPosition,
		"compare_orders_positions":  compare,
		"last_of_absent_or_empty":   lastNone,
		"last_is_the_newest":        lastNewest,
		"last_of_a_busy_channel":    lastBusy,
		"last_of_a_trimmed_channel": lastTrimmed,
		"last_can_be_resumed_from":  lastResume,
	}
}

func fromMilvus(s *suite) {
	s.create()
	at := s.write(10, 100)
	read := s.expect(s.open(""), 0, 10)
	for _, i := range []int{0, 4, 9} {
		for _, p := range []mq.Position{at[i], read[i]} {
			got, err := s.q.FromMilvus(s.Milvus(s.T, p))
			if err != nil {
				s.Fatalf("position %q from Milvus: %v", p, err)
			}
			s.same("position from Milvus", got, p)
			s.expect(s.open(got), i, 10)
		}
	}
}

func noPosition(s *suite) {
	s.create()
	p := s.write(1, 100)[0]
	for _, bad := range s.NoPositions {
		if r, err := s.q.Open(s.Context(), s.channel, bad); !errors.Is(err, mq.ErrPosition) {
			s.Errorf("open at %q = %v, %v; want an error that it is no position", bad, r, err)
		}
		for _, pair := range [][2]mq.Position{{bad, p}, {p, bad}} {
			if _, err := s.q.Compare(pair[0], pair[1]); !errors.Is(err, mq.ErrPosition) {
				s.Errorf("compare %q with %q = %v, want an error that it is no position", pair[0], pair[1], err)
			}
		}
	}
	for _, bad := range s.NoBytes {
		if p, err := s.q.FromMilvus(bad); !errors.Is(err, mq.ErrPosition) {
			s.Errorf("position from bytes %x = %q, %v; want an error that it is no position", bad, p, err)
		}
	}
}

func compare(s *suite) {
	s.create()
	all := s.write(120, 10)
	for i, a := range all {
		for j, b := range all {
			c, err := s.q.Compare(a, b)
			if err != nil || c < 0 != (i < j) || c > 0 != (i > j) {
				s.Fatalf("compare %q (%d) with %q (%d) = %d, %v", a, i, b, j, c, err)
			}
		}
	}
}

func (s *suite) last() mq.Position {
	s.Helper()
	p, err := s.q.Last(s.Context(), s.channel)
	if err != nil {
		s.Fatalf("last: %v", err)
	}
	return p
}

func lastNone(s *suite) {
	if p := s.last(); p != "" {
		s.Errorf("last of a channel that is not there = %q", p)
	}
	s.create()
	if p := s.last(); p != "" {
		s.Errorf("last of an empty channel = %q", p)
	}
}

func lastNewest(s *suite) {
	s.create()
	read := s.open("")
	for i := range 5 {
		at := s.write(1, 100)[0]
		s.same("last", s.last(), at)
		s.same("last", s.last(), s.expect(read, i, i+1)[0])
	}
}

func lastBusy(s *suite) {
	s.create()
	written := make(chan mq.Position, 1000)
	write := func() {
		defer close(written)
		for range 200 {
			written <- s.write(5, 100)[4]
		}
	}
	s.atOnce(write, func() error {
		for at := range written {
			last, err := s.q.Last(s.Context(), s.channel)
			if err != nil {
				return err
			}
			c, err := s.q.Compare(last, at)
			if err != nil {
				return err
			}
			if c < 0 {
				return fmt.Errorf("last = %q, before %q, which was written earlier", last, at)
			}
		}
		return nil
	})
}

func lastTrimmed(s *suite) {
	s.create()
	at := s.writeCut(20, 100, 19)
	s.Trim(s.T, s.channel, at[19])
	s.same("last", s.last(), at[19])
}

func lastResume(s *suite) {
	s.create()
	s.write(20, 100)
	r := s.open(s.last())
	s.expect(r, 19, 20)
	s.write(1, 100)
	s.expect(r, 20, 21)
}
