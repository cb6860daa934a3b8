package rows

import (
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// InsertBody is a msgpb.InsertRequest: rows of one partition.
type InsertBody struct {
	Head
	Namespace *string // of Milvus 2.6; nil where there is none
	Rows      *Rows   // never nil
}

// The fields of msgpb.InsertRequest behind the head.
const (
	insertSegment   protowire.Number = 9  // of the source only: not kept
	insertRowIDs    protowire.Number = 11 // of the source only: not kept
	insertRowData   protowire.Number = 12
	insertFields    protowire.Number = 13
	insertNumRows   protowire.Number = 14
	insertVersion   protowire.Number = 15
	insertNamespace protowire.Number = 16
)

// insertParser collects the fields of an InsertRequest.
type insertParser struct {
	head      headParser
	namespace *string
	columns   [][]byte
	rows      uint64
	version   int64
}

// ParseInsert reads a msgpb.InsertRequest, of the source's queue or of an event. What it returns points into b, which
// must not be changed after. The source's segment and row ids, which mean nothing elsewhere, are not kept.
func ParseInsert(b []byte) (*InsertBody, error) {
	body, err := parseInsert(b)
	if err != nil {
		return nil, fmt.Errorf("parse insert message: %w", err)
	}
	return body, nil
}

func parseInsert(b []byte) (*InsertBody, error) {
	var p insertParser
	for f, err := range fields(b) {
		if err == nil {
			err = p.field(f)
		}
		if err != nil {
			return nil, err
		}
	}
	if p.version != int64(msgpb.InsertDataVersion_RowBased) && p.version != int64(msgpb.InsertDataVersion_ColumnBased) {
		return nil, fmt.Errorf("data version %d: %w", p.version, ErrUnsupported)
	}
	if p.rows > uint64(len(b)) { // a row has at least a timestamp
		return nil, fmt.Errorf("%d rows in %d bytes: %w", p.rows, len(b), ErrMalformed)
	}
	head, err := p.head.finish(commonpb.MsgType_Insert, int(p.rows))
	if err != nil {
		return nil, err
	}
	rows, err := Parse(p.columns, int(p.rows))
	if err != nil {
		return nil, err
	}
	return &InsertBody{Head: head, Namespace: p.namespace, Rows: rows}, nil
}

func (p *insertParser) field(f field) (err error) {
	switch f.num {
	case insertSegment, insertRowIDs:
	case insertRowData:
		err = fmt.Errorf("rows are row-based (row_data), not columns: %w", ErrUnsupported)
	case insertFields:
		var column []byte
		column, err = f.bytes()
		p.columns = append(p.columns, column)
	case insertNumRows:
		p.rows, err = f.uint()
	case insertVersion:
		p.version, err = f.int()
	case insertNamespace:
		var name string
		name, err = f.text()
		p.namespace = &name
	default:
		err = p.head.field(f)
	}
	return err
}

// Append appends the encoded msgpb.InsertRequest to dst, which it grows once. It has no base: neither MsgID nor, if
// there are no rows, TS.
func (b *InsertBody) Append(dst []byte) []byte {
	dst = slices.Grow(dst, b.Size())
	dst = b.appendHead(dst, b.Rows.n)
	dst = b.Rows.AppendTo(dst, insertFields)
	dst = appendNumber(dst, insertNumRows, uint64(b.Rows.n))
	dst = appendNumber(dst, insertVersion, uint64(msgpb.InsertDataVersion_ColumnBased))
	if b.Namespace != nil {
		dst = appendMessageField(dst, insertNamespace, len(*b.Namespace))
		dst = append(dst, *b.Namespace...)
	}
	return dst
}

// Size is how many bytes Append appends.
func (b *InsertBody) Size() int {
	size := b.headSize(b.Rows.n) + b.Rows.Size() + sizeNumber(insertNumRows, uint64(b.Rows.n)) +
		sizeNumber(insertVersion, uint64(msgpb.InsertDataVersion_ColumnBased))
	if b.Namespace != nil {
		size += sizeMessageField(insertNamespace, len(*b.Namespace))
	}
	return size
}

// Take is the body with the rows in index only, in that order, copied. An index out of range panics.
func (b *InsertBody) Take(index []int) *InsertBody {
	return &InsertBody{Head: b.takeHead(index), Namespace: b.Namespace, Rows: b.Rows.Take(index)}
}

// Fit cuts index, which names no row twice, into runs that Take makes bodies of at most limit bytes from. A row that
// is too large by itself is a run of its own. The runs are parts of index.
func (b *InsertBody) Fit(index []int, limit int) [][]int {
	fixed := b.Size() - b.Rows.payload() - b.timesPayload(b.Rows.n)
	return fit(index, limit-fixed, func(i int) int {
		return b.Rows.RowBytes(i) + protowire.SizeVarint(b.TSAt(i))
	})
}
