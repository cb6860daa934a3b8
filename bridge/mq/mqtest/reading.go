package mqtest

import (
	"fmt"
	"maps"
	"time"

	"kitestream/bridge/mq"
)

// readingCases are about a broker that is well.
func readingCases() cases {
	return cases{
		"from_the_oldest":                      fromOldest,
		"resume_is_inclusive":                  resumeInclusive,
		"position_is_the_same_each_time":       samePosition,
		"order_while_being_written":            order,
		"payload_and_properties_as_written":    properties,
		"position_of_the_next_message_waits":   nextOne,
		"absent_channel_is_waited_for":         absentChannel,
		"empty_channel_is_waited_for":          emptyChannel,
		"trimmed_channel_from_its_oldest":      trimmedOldest,
		"trimmed_up_to_the_position_is_no_gap": trimmedExactly,
		"two_readers_of_one_channel":           twoReaders,
		"two_channels_at_once":                 twoChannels,
	}
}

func fromOldest(s *suite) {
	s.create()
	s.write(50, 100)
	r := s.open("")
	s.expect(r, 0, 50)
	Nothing(s.T, r)
	s.write(1, 100)
	s.expect(r, 50, 51)
}

func resumeInclusive(s *suite) {
	s.create()
	appended := s.write(40, 100)
	read := s.expect(s.open(""), 0, 40)
	for _, i := range []int{0, 1, 17, 39} {
		s.same("position read", read[i], appended[i])
		for _, from := range []mq.Position{appended[i], read[i]} {
			s.expect(s.open(from), i, 40)
		}
	}
}

func samePosition(s *suite) {
	s.create()
	s.write(20, 100)
	first := s.expect(s.open(""), 0, 20)
	for i, p := range s.expect(s.open(first[5]), 5, 20) {
		if p != first[5+i] {
			s.Fatalf("message %d stands at %q, and at %q when read again", 5+i, first[5+i], p)
		}
	}
}

func order(s *suite) {
	s.create()
	r := s.open("")
	const rounds, each = 40, 250
	write := func() {
		for range rounds {
			s.write(each, 64)
		}
	}
	s.atOnce(write, func() error {
		at, err := s.read(r, 0, rounds*each)
		if err != nil {
			return err
		}
		for i := 1; i < len(at); i++ {
			c, err := s.q.Compare(at[i-1], at[i])
			if err != nil {
				return err
			}
			if c >= 0 {
				return fmt.Errorf("compare %q with %q = %d, want before", at[i-1], at[i], c)
			}
		}
		return nil
	})
}

func properties(s *suite) {
	s.create()
	msgs := []Message{
		{Payload: []byte("plain")},
		{Payload: []byte("with"), Properties: map[string]string{"traceparent": "00-ab-cd-01", "msg_type": "Insert"}},
		{Payload: []byte{0, 255, 10, 13, 0}, Properties: map[string]string{"timestamp": "455382105268912129"}},
		{Payload: []byte("plain again")},
	}
	s.Append(s.T, s.channel, msgs...)
	r := s.open("")
	for i, want := range msgs {
		m := Next(s.T, r)
		if string(m.Payload) != string(want.Payload) || !maps.Equal(m.Properties, want.Properties) {
			s.Errorf("message %d = %q %v, want %q %v", i, m.Payload, m.Properties, want.Payload, want.Properties)
		}
	}
}

func nextOne(s *suite) {
	s.create()
	s.write(5, 100)
	r := s.open(s.Ahead(s.T, s.channel, 1))
	Nothing(s.T, r)
	s.write(2, 100)
	s.expect(r, 5, 7)
}

func absentChannel(s *suite) {
	r := s.open("")
	Nothing(s.T, r)
	s.create()
	s.write(3, 100)
	s.expect(r, 0, 3)
}

func emptyChannel(s *suite) {
	s.create()
	r := s.open("")
	Nothing(s.T, r)
	s.write(3, 100)
	s.expect(r, 0, 3)
}

func trimmedOldest(s *suite) {
	s.create()
	at := s.writeCut(20, 100, 12)
	s.Trim(s.T, s.channel, at[12])
	r := s.open("")
	m := Next(s.T, r)
	if c, err := s.q.Compare(m.Position, at[12]); err != nil || c > 0 {
		s.Fatalf("the oldest stands at %q (compare: %d, %v), but %q was kept", m.Position, c, err, at[12])
	}
}

func trimmedExactly(s *suite) {
	s.create()
	at := s.writeCut(20, 100, 12)
	behind := s.open(at[0])
	s.expect(behind, 0, 12)
	if s.Cut != nil {
		pause(s.T, time.Second) // for a reader that can see only ahead of time that nothing is missing at the cut
	}
	s.Trim(s.T, s.channel, at[12])
	s.expect(s.open(at[12]), 12, 20)
	s.expect(behind, 12, 20)
}

func twoReaders(s *suite) {
	s.create()
	at := s.write(2000, 500)
	ahead, behind := s.open(at[1000]), s.open("")
	s.atOnce(func() { s.expect(ahead, 1000, 2000) }, func() error {
		_, err := s.read(behind, 0, 2000)
		return err
	})
}

func twoChannels(s *suite) {
	s.create()
	s.write(1000, 500)
	other := s.another()
	other.create()
	other.write(1000, 500)
	mine, theirs := s.open(""), other.open("")
	s.atOnce(func() { s.expect(mine, 0, 1000) }, func() error {
		_, err := other.read(theirs, 0, 1000)
		return err
	})
}
