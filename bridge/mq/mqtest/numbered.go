package mqtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"kitestream/bridge/mq"
)

// Payload is what the numbered message holds: its number, then bytes that follow from it.
func Payload(number, size int) []byte {
	b := bytes.Repeat([]byte{byte(number), byte(number >> 8), 0xA5}, size/3+8)[:max(size, 8)]
	binary.LittleEndian.PutUint64(b, uint64(number))
	return b
}

// Numbered are n messages of that size, numbered from there on.
func Numbered(from, n, size int) []Message {
	msgs := make([]Message, n)
	for i := range msgs {
		msgs[i].Payload = Payload(from+i, size)
	}
	return msgs
}

// Number is the number of a numbered message.
func Number(m mq.Message) int { return int(binary.LittleEndian.Uint64(m.Payload)) }

// numbered returns an error unless m is the message of that number.
func numbered(m mq.Message, i int) error {
	if len(m.Payload) < 8 {
		return fmt.Errorf("message at %s has %d bytes, want message %d", m.Position, len(m.Payload), i)
	}
	if got := Number(m); got != i {
		return fmt.Errorf("message at %s has number %d, want %d", m.Position, got, i)
	}
	if !bytes.Equal(m.Payload, Payload(i, len(m.Payload))) {
		return fmt.Errorf("message %d at %s has other bytes than were written", i, m.Position)
	}
	return nil
}

// Open opens a channel. The reader is closed at the end.
func Open(t testing.TB, q mq.Queue, channel string, from mq.Position) mq.Reader {
	t.Helper()
	r, err := q.Open(t.Context(), channel, from)
	if err != nil {
		t.Fatalf("open %s at %q: %v", channel, from, err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close reader: %v", err)
		}
	})
	return r
}

// Next returns the next message, which must come.
func Next(t testing.TB, r mq.Reader) mq.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	m, err := r.Next(ctx)
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return m
}

// Expect reads the messages numbered from…to-1 and returns where they stand.
func Expect(t testing.TB, r mq.Reader, from, to int) []mq.Position {
	t.Helper()
	all, err := read(t.Context(), r, from, to)
	Must(t, err)
	return all
}

// read is Expect for any goroutine.
func read(ctx context.Context, r mq.Reader, from, to int) ([]mq.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
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

// Nothing fails the test when a message or an error comes within a moment.
func Nothing(t testing.TB, r mq.Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if m, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("next = message at %q, %v; want none yet", m.Position, err)
	}
}

// UntilGap reads messages in order, from that number on, until the gap that must come and stay. It returns the number of
// the first message that was not given.
func UntilGap(t testing.TB, r mq.Reader, from int) (int, *mq.GapError) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for i := from; ; i++ {
		m, err := r.Next(ctx)
		if err == nil {
			Must(t, numbered(m, i))
			continue
		}
		var g *mq.GapError
		if !errors.As(err, &g) {
			t.Fatalf("next = %v, want message %d or a gap", err, i)
		}
		if _, again := r.Next(ctx); !errors.Is(again, err) {
			t.Errorf("next after the gap = %v, want the same gap", again)
		}
		return i, g
	}
}
