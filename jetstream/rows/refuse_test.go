package rows_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/encoding/protowire"

	"kitestream/jetstream/rows"
)

// refusal is columns that Parse must refuse, and what its error has to say.
type refusal struct {
	name  string
	cols  [][]byte
	n     int
	err   error
	words string
}

func checkRefusals(t *testing.T, refusals []refusal) {
	t.Helper()
	for _, tc := range refusals {
		t.Run(tc.name, func(t *testing.T) {
			_, err := rows.Parse(tc.cols, tc.n)
			checkRefusal(t, err, tc.err, tc.words)
		})
	}
}

func TestParseRefusesCountsThatDiffer(t *testing.T) {
	one := longColumn("f", 1)
	shortValid := longColumn("f", 1, 2)
	shortValid.ValidData = []bool{true}
	compressed := longColumn("f", 1)
	compressed.ValidData = []bool{true, false}
	name := appendString(nil, 2, "tags")
	checkRefusals(t, []refusal{
		{"too few rows", [][]byte{marshal(t, one)}, 2, rows.ErrMalformed, `field "f" (Int64): 1 rows instead of 2`},
		{"too many rows", [][]byte{marshal(t, one)}, 0, rows.ErrMalformed, `1 rows instead of 0`},
		{"a negative count", nil, -1, rows.ErrMalformed, ""},
		{"rows without columns", nil, 1, rows.ErrMalformed, ""},
		{"an absurd count", [][]byte{marshal(t, one)}, 1 << 60, rows.ErrMalformed, ""},
		{"an absurd count of strings", [][]byte{member(3, 6, []byte{0x0a, 0})}, 1 << 60, rows.ErrMalformed, ""},
		{"an absurd count of vectors without dim", [][]byte{member(4, 3, nil)}, 1 << 60, rows.ErrMalformed, ""},
		{"a field twice", [][]byte{marshal(t, one), marshal(t, one)}, 1, rows.ErrMalformed, `field "f" (Int64) is there twice`},
		{"too few nulls", [][]byte{marshal(t, shortValid)}, 2, rows.ErrMalformed, "nulls of 1 rows instead of 2"},
		{"the compressed form", [][]byte{marshal(t, compressed)}, 2, rows.ErrMalformed, "1 rows instead of 2"},
		{"a column without data", [][]byte{name}, 1, rows.ErrMalformed, `field "tags" (None): 0 rows`},
	})
}

func TestParseRefusesBadEncodings(t *testing.T) {
	one := longColumn("f", 1)
	name := appendString(nil, 2, "tags")
	checkRefusals(t, []refusal{
		{"a dim that doesn't divide", [][]byte{marshal(t, vectorColumn(4, 1, 2, 3))}, 1, rows.ErrMalformed, "12 bytes don't divide into rows of 16"},
		{"a vector without dim", [][]byte{marshal(t, vectorColumn(0, 1, 2, 3))}, 1, rows.ErrMalformed, ""},
		{"a negative dim", [][]byte{marshal(t, vectorColumn(-4, 1, 2, 3))}, 1, rows.ErrMalformed, "dim -4"},
		{"an absurd dim", [][]byte{marshal(t, vectorColumn(1<<62, 1, 2, 3))}, 1, rows.ErrMalformed, ""},
		{"a binary dim of no whole bytes", [][]byte{slices.Concat(name, editField(member(4, 3, []byte{1}), 4, func(b []byte) []byte {
			return append(b, 0x08, 7)
		}))}, 1, rows.ErrMalformed, "dim 7"},
		{"half a float", [][]byte{member(3, 4, []byte{0x0a, 2, 0, 0})}, 1, rows.ErrMalformed, ""},
		{"an endless number", [][]byte{member(3, 3, append([]byte{0x0a, 11}, bytes.Repeat([]byte{0xff}, 11)...))}, 1, rows.ErrMalformed, ""},
		{"a string that is none", [][]byte{member(3, 6, []byte{0x0a, 1, 0xff})}, 1, rows.ErrMalformed, "row 0 is no UTF-8"},
		{"a name that is no string", [][]byte{{0x12, 1, 0xff}}, 1, rows.ErrMalformed, ""},
		{"bytes cut short", [][]byte{marshal(t, one)[:5]}, 1, rows.ErrMalformed, ""},
		{"data twice", [][]byte{slices.Concat(member(3, 3, nil), member(3, 3, nil))}, 0, rows.ErrMalformed, "data twice"},
		{"data of two kinds", [][]byte{editField(member(3, 3, nil), 3, func(b []byte) []byte { return append(b, 0x0a, 0) })}, 0, rows.ErrMalformed, "data twice"},
		{"scalars that are a number", [][]byte{{0x18, 1}}, 0, rows.ErrMalformed, "wire type"},
		{"longs that are a number", [][]byte{{0x1a, 2, 0x18, 1}}, 0, rows.ErrMalformed, "wire type"},
		{"strings that are numbers", [][]byte{member(3, 6, []byte{0x08, 1})}, 1, rows.ErrMalformed, "wire type"},
	})
}

// What a later Milvus may send is no mistake, but must not be lost.
func TestParseRefusesTheUnknown(t *testing.T) {
	name := appendString(nil, 2, "tags")
	array := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(schemapb.DataType_Array))
	checkRefusals(t, []refusal{
		{"a scalar of an unknown kind", [][]byte{slices.Concat(array, member(3, 13, nil), name)}, 0, rows.ErrUnsupported, `field "tags" (Array): scalar data of kind 13`},
		{"a vector of an unknown kind", [][]byte{slices.Concat(member(4, 8, nil), name)}, 0, rows.ErrUnsupported, `field "tags" (None): vector data of kind 8`},
		{"arrays of structs", [][]byte{appendString(name, 8, "")}, 0, rows.ErrUnsupported, `field "tags" (None): field 8 is unknown`},
		{"more beside the rows", [][]byte{member(3, 3, []byte{0x10, 1})}, 0, rows.ErrUnsupported, "field 2 is unknown"},
		{"more beside the strings", [][]byte{member(3, 6, []byte{0x10, 1})}, 0, rows.ErrUnsupported, "field 2 is unknown"},
	})
}

// member is a FieldData that has nothing but a field of its ScalarField or VectorField.
func member(part, num protowire.Number, content []byte) []byte {
	inner := protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), content)
	return protowire.AppendBytes(protowire.AppendTag(nil, part, protowire.BytesType), inner)
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(slices.Clone(b), num, protowire.BytesType), s)
}
