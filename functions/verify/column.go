package verify

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"
)

// metaField is the column that holds what rows have beyond the schema's fields.
const metaField = "$meta"

// column is one field of several rows. Two values are the same if and only if their bytes are, but for JSON, which a Milvus Lite
// writes in its own words.
type column struct {
	name   string
	n      int
	valid  []bool                       // nil: no row is null
	json   bool                         // the bytes are JSON
	append func(b []byte, i int) []byte // the value of row i behind b, bit for bit
	text   func(i int) string           // the value for people, long or short
	floats func(i int) []float32        // nil for all but vectors of floats
}

// newColumn reads a column. The error names a kind of data that this version does not know.
func newColumn(fd *schemapb.FieldData) (*column, error) {
	c := &column{name: fd.GetFieldName()}
	if fd.GetIsDynamic() {
		c.name = metaField
	}
	known := false
	switch f := fd.GetField().(type) {
	case *schemapb.FieldData_Scalars:
		known = c.scalars(f.Scalars)
	case *schemapb.FieldData_Vectors:
		known = c.vectors(f.Vectors)
	}
	if !known {
		return nil, fmt.Errorf("field %q has data of a kind that is not known: %s", c.name, fd.GetType())
	}
	if v := fd.GetValidData(); len(v) > 0 {
		c.valid = v
	}
	return c, nil
}

// null reports whether row i has no value.
func (c *column) null(i int) bool { return c.valid != nil && !c.valid[i] }

// value appends row i, null or not, so that no two different values have the same bytes.
func (c *column) value(b []byte, i int) []byte {
	if c.null(i) {
		return append(b, 0)
	}
	return c.append(append(b, 1), i)
}

// show is row i for people, in a few characters.
func (c *column) show(i int) string {
	if c.null(i) {
		return "null"
	}
	return shorten(c.text(i))
}

// shown is how many bytes of a value a report holds.
const shown = 80

func shorten(s string) string {
	if len(s) <= shown {
		return s
	}
	return strings.ToValidUTF8(s[:shown], "") + "…"
}

// set gives the column n rows.
func (c *column) set(n int, put func(b []byte, i int) []byte, text func(i int) string) bool {
	c.n, c.append, c.text = n, put, text
	return true
}

func (c *column) scalars(f *schemapb.ScalarField) bool {
	switch d := f.GetData().(type) {
	case *schemapb.ScalarField_BoolData:
		v := d.BoolData.GetData()
		return c.set(len(v), func(b []byte, i int) []byte { return append(b, byteOf(v[i])) }, func(i int) string { return strconv.FormatBool(v[i]) })
	case *schemapb.ScalarField_IntData:
		v := d.IntData.GetData()
		return c.set(len(v), func(b []byte, i int) []byte { return put64(b, uint64(v[i])) }, func(i int) string { return strconv.FormatInt(int64(v[i]), 10) })
	case *schemapb.ScalarField_LongData:
		return c.longs(d.LongData.GetData())
	case *schemapb.ScalarField_TimestamptzData:
		return c.longs(d.TimestamptzData.GetData())
	case *schemapb.ScalarField_FloatData:
		v := d.FloatData.GetData()
		return c.set(len(v), func(b []byte, i int) []byte { return put32(b, math.Float32bits(v[i])) }, func(i int) string { return float32Text(v[i]) })
	case *schemapb.ScalarField_DoubleData:
		v := d.DoubleData.GetData()
		return c.set(len(v), func(b []byte, i int) []byte { return put64(b, math.Float64bits(v[i])) }, func(i int) string { return float64Text(v[i]) })
	case *schemapb.ScalarField_StringData:
		v := d.StringData.GetData()
		return c.set(len(v), func(b []byte, i int) []byte { return append(b, v[i]...) }, func(i int) string { return strconv.Quote(v[i]) })
	case *schemapb.ScalarField_BytesData:
		return c.bytes(d.BytesData.GetData(), "%x")
	case *schemapb.ScalarField_JsonData:
		c.json = true
		return c.bytes(d.JsonData.GetData(), "%s")
	case *schemapb.ScalarField_ArrayData:
		v := d.ArrayData.GetData()
		return c.set(len(v), func(b []byte, i int) []byte { return putArray(b, v[i]) }, func(i int) string { return arrayText(v[i]) })
	}
	return false
}

