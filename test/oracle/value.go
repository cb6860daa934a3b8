package oracle

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// column is one field of several rows.
type column struct {
	name string
	n    int
	at   func(i int) string // the canonical value in a row
}

var errUnknownType = errors.New("data of a type that the oracle does not know")

func newColumn(fd *schemapb.FieldData) (column, error) {
	c := column{name: fd.GetFieldName()}
	if fd.GetIsDynamic() {
		c.name = dynamicField
	}
	var err error
	switch f := fd.GetField().(type) {
	case *schemapb.FieldData_Scalars:
		c.n, c.at, err = scalars(f.Scalars)
	case *schemapb.FieldData_Vectors:
		c.n, c.at, err = vectors(f.Vectors)
	default:
		err = fmt.Errorf("%w: %T", errUnknownType, f)
	}
	if valid := fd.GetValidData(); err == nil && len(valid) > 0 {
		value := c.at
		c.n = len(valid)
		c.at = func(i int) string {
			if !valid[i] {
				return "null"
			}
			return value(i)
		}
	}
	return c, err
}

// scalars reads a field of numbers, strings, JSON or arrays.
func scalars(f *schemapb.ScalarField) (n int, at func(int) string, err error) {
	switch d := f.GetData().(type) {
	case *schemapb.ScalarField_BoolData:
		v := d.BoolData.GetData()
		return len(v), func(i int) string { return strconv.FormatBool(v[i]) }, nil
	case *schemapb.ScalarField_IntData:
		v := d.IntData.GetData()
		return len(v), func(i int) string { return strconv.FormatInt(int64(v[i]), 10) }, nil
	case *schemapb.ScalarField_LongData:
		v := d.LongData.GetData()
		return len(v), func(i int) string { return strconv.FormatInt(v[i], 10) }, nil
	case *schemapb.ScalarField_FloatData:
		v := d.FloatData.GetData()
		return len(v), func(i int) string { return float32Text(v[i]) }, nil
	case *schemapb.ScalarField_DoubleData:
		v := d.DoubleData.GetData()
		return len(v), func(i int) string { return float64Text(v[i]) }, nil
	case *schemapb.ScalarField_StringData:
		v := d.StringData.GetData()
		return len(v), func(i int) string { return text(v[i]) }, nil
	case *schemapb.ScalarField_BytesData:
		v := d.BytesData.GetData()
		return len(v), func(i int) string { return text(string(v[i])) }, nil
	case *schemapb.ScalarField_JsonData:
		v := d.JsonData.GetData()
		return len(v), func(i int) string { return text(string(v[i])) }, nil
	case *schemapb.ScalarField_ArrayData:
		v := d.ArrayData.GetData()
		return len(v), func(i int) string { return array(v[i]) }, nil
	default:
		return 0, nil, fmt.Errorf("%w: %T", errUnknownType, d)
	}
}

// array is the canonical value of one row of an array field.
func array(f *schemapb.ScalarField) string {
	if f.GetData() == nil {
		return "[]"
	}
	n, at, err := scalars(f)
	if err != nil {
		return err.Error()
	}
	parts := make([]string, n)
	for i := range parts {
		parts[i] = at(i)
	}
	s := "[" + strings.Join(parts, " ") + "]"
	return short(s, s)
}

// vectors reads a field of vectors.
func vectors(f *schemapb.VectorField) (n int, at func(int) string, err error) {
	dim := int(f.GetDim())
	switch d := f.GetData().(type) {
	case *schemapb.VectorField_FloatVector:
		v := d.FloatVector.GetData()
		if dim == 0 || len(v)%dim != 0 {
			return 0, nil, fmt.Errorf("%d values are no vectors of dimension %d", len(v), dim)
		}
		return len(v) / dim, func(i int) string { return floatVector(v[i*dim : (i+1)*dim]) }, nil
	case *schemapb.VectorField_BinaryVector:
		return byteVectors(d.BinaryVector, dim/8)
	case *schemapb.VectorField_Float16Vector:
		return byteVectors(d.Float16Vector, dim*2)
	case *schemapb.VectorField_Bfloat16Vector:
		return byteVectors(d.Bfloat16Vector, dim*2)
	case *schemapb.VectorField_Int8Vector:
		return byteVectors(d.Int8Vector, dim)
	case *schemapb.VectorField_SparseFloatVector:
		v := d.SparseFloatVector.GetContents()
		return len(v), func(i int) string { return hashed("sparse "+hex.EncodeToString(v[i][:min(8, len(v[i]))]), v[i]) }, nil
	default:
		return 0, nil, fmt.Errorf("%w: %T", errUnknownType, d)
	}
}

func byteVectors(v []byte, size int) (n int, at func(int) string, err error) {
	if size == 0 || len(v)%size != 0 {
		return 0, nil, fmt.Errorf("%d bytes are no vectors of %d bytes", len(v), size)
	}
	return len(v) / size, func(i int) string {
		one := v[i*size : (i+1)*size]
		return hashed("0x"+hex.EncodeToString(one[:min(8, size)]), one)
	}, nil
}

// floatVector shows the first values; the hash is of all, bit for bit.
func floatVector(v []float32) string {
	const shown = 3
	b := make([]byte, 0, 4*len(v))
	s := "["
	for i, x := range v {
		if i < shown {
			s += float32Text(x) + " "
		}
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return hashed(fmt.Sprintf("%s… %d]", s, len(v)), b)
}

// The texts of numbers tell every bit: 'g' with precision -1 can be read back, and NaNs show their payload.

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

func text(s string) string { return short(strconv.Quote(s), s) }

// shown is how much of a long value a canonical text holds; the rest is in its hash.
const shown = 80

// short is the text itself, or its beginning with the hash of the whole.
func short(s, whole string) string {
	if len(s) <= shown {
		return s
	}
	return hashed(strings.ToValidUTF8(s[:shown], "")+"…", []byte(whole))
}

func hashed(s string, whole []byte) string {
	h := sha256.Sum256(whole)
	return s + " #" + hex.EncodeToString(h[:12])
}
