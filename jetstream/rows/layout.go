package rows

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// shape says how the rows of a column lie in the message that holds them.
type shape uint8

const (
	noRows   shape = iota // a column without data, as an empty message may have
	varint                // a packed list of varints: {repeated 1}
	fixed                 // a packed list of 4- or 8-byte numbers, one or dim of them a row: {repeated 1}
	rawFixed              // bytes, of a size per row that dim gives
	entries               // an entry of a repeated field a row: {repeated 1}
)

// The fields of schemapb.FieldData that hold rows.
const (
	scalarPart protowire.Number = 3 // schemapb.ScalarField
	vectorPart protowire.Number = 4 // schemapb.VectorField
)

// The members of schemapb.ScalarField that can be primary keys.
const (
	longMember   protowire.Number = 3 // long_data
	stringMember protowire.Number = 6 // string_data
)

// layout is how schemapb.FieldData holds the rows of one type of column. Field 2 of the message with the entries, if
// it has one, is an array's element type or the dim of sparse vectors.
type layout struct {
	part   protowire.Number // scalarPart or vectorPart
	member protowire.Number // the field of the part that holds the rows
	shape  shape
	bits   int  // fixed and rawFixed: size of a number, of which a vector has dim
	text   bool // entries: UTF-8
	second bool // entries: the message has a field 2
}

// scalarLayout is the layout of a member of schemapb.ScalarField; false for one that this version does not know.
func scalarLayout(member protowire.Number) (layout, bool) {
	l := layout{part: scalarPart, member: member}
	switch member {
	case 1, 2, longMember, 11: // bool_data, int_data, long_data, timestamptz_data
		l.shape = varint
	case 4: // float_data
		l.shape, l.bits = fixed, 32
	case 5: // double_data
		l.shape, l.bits = fixed, 64
	case stringMember, 12: // string_data, geometry_wkt_data
		l.shape, l.text = entries, true
	case 7, 9, 10: // bytes_data, json_data, geometry_data
		l.shape = entries
	case 8: // array_data
		l.shape, l.second = entries, true
	default:
		return l, false
	}
	return l, true
}

// vectorLayout is the layout of a member of schemapb.VectorField; false for one that this version does not know.
func vectorLayout(member protowire.Number) (layout, bool) {
	l := layout{part: vectorPart, member: member}
	switch member {
	case 2: // float_vector
		l.shape, l.bits = fixed, 32
	case 3: // binary_vector
		l.shape, l.bits = rawFixed, 1
	case 4, 5: // float16_vector, bfloat16_vector
		l.shape, l.bits = rawFixed, 16
	case 6: // sparse_float_vector
		l.shape, l.second = entries, true
	case 7: // int8_vector
		l.shape, l.bits = rawFixed, 8
	default:
		return l, false
	}
	return l, true
}

// stride is the size of a row of numbers.
func (l layout) stride(dim int64) (int, error) {
	if l.part == scalarPart {
		dim = 1
	}
	const maxDim = 1 << 30 // far beyond any Milvus; keeps the product in range
	if dim < 0 || dim > maxDim || dim*int64(l.bits)%8 != 0 {
		return 0, fmt.Errorf("dim %d of %d-bit numbers: %w", dim, l.bits, ErrMalformed)
	}
	return int(dim) * l.bits / 8, nil
}

// wireType is the wire type of a packed list's values.
func (l layout) wireType() protowire.Type {
	switch {
	case l.shape == varint:
		return protowire.VarintType
	case l.bits == 64:
		return protowire.Fixed64Type
	}
	return protowire.Fixed32Type
}

// parse reads the rows that b, the content of the member, holds, and the message's field 2. n is how many rows there
// should be.
func (l layout) parse(b []byte, dim int64, n int) (r records, second int64, err error) {
	switch l.shape {
	case entries:
		return l.parseEntries(b, n)
	case varint:
		if b, err = l.unpack(b); err == nil {
			r, err = varintRecords(b, n)
		}
		return r, 0, err
	case fixed:
		if b, err = l.unpack(b); err != nil {
			return r, 0, err
		}
	}
	stride, err := l.stride(dim)
	if err == nil {
		r, err = fixedRecords(b, stride)
	}
	return r, 0, err
}

// unpack is the values of the message {repeated 1} in one piece.
func (l layout) unpack(b []byte) ([]byte, error) {
	var list packed
	for f, err := range fields(b) {
		if err == nil && f.num != 1 {
			err = f.unknown()
		}
		if err == nil {
			err = list.add(f, l.wireType())
		}
		if err != nil {
			return nil, err
		}
	}
	return list.data, nil
}

func (l layout) parseEntries(b []byte, n int) (r records, second int64, err error) {
	const minEntry = 2 // tag and length: a count that the bytes can't hold claims no memory
	list := newEntryRecords(min(n, len(b)/minEntry))
	for f, err := range fields(b) {
		switch {
		case err != nil:
		case f.num == 1:
			err = list.add(b, f, l.text)
		case f.num == 2 && l.second:
			second, err = f.int()
		default:
			err = f.unknown()
		}
		if err != nil {
			return records{}, 0, err
		}
	}
	return list.finish(), second, nil
}

// contentSize is the size of what the member holds: the rows, in the message that is around them.
func (l layout) contentSize(r *records, second int64) int {
	switch l.shape {
	case varint, fixed:
		if len(r.data) == 0 {
			return 0
		}
		return sizeMessageField(1, len(r.data))
	case entries:
		return len(r.data) + sizeNumber(2, uint64(second))
	}
	return len(r.data)
}

// appendContent appends what contentSize measures.
func (l layout) appendContent(b []byte, r *records, second int64) []byte {
	if len(r.data) > 0 && (l.shape == varint || l.shape == fixed) {
		b = appendMessageField(b, 1, len(r.data))
	}
	b = append(b, r.data...)
	if l.shape == entries {
		b = appendNumber(b, 2, uint64(second))
	}
	return b
}
