package mqtest

import (
	"math/rand/v2"
	"testing"
	"time"

	"kitestream/bridge/mq"
)

// Fill appends at least so many messages of a size, for BenchmarkRead, and returns how many. Half of each can be
// compressed away.
func (c Channel) Fill(b *testing.B, messages, size int) int {
	b.Helper()
	msgs := make([]Message, min(messages, 32<<20/size))
	random := rand.NewChaCha8([32]byte{})
	for i := range msgs {
		msgs[i].Payload = make([]byte, size)
		_, _ = random.Read(msgs[i].Payload[:size/2]) // never an error
	}
	n := 0
	for ; n < messages; n += len(msgs) {
		c.Append(b, c.Name, msgs...)
	}
	return n
}

// BenchmarkRead reads a backlog of messages of a size, over and over.
func (c Channel) BenchmarkRead(b *testing.B, backlog, size int) {
	var r mq.Reader
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%backlog == 0 { // from the beginning again
			if r != nil {
				Must(b, r.Close())
			}
			r = Open(b, c.Queue, c.Name, "")
		}
		if _, err := r.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	Must(b, r.Close())
}

// BenchmarkDelay is the time from a message's acknowledgement to its writer until an idle reader's caller has it.
func (c Channel) BenchmarkDelay(b *testing.B) {
	r := Open(b, c.Queue, c.Name, "")
	msg := Message{Payload: make([]byte, 200)}
	var after time.Duration
	for b.Loop() {
		c.Append(b, c.Name, msg)
		acked := time.Now()
		if _, err := r.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
		after += time.Since(acked)
	}
	b.ReportMetric(float64(after.Microseconds())/float64(b.N), "µs/after-ack")
}
