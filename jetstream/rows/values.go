package rows

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The members of schemapb.ScalarField that Values reads, beside those that can be primary keys.
const (
	boolMember   protowire.Number = 1
	intMember    protowire.Number = 2
	floatMember  protowire.Number = 4
	doubleMember protowire.Number = 5
	arrayMember  protowire.Number = 8
	jsonMember   protowire.Number = 9
)

// Values reads the values of one scalar field, row by row, each when it is asked for.
type Values struct {
	c  *column
	at func(c *column, i int) (any, error)
}

// Values are those of a field. A field that is a vector, or of a type whose values mean nothing by themselves, is an
// ErrFields, and so is one that is not there.
func (r *Rows) Values(field string) (Values, error) {
	c := r.column(field, 0)
	if c == nil {
		return Values{}, fmt.Errorf("rows have no field %q: %w", field, ErrFields)
	}
	v := Values{c: c}
	switch {
	case c.layout.shape == noRows:
		v.at = func(*column, int) (any, error) { return nil, nil }
	case c.layout.part != scalarPart:
	default:
		v.at = readers[c.layout.member]
	}
	if v.at == nil {
		return Values{}, fmt.Errorf("%s has no values to look at: %w", c, ErrFields)
	}
	return v, nil
}

// readers read a row by the member of the column.
var readers = map[protowire.Number]func(c *column, i int) (any, error){
	boolMember:   func(c *column, i int) (any, error) { return c.number(i) != 0, nil },
	intMember:    func(c *column, i int) (any, error) { return int64(int32(c.number(i))), nil },
	longMember:   func(c *column, i int) (any, error) { return int64(c.number(i)), nil },
	floatMember:  func(c *column, i int) (any, error) { return float64(c.float(i)), nil },
	doubleMember: func(c *column, i int) (any, error) { return c.double(i), nil },
	stringMember: func(c *column, i int) (any, error) { return string(entry(c.rows.row(i))), nil },
	jsonMember:   func(c *column, i int) (any, error) { return entry(c.rows.row(i)), nil },
	arrayMember:  func(c *column, i int) (any, error) { return c.array(i) },
}

func (c *column) number(i int) uint64 {
	v, _ := protowire.ConsumeVarint(c.rows.row(i))
	return v
}

func (c *column) float(i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(c.rows.row(i)))
}

func (c *column) double(i int) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(c.rows.row(i)))
}

// array decodes a row of an array column. An array without elements says nothing of its type.
func (c *column) array(i int) (any, error) {
	f := &schemapb.ScalarField{}
	if err := proto.Unmarshal(entry(c.rows.row(i)), f); err != nil {
		return nil, fmt.Errorf("decode row %d of %s: %w: %w", i, c, err, ErrMalformed)
	}
	switch d := f.GetData().(type) {
	case *schemapb.ScalarField_BoolData:
		return d.BoolData.GetData(), nil
	case *schemapb.ScalarField_IntData:
		return convert[int64](d.IntData.GetData()), nil
	case *schemapb.ScalarField_LongData:
		return d.LongData.GetData(), nil
	case *schemapb.ScalarField_FloatData:
		return convert[float64](d.FloatData.GetData()), nil
	case *schemapb.ScalarField_DoubleData:
		return d.DoubleData.GetData(), nil
	case *schemapb.ScalarField_StringData:
		return d.StringData.GetData(), nil
	case nil:
		return []any{}, nil
	}
	return nil, fmt.Errorf("row %d of %s has elements of an unknown kind: %w", i, c, ErrUnsupported)
}

func convert[To int64 | float64, From int32 | float32](from []From) []To {
	out := make([]To, len(from))
	for i, v := range from {
		out[i] = To(v)
	}
	return out
}

// At is the value of row i: nil for a null, a bool, int64, float64 or string, []byte of JSON, or for an array a slice of
// bool, int64, float64 or string. The bytes are those of the column and must not be changed. An index out of range
// panics, as that of a slice does.
func (v Values) At(i int) (any, error) {
	if v.c.valid != nil && !v.c.valid[i] {
		return nil, nil
	}
	return v.at(v.c, i)
}
