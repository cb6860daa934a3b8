package mqtest

import (
	"strings"

	"kitestream/bridge/mq"
)

// gapCases are about messages that are gone: guarantee 5.
func gapCases() cases {
	return cases{
		"gap_when_trimmed_before_opening":                   trimmedBefore,
		"gap_when_trimmed_while_reading_behind":             trimmedBehind,
		"gap_when_trimmed_while_nobody_reads":               trimmedAway,
		"gap_when_the_position_is_far_beyond_the_end":       farBeyond,
		"gap_when_the_channel_of_the_position_is_gone":      channelGone,
		"gap_when_recreated_shorter":                        func(s *suite) { recreated(s, 10) },
		"gap_when_recreated_longer":                         func(s *suite) { recreated(s, 100) },
		"gap_when_recreated_while_waiting":                  recreatedWaiting,
		"gap_of_one_channel_leaves_the_others_readable":     gapIsolated,
		"gap_error_names_channel_positions_and_the_way_out": gapText,
	}
}

func trimmedBefore(s *suite) {
	s.create()
	at := s.writeCut(30, 100, 20)
	s.Trim(s.T, s.channel, at[20])
	g := s.gap(s.open(at[3]), 3).gap
	s.same("wanted", g.Wanted, at[3])
	s.found(g, at[3], at[20])
}

// found checks that the gap's Found lies behind what was wanted and not behind what was kept.
func (s *suite) found(g *mq.GapError, wanted, kept mq.Position) {
	s.Helper()
	if c, err := s.q.Compare(g.Found, wanted); err != nil || c <= 0 {
		s.Errorf("found %q: compare with wanted %q = %d, %v; want behind", g.Found, wanted, c, err)
	}
	if c, err := s.q.Compare(g.Found, kept); err != nil || c > 0 {
		s.Errorf("found %q: compare with %q, which was kept, = %d, %v", g.Found, kept, c, err)
	}
}

func trimmedBehind(s *suite) {
	s.create()
	n := 4*s.Prefetch/(64<<10) + 10
	at := s.writeCut(n, 64<<10, n-2)
	r := s.open("")
	s.expect(r, 0, 1)
	s.Trim(s.T, s.channel, at[n-2])
	h := s.gap(r, 1)
	if h.first >= n-2 {
		s.Fatalf("reader went on to message %d although all before %d are gone", h.first, n-2)
	}
	s.same("wanted", h.gap.Wanted, at[h.first])
	s.found(h.gap, at[h.first], at[n-2])
}

// trimmedAway is a bridge that was down for longer than the queue keeps messages.
func trimmedAway(s *suite) {
	s.create()
	at := s.write(10, 100)
	r := s.open("")
	read := s.expect(r, 0, 10)
	if err := r.Close(); err != nil {
		s.Fatal(err)
	}
	later := s.writeCut(10, 100, 5)
	s.Trim(s.T, s.channel, later[5])
	g := s.gap(s.open(read[9]), 9).gap
	s.same("wanted", g.Wanted, at[9])
	s.found(g, at[9], later[5])
}

func farBeyond(s *suite) {
	s.create()
	at := s.write(5, 100)
	far := s.Ahead(s.T, s.channel, 100)
	g := s.gap(s.open(far), 104).gap
	s.same("wanted", g.Wanted, far)
	s.same("found", g.Found, at[0])
}

func channelGone(s *suite) {
	s.create()
	at := s.write(5, 100)
	s.Delete(s.T, s.channel)
	g := s.gap(s.open(at[2]), 2).gap
	s.same("wanted", g.Wanted, at[2])
	if g.Found != "" {
		s.Errorf("found = %q in a channel that is gone", g.Found)
	}
}

// recreated has the channel made again with n messages. Where they are more than there were, counting alone goes wrong:
// the new channel has a message wherever the old one had.
func recreated(s *suite, n int) {
	s.create()
	s.write(50, 100)
	r := s.open("")
	read := s.expect(r, 0, 20)
	s.Delete(s.T, s.channel)
	s.create()
	s.written = 1000
	s.write(n, 100)
	s.gap(r, 20)
	s.gap(s.open(read[15]), 15)
}

func recreatedWaiting(s *suite) {
	s.create()
	s.write(5, 100)
	r := s.open("")
	s.expect(r, 0, 5)
	Nothing(s.T, r)
	s.Delete(s.T, s.channel)
	s.create()
	s.written = 1000
	s.write(10, 100)
	s.gap(r, 5)
}

func gapIsolated(s *suite) {
	s.create()
	at := s.writeCut(20, 100, 10)
	other := s.another()
	other.create()
	other.write(20, 100)
	theirs := other.open("")
	other.expect(theirs, 0, 5)
	s.Trim(s.T, s.channel, at[10])
	s.gap(s.open(at[0]), 0)
	other.expect(theirs, 5, 20)
	s.expect(s.open(at[10]), 10, 20)
}

func gapText(s *suite) {
	s.create()
	at := s.writeCut(30, 100, 20)
	s.Trim(s.T, s.channel, at[20])
	g := s.gap(s.open(at[3]), 3).gap
	for _, part := range []string{s.channel, string(g.Wanted), string(g.Found), g.Reason, "snapshot"} {
		if part == "" || !strings.Contains(g.Error(), part) {
			s.Errorf("error does not name %q: %s", part, g)
		}
	}
}
