package pulsar

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/pulsar-client-go/pulsar"

	"kitestream/bridge/mq"
)

// mark is a position taken apart: the ledger and the entry in it that hold a message, the message's index in the entry's
// batch, and, where it is known, the time in milliseconds at which its producer sent it.
//
// A cluster gives no ledger's number twice, so a topic that is deleted and created again has other numbers. The time
// tells a message from the one with the same numbers in a cluster that was itself wiped and set up again.
type mark struct {
	ledger, entry int64
	batch         int32 // 0 also for a message that is alone in its entry
	stamp         int64 // 0: not known
}

// position writes a mark as "27:4@1763844204024"; in a batch "27:4:2@1763844204024" but for the first; and without the
// time when that is not known. It holds no slash.
func (m mark) position() mq.Position {
	b := strconv.AppendInt(make([]byte, 0, 48), m.ledger, 10)
	b = strconv.AppendInt(append(b, ':'), m.entry, 10)
	if m.batch != 0 {
		b = strconv.AppendInt(append(b, ':'), int64(m.batch), 10)
	}
	if m.stamp != 0 {
		b = strconv.AppendInt(append(b, '@'), m.stamp, 10)
	}
	return mq.Position(b)
}

// parsePosition reads back what position wrote.
func parsePosition(p mq.Position) (mark, error) {
	place, stamp, stamped := strings.Cut(string(p), "@")
	parts := strings.Split(place, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return mark{}, fmt.Errorf("position %q: %w", p, mq.ErrPosition)
	}
	if stamped {
		parts = append(parts, stamp)
	}
	numbers := make([]int64, len(parts))
	for i, part := range parts {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil || n < 0 {
			return mark{}, fmt.Errorf("position %q: %w", p, mq.ErrPosition)
		}
		numbers[i] = n
	}
	m := mark{ledger: numbers[0], entry: numbers[1]}
	if stamped {
		m.stamp = numbers[len(numbers)-1]
		numbers = numbers[:len(numbers)-1]
	}
	if len(numbers) == 3 {
		m.batch = int32(min(numbers[2], 1<<31-1))
	}
	if m.position() != p { // another spelling of it, or too large an index
		return mark{}, fmt.Errorf("position %q: %w", p, mq.ErrPosition)
	}
	return m, nil
}

// markOf is the mark of an id of the client library, which has no time.
func markOf(id pulsar.MessageID) mark {
	return mark{ledger: id.LedgerID(), entry: id.EntryID(), batch: max(id.BatchIdx(), 0)}
}

// id is the mark as the client library has it. Partition 0 is what the library calls a topic without partitions.
func (m mark) id() pulsar.MessageID { return pulsar.NewMessageID(m.ledger, m.entry, m.batch, 0) }

// compare orders by place alone.
func (m mark) compare(o mark) int {
	return cmp.Or(cmp.Compare(m.ledger, o.ledger), cmp.Compare(m.entry, o.entry), cmp.Compare(m.batch, o.batch))
}

// differs reports whether two marks of one place are surely of two messages.
func (m mark) differs(o mark) bool { return m.stamp != o.stamp && m.stamp != 0 && o.stamp != 0 }

// FromMilvus reads the protobuf MessageIdData in which Milvus keeps a Pulsar message id.
func (q *Queue) FromMilvus(b []byte) (mq.Position, error) {
	id, err := pulsar.DeserializeMessageID(b)
	if err != nil {
		return "", fmt.Errorf("read Milvus position of %d bytes: %w (%w)", len(b), mq.ErrPosition, err)
	}
	if id.LedgerID() < 0 || id.EntryID() < 0 { // the library's earliest and latest, which are no messages
		return "", fmt.Errorf("read Milvus position %d:%d: no message stands there: %w", id.LedgerID(), id.EntryID(), mq.ErrPosition)
	}
	if id.PartitionIdx() < -1 || id.PartitionIdx() > 0 || id.BatchIdx() < -1 {
		return "", fmt.Errorf("read Milvus position: partition %d, batch index %d: %w", id.PartitionIdx(), id.BatchIdx(), mq.ErrPosition)
	}
	return markOf(id).position(), nil
}

// Compare orders by ledger, entry and index in the batch. Two messages that have the same place at different times are of
// two clusters and have no order.
func (q *Queue) Compare(a, b mq.Position) (int, error) {
	x, err := parsePosition(a)
	if err != nil {
		return 0, err
	}
	y, err := parsePosition(b)
	if err != nil {
		return 0, err
	}
	c := x.compare(y)
	if c == 0 && x.differs(y) {
		return 0, fmt.Errorf("compare %s with %s, which are of two topics: %w", a, b, mq.ErrPosition)
	}
	return c, nil
}
