package rows

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// Head is what insert and delete messages share: where their rows belong, and when they were written. In the source's
// messages the names are those of that time, and partly empty; the ids hold.
type Head struct {
	Database   string // Milvus 2.3 leaves it empty
	Collection string
	Partition  string // empty in a delete that means every partition
	ShardName  string // the source's virtual channel

	DatabaseID   int64
	CollectionID int64
	PartitionID  int64 // -1 in a delete that means every partition

	// MsgID is the source's id of the message, by which a producer's retry is known. Append leaves it out.
	MsgID int64
	// TS is the source timestamp of every row, or the earliest of them if they differ. A message without rows has
	// that of its base, which Append leaves out.
	TS uint64
	// Timestamps are those of each row, only if they differ.
	Timestamps []uint64
}

// TSAt is the source timestamp of row i.
func (h *Head) TSAt(i int) uint64 {
	if h.Timestamps == nil {
		return h.TS
	}
	return h.Timestamps[i]
}

// takeHead is the head of the rows in index.
func (h Head) takeHead(index []int) Head {
	if h.Timestamps == nil {
		return h
	}
	each := take(h.Timestamps, index)
	h.Timestamps = nil
	if len(each) == 0 {
		return h
	}
	h.TS = slices.Min(each)
	if h.TS != slices.Max(each) {
		h.Timestamps = each
	}
	return h
}

// The fields that InsertRequest and DeleteRequest share.
const (
	baseField       protowire.Number = 1
	timestampsField protowire.Number = 10
)

// headParser reads a Head from the fields of a message.
type headParser struct {
	Head
	msgType    int64
	timestamps packed
}

// field takes one of the fields 1 to 8 and 10.
func (h *headParser) field(f field) (err error) {
	switch f.num {
	case baseField:
		err = h.base(f)
	case 2:
		h.ShardName, err = f.text()
	case 3:
		h.Database, err = f.text()
	case 4:
		h.Collection, err = f.text()
	case 5:
		h.Partition, err = f.text()
	case 6:
		h.DatabaseID, err = f.int()
	case 7:
		h.CollectionID, err = f.int()
	case 8:
		h.PartitionID, err = f.int()
	case timestampsField:
		err = h.timestamps.add(f, protowire.VarintType)
	default:
		err = f.unknown()
	}
	return err
}

// base reads a commonpb.MsgBase. What else it holds is about the message and not about its rows.
func (h *headParser) base(f field) error {
	b, err := f.bytes()
	if err != nil {
		return err
	}
	for f, err := range fields(b) {
		switch {
		case err != nil:
		case f.num == 1:
			h.msgType, err = f.int()
		case f.num == 2:
			h.MsgID, err = f.int()
		case f.num == 3:
			h.TS, err = f.uint()
		}
		if err != nil {
			return fmt.Errorf("read base: %w", err)
		}
	}
	return nil
}

// finish is the head of a message of type want with n rows. A message that doesn't say its type is taken to be right.
func (h *headParser) finish(want commonpb.MsgType, n int) (Head, error) {
	if h.msgType != 0 && h.msgType != int64(want) {
		return Head{}, fmt.Errorf("message is %s, not %s: %w", commonpb.MsgType(h.msgType), want, ErrMalformed)
	}
	if err := h.setTimes(n); err != nil {
		return Head{}, fmt.Errorf("read timestamps: %w", err)
	}
	return h.Head, nil
}

// setTimes sets TS and Timestamps of n rows. Those of a message are all the same, which is quick to see, and a list of
// them is not made before they turn out to differ.
func (h *headParser) setTimes(n int) error {
	data := h.timestamps.data
	ts, size := protowire.ConsumeVarint(data)
	if size > 0 && size*n == len(data) && bytes.Equal(data[size:], data[:len(data)-size]) {
		h.TS = ts
		return nil
	}
	i := 0
	for rest := data; len(rest) > 0; i++ {
		ts, size := protowire.ConsumeVarint(rest)
		if size < 0 {
			return fmt.Errorf("read number %d: %w: %w", i, protowire.ParseError(size), ErrMalformed)
		}
		rest = rest[size:]
		switch {
		case i == 0:
			h.TS = ts
		case h.Timestamps == nil && ts != h.TS:
			h.Timestamps = slices.Repeat([]uint64{h.TS}, i)
		}
		if h.Timestamps != nil {
			h.Timestamps = append(h.Timestamps, ts)
			h.TS = min(h.TS, ts)
		}
	}
	if i != n {
		return fmt.Errorf("%d for %d rows: %w", i, n, ErrMalformed)
	}
	return nil
}

// timesPayload is the size of the timestamps of n rows.
func (h *Head) timesPayload(n int) int {
	if h.Timestamps == nil {
		return n * protowire.SizeVarint(h.TS)
	}
	size := 0
	for _, ts := range h.Timestamps {
		size += protowire.SizeVarint(ts)
	}
	return size
}

// headSize is the encoded size of the head of n rows.
func (h *Head) headSize(n int) int {
	size := sizeText(2, h.ShardName) + sizeText(3, h.Database) + sizeText(4, h.Collection) + sizeText(5, h.Partition) +
		sizeNumber(6, uint64(h.DatabaseID)) + sizeNumber(7, uint64(h.CollectionID)) + sizeNumber(8, uint64(h.PartitionID))
	if n == 0 {
		return size
	}
	return size + sizeMessageField(timestampsField, h.timesPayload(n))
}

// appendHead appends the head of n rows.
func (h *Head) appendHead(b []byte, n int) []byte {
	b = appendText(b, 2, h.ShardName)
	b = appendText(b, 3, h.Database)
	b = appendText(b, 4, h.Collection)
	b = appendText(b, 5, h.Partition)
	b = appendNumber(b, 6, uint64(h.DatabaseID))
	b = appendNumber(b, 7, uint64(h.CollectionID))
	b = appendNumber(b, 8, uint64(h.PartitionID))
	if n == 0 {
		return b
	}
	b = appendMessageField(b, timestampsField, h.timesPayload(n))
	for i := range n {
		b = protowire.AppendVarint(b, h.TSAt(i))
	}
	return b
}

// fit cuts index into runs whose sizes don't add up to more than room, or which are one row.
func fit(index []int, room int, size func(i int) int) [][]int {
	var runs [][]int
	first, used := 0, 0
	for k, i := range index {
		n := size(i)
		if k > first && used+n > room {
			runs = append(runs, index[first:k:k])
			first, used = k, 0
		}
		used += n
	}
	if first < len(index) {
		runs = append(runs, index[first:])
	}
	return runs
}
