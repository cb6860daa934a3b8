package rows

import (
	"fmt"
	"iter"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field of an encoded protobuf message, pointing into it.
type field struct {
	num protowire.Number
	typ protowire.Type
	off int    // where raw begins in the message
	raw []byte // the field with its tag
	val []byte // what a length-delimited field holds; of any other the value as it is encoded
}

// fields are the fields of the message b. It ends after the first error.
func fields(b []byte) iter.Seq2[field, error] {
	return func(yield func(field, error) bool) {
		for off := 0; off < len(b); {
			f, err := fieldAt(b, off)
			if !yield(f, err) || err != nil {
				return
			}
			off += len(f.raw)
		}
	}
}

func fieldAt(b []byte, off int) (field, error) {
	num, typ, tag := protowire.ConsumeTag(b[off:])
	if tag < 0 {
		return field{}, fmt.Errorf("read tag at byte %d: %w: %w", off, protowire.ParseError(tag), ErrMalformed)
	}
	n := protowire.ConsumeFieldValue(num, typ, b[off+tag:])
	if n < 0 {
		return field{}, fmt.Errorf("read field %d at byte %d: %w: %w", num, off, protowire.ParseError(n), ErrMalformed)
	}
	end := off + tag + n
	f := field{num: num, typ: typ, off: off, raw: b[off:end:end], val: b[off+tag : end : end]}
	if typ == protowire.BytesType {
		_, size := protowire.ConsumeVarint(f.val)
		f.val = f.val[size:]
	}
	return f, nil
}

// uint is the value of a varint field.
func (f field) uint() (uint64, error) {
	if f.typ != protowire.VarintType {
		return 0, f.mistyped()
	}
	v, _ := protowire.ConsumeVarint(f.val)
	return v, nil
}

// int is the value of a varint field as protobuf's int64 and enums have it.
func (f field) int() (int64, error) {
	v, err := f.uint()
	return int64(v), err
}

// bytes is what a length-delimited field holds.
func (f field) bytes() ([]byte, error) {
	if f.typ != protowire.BytesType {
		return nil, f.mistyped()
	}
	return f.val, nil
}

// text is what a string field holds.
func (f field) text() (string, error) {
	if f.typ != protowire.BytesType {
		return "", f.mistyped()
	}
	if !utf8.Valid(f.val) {
		return "", fmt.Errorf("field %d is no UTF-8: %w", f.num, ErrMalformed)
	}
	return string(f.val), nil
}

func (f field) mistyped() error {
	return fmt.Errorf("field %d has wire type %d: %w", f.num, f.typ, ErrMalformed)
}

// unknown is the error for a field that this version does not know. To pass over it could lose data.
func (f field) unknown() error {
	return fmt.Errorf("field %d is unknown: %w", f.num, ErrUnsupported)
}

// packed collects the values of a repeated number, which may come packed, in several chunks, or one by one.
type packed struct {
	data []byte // the values as they are encoded; the message's own bytes as long as there is one chunk
}

// add takes the next occurrence of the field, whose values are of the wire type typ.
func (p *packed) add(f field, typ protowire.Type) error {
	if f.typ != protowire.BytesType && f.typ != typ {
		return f.mistyped()
	}
	switch {
	case len(f.val) == 0:
	case p.data == nil:
		p.data = f.val
	default:
		p.data = append(p.data, f.val...) // f.val is clipped, so the first append copies
	}
	return nil
}

// appendMessageField appends a length-delimited field's tag and length; size bytes have to follow.
func appendMessageField(b []byte, num protowire.Number, size int) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(size))
}

// sizeMessageField is the size of a length-delimited field that holds size bytes.
func sizeMessageField(num protowire.Number, size int) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(size)
}

// appendNumber appends a varint field; as in proto3, zero is absent.
func appendNumber(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func sizeNumber(num protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeVarint(v)
}

// appendText appends a string field; as in proto3, the empty string is absent.
func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func sizeText(num protowire.Number, s string) int {
	if s == "" {
		return 0
	}
	return sizeMessageField(num, len(s))
}
