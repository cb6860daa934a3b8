package natsmq

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"kitestream/bridge/mq"
)

// mark is a position taken apart: a message's sequence in the channel's stream and, where it is known, the time in
// nanoseconds at which the server stored the message.
//
// A sequence alone would be ambiguous: a stream that is deleted and created again, or that comes back shortened after
// a power cut, counts the same numbers again for other messages. No two messages of one sequence share the time too,
// so the stamp tells whether the message that stands there is still the same one.
type mark struct {
	seq   uint64 // counts from 1; 0: no mark
	stamp int64  // 0: not known
}

// position writes a mark as "27@1763844204024594000", or "27" when the stamp is not known.
func (m mark) position() mq.Position {
	b := strconv.AppendUint(make([]byte, 0, 40), m.seq, 10)
	if m.stamp != 0 {
		b = append(b, '@')
		b = strconv.AppendInt(b, m.stamp, 10)
	}
	return mq.Position(b)
}

// parsePosition reads back what position wrote.
func parsePosition(p mq.Position) (mark, error) {
	var m mark
	seq, stamp, stamped := strings.Cut(string(p), "@")
	var err error
	if m.seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		return mark{}, fmt.Errorf("position %q: %w", p, mq.ErrPosition)
	}
	if stamped {
		if m.stamp, err = strconv.ParseInt(stamp, 10, 64); err != nil {
			return mark{}, fmt.Errorf("position %q: %w", p, mq.ErrPosition)
		}
	}
	if m.seq == 0 || m.stamp < 0 || m.position() != p {
		return mark{}, fmt.Errorf("position %q: %w", p, mq.ErrPosition)
	}
	return m, nil
}

// FromMilvus reads the 8 bytes, little-endian, in which Milvus keeps a stream sequence.
func (q *Queue) FromMilvus(b []byte) (mq.Position, error) {
	if len(b) != 8 {
		return "", fmt.Errorf("read Milvus position of %d bytes, want 8: %w", len(b), mq.ErrPosition)
	}
	seq := binary.LittleEndian.Uint64(b)
	if seq == 0 {
		return "", fmt.Errorf("read Milvus position 0, sequences count from 1: %w", mq.ErrPosition)
	}
	return mark{seq: seq}.position(), nil
}

// Compare orders by stream sequence. Two messages that have the same sequence at different times belong to two streams
// of the same name and have no order.
func (q *Queue) Compare(a, b mq.Position) (int, error) {
	x, err := parsePosition(a)
	if err != nil {
		return 0, err
	}
	y, err := parsePosition(b)
	if err != nil {
		return 0, err
	}
	switch {
	case x.seq < y.seq:
		return -1, nil
	case x.seq > y.seq:
		return 1, nil
	case x.stamp != y.stamp && x.stamp != 0 && y.stamp != 0:
		return 0, fmt.Errorf("compare %s with %s, which are of two streams: %w", a, b, mq.ErrPosition)
	}
	return 0, nil
}