func (c *column) longs(v []int64) bool {
	return c.set(len(v), func(b []byte, i int) []byte { return put64(b, uint64(v[i])) }, func(i int) string { return strconv.FormatInt(v[i], 10) })
}

func (c *column) bytes(v [][]byte, format string) bool {
	return c.set(len(v), func(b []byte, i int) []byte { return append(b, v[i]...) }, func(i int) string { return fmt.Sprintf(format, v[i]) })
}

func (c *column) vectors(f *schemapb.VectorField) bool {
	dim := int(f.GetDim())
	switch d := f.GetData().(type) {
	case *schemapb.VectorField_FloatVector:
		v := d.FloatVector.GetData()
		if dim <= 0 || len(v)%dim != 0 {
			return false
		}
		c.floats = func(i int) []float32 { return v[i*dim : (i+1)*dim] }
		return c.set(len(v)/dim, func(b []byte, i int) []byte {
			for _, x := range c.floats(i) {
				b = put32(b, math.Float32bits(x))
			}
			return b
		}, func(i int) string { return floatsText(c.floats(i)) })
	case *schemapb.VectorField_BinaryVector:
		return c.packed(d.BinaryVector, dim/8)
	case *schemapb.VectorField_Float16Vector:
		return c.packed(d.Float16Vector, dim*2)
	case *schemapb.VectorField_Bfloat16Vector:
		return c.packed(d.Bfloat16Vector, dim*2)
	case *schemapb.VectorField_Int8Vector:
		return c.packed(d.Int8Vector, dim)
	case *schemapb.VectorField_SparseFloatVector:
		return c.bytes(d.SparseFloatVector.GetContents(), "0x%x")
	}
	return false
}

func (c *column) packed(v []byte, size int) bool {
	if size <= 0 || len(v)%size != 0 {
		return false
	}
	at := func(i int) []byte { return v[i*size : (i+1)*size] }
	return c.set(len(v)/size, func(b []byte, i int) []byte { return append(b, at(i)...) }, func(i int) string { return fmt.Sprintf("0x%x", at(i)) })
}

// putArray appends an array's elements, each with its length, so that arrays differ if any element does. One without elements
// may or may not say of which type those would be.
func putArray(b []byte, f *schemapb.ScalarField) []byte {
	var c column
	switch {
	case f.GetData() == nil:
		return b
	case !c.scalars(f): // elements of a later version's kind
		b, _ = proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, f) // fails for text that is no UTF-8, which was unmarshalled
		return b
	}
	for i := range c.n {
		at := len(b)
		b = c.append(put32(b, 0), i)
		binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	}
	return b
}

func arrayText(f *schemapb.ScalarField) string {
	var c column
	if f.GetData() == nil || !c.scalars(f) {
		return "[]"
	}
	var b strings.Builder
	for i := 0; i < c.n && b.Len() <= shown; i++ {
		b.WriteString(" " + c.text(i))
	}
	return "[" + strings.TrimPrefix(b.String(), " ") + "]"
}

func floatsText(v []float32) string {
	var b strings.Builder
	for i := 0; i < len(v) && b.Len() <= shown; i++ {
		b.WriteString(" " + float32Text(v[i]))
	}
	return "[" + strings.TrimPrefix(b.String(), " ") + "]"
}

// The texts of numbers tell every bit: with precision -1 they can be read back, and a NaN shows its payload.

func float32Text(x float32) string {
	if x != x {
		return fmt.Sprintf("NaN(%08x)", math.Float32bits(x))
	}
	return strconv.FormatFloat(float64(x), 'g', -1, 32)
}

func float64Text(x float64) string {
	if x != x {
		return fmt.Sprintf("NaN(%016x)", math.Float64bits(x))
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

func put32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }
func put64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }

func byteOf(v bool) byte {
	if v {
		return 1
	}
	return 0
}
