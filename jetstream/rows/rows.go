package rows

import (
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Rows are rows of several fields, held as columns. They are never changed once made, and so may be used by many
// goroutines. The zero value has no rows and no fields.
type Rows struct {
	n    int
	cols []*column
}

// Parse reads n rows from their columns, each a serialized schemapb.FieldData in the form of the source's queue: n
// values in every column, with placeholders where a row is null. The Rows point into fieldData, which must not be
// changed after.
//
// Every column has to have n rows, and the fields have to differ in name. The error names the field, and wraps
// ErrMalformed or ErrUnsupported.
func Parse(fieldData [][]byte, n int) (*Rows, error) {
	if n < 0 || n > 0 && len(fieldData) == 0 {
		return nil, fmt.Errorf("%d rows in %d columns: %w", n, len(fieldData), ErrMalformed)
	}
	r := &Rows{n: n, cols: make([]*column, 0, len(fieldData))}
	for _, b := range fieldData {
		c, err := parseColumn(b, n)
		if err != nil {
			return nil, err
		}
		if r.column(c.name, 0) != nil {
			return nil, fmt.Errorf("%s is there twice: %w", c, ErrMalformed)
		}
		r.cols = append(r.cols, c)
	}
	return r, nil
}

// column is the column of that name, nil if there is none. It is probably the one at place likely.
func (r *Rows) column(name string, likely int) *column {
	if likely < len(r.cols) && r.cols[likely].name == name {
		return r.cols[likely]
	}
	for _, c := range r.cols {
		if c.name == name {
			return c
		}
	}
	return nil
}

// Len is how many rows there are.
func (r *Rows) Len() int { return r.n }

// Fields are the names of the fields, in the order of the message.
func (r *Rows) Fields() []string {
	names := make([]string, len(r.cols))
	for i, c := range r.cols {
		names[i] = c.name
	}
	return names
}

// Has reports whether there is a field of that name.
func (r *Rows) Has(field string) bool { return r.column(field, 0) != nil }

// Without is the rows without some fields, which need not be there.
func (r *Rows) Without(fields ...string) *Rows {
	out := &Rows{n: r.n, cols: make([]*column, 0, len(r.cols))}
	for _, c := range r.cols {
		if !slices.Contains(fields, c.name) {
			out.cols = append(out.cols, c)
		}
	}
	return out
}

// MarkValid is the rows with no row of these fields null, said expressly where the column doesn't say anything of
// nulls. A request to Milvus has to say so of a field with a default value, or the default takes the place of what is
// sent. A field that does say which rows are null, or that is not there, stays as it is.
func (r *Rows) MarkValid(fields ...string) *Rows {
	out := &Rows{n: r.n, cols: slices.Clone(r.cols)}
	for i, c := range r.cols {
		if c.valid == nil && slices.Contains(fields, c.name) {
			marked := *c
			marked.valid = slices.Repeat([]bool{true}, r.n)
			out.cols[i] = &marked
		}
	}
	return out
}

// Keys are the values of the primary key field: integers, or strings. They are copies.
func (r *Rows) Keys(field string) (Keys, error) {
	c := r.column(field, 0)
	if c == nil {
		return Keys{}, fmt.Errorf("rows have no field %q: %w", field, ErrFields)
	}
	switch {
	case c.layout.part == scalarPart && c.layout.member == longMember:
		return Keys{Ints: c.rows.ints()}, nil
	case c.layout.part == scalarPart && c.layout.member == stringMember:
		return Keys{Strings: c.rows.strings()}, nil
	case r.n == 0:
		return Keys{}, nil
	}
	return Keys{}, fmt.Errorf("%s can't be the primary key: %w", c, ErrFields)
}

// Size is the encoded size of all columns: what AppendTo appends, for a tag below 16.
func (r *Rows) Size() int { return size(r.cols, 1) }

func size(cols []*column, tag protowire.Number) int {
	n := 0
	for _, c := range cols {
		n += sizeMessageField(tag, c.size())
	}
	return n
}

// RowBytes is what row i adds to Size. What is left of Size, the fields' names and lengths, only gets less when there
// are fewer rows.
func (r *Rows) RowBytes(i int) int {
	n := 0
	for _, c := range r.cols {
		n += c.rowSize(i)
	}
	return n
}

// payload is the sum of RowBytes.
func (r *Rows) payload() int {
	n := 0
	for _, c := range r.cols {
		n += len(c.rows.data) + len(c.valid)
	}
	return n
}

// AppendOption changes how AppendTo encodes.
type AppendOption uint8

// CompressNulls leaves the values of null rows out, as Milvus wants of client requests; its queue, and Parse, have a
// placeholder for each.
const CompressNulls AppendOption = 1

// AppendTo appends every column to b as a length-delimited field of number tag, which holds a schemapb.FieldData, and
// returns the longer slice. It grows b once.
func (r *Rows) AppendTo(b []byte, tag protowire.Number, options ...AppendOption) []byte {
	cols := r.cols
	if slices.Contains(options, CompressNulls) {
		cols = make([]*column, len(r.cols))
		for i, c := range r.cols {
			cols[i] = c.compressed()
		}
	}
	b = slices.Grow(b, size(cols, tag))
	for _, c := range cols {
		b = appendMessageField(b, tag, c.size())
		b = c.appendTo(b)
	}
	return b
}

// FieldData is the columns in their generated form, value by value: for oracles and tests. It fails on an array whose
// rows are no schemapb.ScalarField, which nothing else here looks into.
func (r *Rows) FieldData() ([]*schemapb.FieldData, error) {
	out := make([]*schemapb.FieldData, len(r.cols))
	for i, c := range r.cols {
		out[i] = &schemapb.FieldData{}
		if err := proto.Unmarshal(c.appendTo(nil), out[i]); err != nil {
			return nil, fmt.Errorf("decode %s: %w", c, err)
		}
	}
	return out, nil
}
