package kafka

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"kitestream/bridge/mq"
)

// mark is a position taken apart: a message's offset in partition 0 of the channel's topic and, where it is known, the
// message's timestamp in milliseconds.
//
// An offset alone would be ambiguous: a topic that is deleted and created again, or that lost its end when a leader was
// elected that did not have it, counts the same numbers again for other messages. A message's timestamp is stored with
// it and never changes, so it tells whether the message that stands there is still the same one.
type mark struct {
	offset int64 // counts from 0
	stamp  int64 // 0: not known
}

// position writes a mark as "27@1763844204024", or "27" when the stamp is not known.
func (m mark) position() mq.Position {
	b := strconv.AppendInt(make([]byte, 0, 34), m.offset, 10)
	if m.stamp > 0 {
		b = append(b, '@')
		b = strconv.AppendInt(b, m.stamp, 10)
	}
	return mq.Position(b)
}

// parsePosition reads back what position wrote.
func parsePosition(p mq.Position) (mark, error) {
	offset, stamp, stamped := strings.Cut(string(p), "@")
	var m mark
	var err error
	if m.offset, err = strconv.ParseInt(offset, 10, 64); err != nil {
		return mark{}, fmt.Errorf("position %q: %w", p, mq.ErrPosition)
	}
	if stamped {
		if m.stamp, err = strconv.ParseInt(stamp, 10, 64); err != nil {
			return mark{}, fmt.Errorf("position %q: %w", p, mq.ErrPosition)
		}
	}
	if m.offset < 0 || m.position() != p {
		return mark{}, fmt.Errorf("position %q: %w", p, mq.ErrPosition)
	}
	return m, nil
}

// FromMilvus reads the 8 bytes, little-endian, in which Milvus keeps an offset. The negative numbers that stand for
// "oldest" or "newest" in Kafka's clients are not positions.
func (q *Queue) FromMilvus(b []byte) (mq.Position, error) {
	if len(b) != 8 {
		return "", fmt.Errorf("read Milvus position of %d bytes, want 8: %w", len(b), mq.ErrPosition)
	}
	offset := int64(binary.LittleEndian.Uint64(b))
	if offset < 0 {
		return "", fmt.Errorf("read Milvus position %d, offsets count from 0: %w", offset, mq.ErrPosition)
	}
	return mark{offset: offset}.position(), nil
}

// Compare orders by offset. Two messages that have the same offset and different timestamps belong to two topics of the
// same name and have no order.
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
	case x.offset < y.offset:
		return -1, nil
	case x.offset > y.offset:
		return 1, nil
	case x.stamp != y.stamp && x.stamp != 0 && y.stamp != 0:
		return 0, fmt.Errorf("compare %s with %s, which are of two topics: %w", a, b, mq.ErrPosition)
	}
	return 0, nil
}
