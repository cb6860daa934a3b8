package rows

import (
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/encoding/protowire"
)

// column is one schemapb.FieldData. It is never changed once it stands in Rows.
type column struct {
	name    string
	typ     int64 // schemapb.DataType
	id      int64
	dynamic bool

	layout layout
	dim    int64 // of a vector
	second int64 // field 2 of the message with the rows: see layout
	rows   records
	valid  []bool // false where a row is null, which holds a placeholder; nil where the column says nothing of nulls
}

// parseColumn reads the FieldData b, which should hold n rows.
func parseColumn(b []byte, n int) (*column, error) {
	c := &column{}
	part, err := c.parseHead(b, n)
	if err == nil {
		err = c.parsePart(part, n)
	}
	if err == nil && c.rows.len() != n {
		err = fmt.Errorf("%d rows instead of %d: %w", c.rows.len(), n, ErrMalformed)
	}
	if err == nil && c.valid != nil && len(c.valid) != n {
		err = fmt.Errorf("nulls of %d rows instead of %d: %w", len(c.valid), n, ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", c, err)
	}
	return c, nil
}

// String names the column in errors.
func (c *column) String() string {
	return fmt.Sprintf("field %q (%s)", c.name, schemapb.DataType(c.typ))
}

// parseHead reads everything but the rows, and returns the field that holds those.
func (c *column) parseHead(b []byte, n int) (part field, err error) {
	var valid packed
	for f, err := range fields(b) {
		switch {
		case err != nil:
		case f.num == 1:
			c.typ, err = f.int()
		case f.num == 2:
			c.name, err = f.text()
		case f.num == scalarPart || f.num == vectorPart:
			if part.num != 0 {
				err = fmt.Errorf("data twice: %w", ErrMalformed)
			}
			part = f
		case f.num == 5:
			c.id, err = f.int()
		case f.num == 6:
			var v uint64
			v, err = f.uint()
			c.dynamic = v != 0
		case f.num == 7:
			err = valid.add(f, protowire.VarintType)
		default: // 8 is struct_arrays, of Milvus 2.6
			err = f.unknown()
		}
		if err != nil {
			return part, err
		}
	}
	c.valid, err = bools(valid.data, n)
	return part, err
}

// bools is the packed list b, nil if it is empty. There should be n.
func bools(b []byte, n int) ([]bool, error) {
	if len(b) == 0 {
		return nil, nil
	}
	out := make([]bool, 0, min(n, len(b)))
	for len(b) > 0 {
		v, size := protowire.ConsumeVarint(b)
		if size < 0 {
			return nil, fmt.Errorf("read null %d: %w: %w", len(out), protowire.ParseError(size), ErrMalformed)
		}
		out = append(out, v != 0)
		b = b[size:]
	}
	return out, nil
}

// parsePart reads the rows from the ScalarField or VectorField.
func (c *column) parsePart(part field, n int) error {
	if part.num == 0 {
		return nil
	}
	c.layout.part = part.num
	b, err := part.bytes()
	if err != nil {
		return err
	}
	var member field
	for f, err := range fields(b) {
		switch {
		case err != nil:
		case f.num == 1 && part.num == vectorPart:
			c.dim, err = f.int()
		case member.num != 0:
			err = fmt.Errorf("data twice: %w", ErrMalformed)
		default:
			member = f
		}
		if err != nil {
			return err
		}
	}
	if member.num == 0 {
		return nil
	}
	return c.parseMember(part.num, member, n)
}

func (c *column) parseMember(part protowire.Number, member field, n int) error {
	var known bool
	if part == scalarPart {
		c.layout, known = scalarLayout(member.num)
	} else {
		c.layout, known = vectorLayout(member.num)
	}
	if !known {
		name := map[protowire.Number]string{scalarPart: "scalar", vectorPart: "vector"}[part]
		return fmt.Errorf("%s data of kind %d: %w", name, member.num, ErrUnsupported)
	}
	b, err := member.bytes()
	if err != nil {
		return err
	}
	c.rows, c.second, err = c.layout.parse(b, c.dim, n)
	return err
}

// nulls reports whether some row is null.
func (c *column) nulls() bool {
	for _, ok := range c.valid {
		if !ok {
			return true
		}
	}
	return false
}

// compressed is the column with the rows that are not null only, beside a valid list of full length: what Milvus
// wants of requests.
func (c *column) compressed() *column {
	if !c.nulls() {
		return c
	}
	index := make([]int, 0, len(c.valid))
	for i, ok := range c.valid {
		if ok {
			index = append(index, i)
		}
	}
	runs, out := runsOf(index), *c
	out.rows = makeRecords(c.rows.stride, len(index), c.rows.size(runs))
	out.rows.appendRuns(&c.rows, runs)
	return &out
}

// rowSize is what row i adds to the size of the encoded column, but for lengths that get longer.
func (c *column) rowSize(i int) int {
	lo, hi := c.rows.span(i, i+1)
	if c.valid != nil {
		return hi - lo + 1
	}
	return hi - lo
}

// partSize is the size of the ScalarField or VectorField.
func (c *column) partSize() int {
	size := sizeNumber(1, uint64(c.dim))
	if c.layout.shape != noRows {
		size += sizeMessageField(c.layout.member, c.layout.contentSize(&c.rows, c.second))
	}
	return size
}

// size is the size of the encoded FieldData.
func (c *column) size() int {
	size := sizeNumber(1, uint64(c.typ)) + sizeText(2, c.name) + sizeNumber(5, uint64(c.id))
	if c.layout.part != 0 {
		size += sizeMessageField(c.layout.part, c.partSize())
	}
	if c.dynamic {
		size += sizeNumber(6, 1)
	}
	if len(c.valid) > 0 {
		size += sizeMessageField(7, len(c.valid))
	}
	return size
}

// appendTo appends the encoded FieldData.
func (c *column) appendTo(b []byte) []byte {
	b = appendNumber(b, 1, uint64(c.typ))
	b = appendText(b, 2, c.name)
	if c.layout.part != 0 {
		b = c.appendPart(b)
	}
	b = appendNumber(b, 5, uint64(c.id))
	if c.dynamic {
		b = appendNumber(b, 6, 1)
	}
	if len(c.valid) == 0 {
		return b
	}
	b = appendMessageField(b, 7, len(c.valid))
	for _, ok := range c.valid {
		b = append(b, byte(protowire.EncodeBool(ok)))
	}
	return b
}

func (c *column) appendPart(b []byte) []byte {
	b = appendMessageField(b, c.layout.part, c.partSize())
	b = appendNumber(b, 1, uint64(c.dim)) // zero, and so absent, in a ScalarField
	if c.layout.shape == noRows {
		return b
	}
	b = appendMessageField(b, c.layout.member, c.layout.contentSize(&c.rows, c.second))
	return c.layout.appendContent(b, &c.rows, c.second)
}
