package mqtest

import (
	"runtime"
	"testing"
	"time"
)

// flowCases are about amounts.
func flowCases() cases {
	return cases{
		"slow_caller_leaves_the_backlog_in_the_broker": backPressure,
		"large_messages":                    largeMessages,
		"message_arrives_at_once_when_idle": promptly,
	}
}

// backPressure reads one message of 200 MB and then takes its time: what the reader has fetched meanwhile must stay
// within its bound. What Go holds besides (buffers of the client) gets an allowance.
func backPressure(s *suite) {
	const size, backlog, allowance = 256 << 10, 200 << 20, 24 << 20
	s.create()
	s.write(backlog/size, size)
	before := heap()
	r := s.open("")
	s.expect(r, 0, 1)
	var most uint64
	for range 8 {
		pause(s.T, 250*time.Millisecond)
		most = max(most, heap())
	}
	bound := uint64(s.Prefetch + size + allowance)
	if grown := most - min(most, before); grown > bound {
		s.Errorf("a reader that nobody asks holds %d MiB of a backlog of %d MiB, bound %d MiB", grown>>20, backlog>>20, bound>>20)
	}
	s.expect(r, 1, 100) // and it still reads
}

// heap is what the program holds after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// largeMessages mixes messages as large as the broker takes them with small ones: whatever the reader's bound, each
// must get through.
func largeMessages(s *suite) {
	s.create()
	large := s.MaxPayload - 1024 // the broker may count headers
	sizes := []int{100, large, large, 100, s.Prefetch, s.Prefetch + 1, 100, s.Prefetch / 2, s.Prefetch/2 + 1, large, 10}
	for _, size := range sizes {
		s.write(1, min(size, large))
	}
	r := s.open("")
	for i, size := range sizes {
		m := Next(s.T, r)
		s.isNumber(m, i)
		if want := min(size, large); len(m.Payload) != want {
			s.Fatalf("message %d has %d bytes, want %d", i, len(m.Payload), want)
		}
	}
	Nothing(s.T, r)
}

// promptly says that an idle reader does not poll.
func promptly(s *suite) {
	s.create()
	r := s.open("")
	s.write(1, 100)
	s.expect(r, 0, 1)
	var worst time.Duration
	const tries = 20
	quick := 0
	for i := range tries {
		pause(s.T, 20*time.Millisecond)
		began := time.Now()
		s.write(1, 100)
		s.expect(r, 1+i, 2+i)
		took := time.Since(began)
		worst = max(worst, took)
		if took < 50*time.Millisecond {
			quick++
		}
	}
	s.Logf("worst of %d: %v", tries, worst)
	if quick < tries/2 { // the machine may be busy
		s.Errorf("only %d of %d messages arrived within 50 ms of being written", quick, tries)
	}
}
