package rows

import (
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// DeleteBody is a msgpb.DeleteRequest: primary keys to delete in one partition, or in every one.
type DeleteBody struct {
	Head
	Keys Keys
}

// The fields of msgpb.DeleteRequest behind the head.
const (
	deleteInts    protowire.Number = 9 // keys of Milvus before 2.2
	deleteNumRows protowire.Number = 11
	deleteKeys    protowire.Number = 12
	deleteSegment protowire.Number = 13 // of the source only: not kept
	deletePlan    protowire.Number = 14 // of Milvus 3
)

// deleteParser collects the fields of a DeleteRequest.
type deleteParser struct {
	head headParser
	ints packed
	keys []byte
	rows int64
}

// ParseDelete reads a msgpb.DeleteRequest, of the source's queue or of an event. The source's segment id, which means
// nothing elsewhere, is not kept.
func ParseDelete(b []byte) (*DeleteBody, error) {
	body, err := parseDelete(b)
	if err != nil {
		return nil, fmt.Errorf("parse delete message: %w", err)
	}
	return body, nil
}

func parseDelete(b []byte) (*DeleteBody, error) {
	var p deleteParser
	for f, err := range fields(b) {
		if err == nil {
			err = p.field(f)
		}
		if err != nil {
			return nil, err
		}
	}
	if p.rows < 0 || p.rows > int64(len(b)) {
		return nil, fmt.Errorf("%d rows in %d bytes: %w", p.rows, len(b), ErrMalformed)
	}
	keys, err := p.parseKeys()
	if err != nil {
		return nil, err
	}
	// Messages of the old form may leave num_rows out.
	if p.rows != 0 && p.rows != int64(keys.Len()) {
		return nil, fmt.Errorf("%d keys for %d rows: %w", keys.Len(), p.rows, ErrMalformed)
	}
	head, err := p.head.finish(commonpb.MsgType_Delete, keys.Len())
	if err != nil {
		return nil, err
	}
	return &DeleteBody{Head: head, Keys: keys}, nil
}

func (p *deleteParser) field(f field) (err error) {
	switch f.num {
	case deleteInts:
		err = p.ints.add(f, protowire.VarintType)
	case deleteNumRows:
		p.rows, err = f.int()
	case deleteKeys:
		if p.keys != nil {
			return fmt.Errorf("primary keys twice: %w", ErrMalformed)
		}
		p.keys, err = f.bytes()
	case deleteSegment:
	case deletePlan:
		err = fmt.Errorf("rows are named by an expression, not by keys: %w", ErrUnsupported)
	default:
		err = p.head.field(f)
	}
	return err
}

// parseKeys are the keys of either form. Some versions fill both.
func (p *deleteParser) parseKeys() (Keys, error) {
	keys, err := parseKeys(p.keys, int(p.rows))
	if err != nil || len(p.ints.data) == 0 {
		return keys, err
	}
	r, err := varintRecords(p.ints.data, len(p.ints.data))
	if err != nil {
		return Keys{}, fmt.Errorf("read integer primary keys: %w", err)
	}
	old := Keys{Ints: r.ints()}
	if keys.Len() > 0 && !slices.Equal(keys.Ints, old.Ints) {
		return Keys{}, fmt.Errorf("keys in int64_primary_keys and primary_keys differ: %w", ErrMalformed)
	}
	return old, nil
}

// Append appends the encoded msgpb.DeleteRequest to dst, which it grows once. It has no base: neither MsgID nor, if
// there are no keys, TS.
func (b *DeleteBody) Append(dst []byte) []byte {
	n, payload := b.Keys.Len(), b.Keys.payload()
	dst = slices.Grow(dst, b.Size())
	dst = b.appendHead(dst, n)
	dst = appendNumber(dst, deleteNumRows, uint64(n))
	if n == 0 {
		return dst
	}
	dst = appendMessageField(dst, deleteKeys, b.Keys.size(payload))
	return b.Keys.appendTo(dst, payload)
}

// Size is how many bytes Append appends.
func (b *DeleteBody) Size() int {
	n := b.Keys.Len()
	size := b.headSize(n) + sizeNumber(deleteNumRows, uint64(n))
	if n == 0 {
		return size
	}
	return size + sizeMessageField(deleteKeys, b.Keys.size(b.Keys.payload()))
}

// Take is the body with the keys in index only, in that order, copied.
func (b *DeleteBody) Take(index []int) *DeleteBody {
	return &DeleteBody{Head: b.takeHead(index), Keys: b.Keys.Take(index)}
}

// Fit cuts index, which names no key twice, into runs that Take makes bodies of at most limit bytes from. A key that
// is too large by itself is a run of its own. The runs are parts of index.
func (b *DeleteBody) Fit(index []int, limit int) [][]int {
	fixed := b.Size() - b.Keys.payload() - b.timesPayload(b.Keys.Len())
	return fit(index, limit-fixed, func(i int) int {
		return b.Keys.keyBytes(i) + protowire.SizeVarint(b.TSAt(i))
	})
}
