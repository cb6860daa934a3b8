package rows_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/encoding/protowire"
)

// The same columns in encodings that no encoder makes and every decoder must accept.

// place is where schemapb.FieldData holds a kind of data, and the wire type of a packed list's values (-1: it is no
// packed list).
type place struct {
	part, member protowire.Number
	typ          protowire.Type
}

func placeOf(kind int) place {
	return [kinds]place{
		{3, 1, protowire.VarintType}, {3, 2, protowire.VarintType}, {3, 3, protowire.VarintType}, {3, 4, protowire.Fixed32Type},
		{3, 5, protowire.Fixed64Type}, {3, 6, -1}, {3, 7, -1}, {3, 8, -1}, {3, 9, -1}, {3, 10, -1}, {3, 11, protowire.VarintType},
		{3, 12, -1}, {4, 2, protowire.Fixed32Type}, {4, 3, -1}, {4, 4, -1}, {4, 5, -1}, {4, 6, -1}, {4, 7, -1},
	}[kind]
}

// oddColumn encodes a column with the fields of its messages in any order, and its numbers in several packed chunks
// and one by one.
func oddColumn(rng *rand.Rand, t *testing.T, kind int, fd *schemapb.FieldData) []byte {
	place := placeOf(kind)
	whole := marshal(t, fd)
	whole = editField(whole, place.part, func(part []byte) []byte {
		return shuffleFields(rng, editField(part, place.member, func(content []byte) []byte {
			switch {
			case place.typ >= 0:
				return oddList(rng, content, place.typ)
			case kind == 7 || kind == 16:
				return moveSecond(rng, content)
			}
			return content
		}))
	})
	return shuffleFields(rng, whole)
}

func splitFields(b []byte) [][]byte {
	var out [][]byte
	for len(b) > 0 {
		_, _, n := protowire.ConsumeField(b)
		out = append(out, b[:n:n])
		b = b[n:]
	}
	return out
}

func shuffleFields(rng *rand.Rand, b []byte) []byte {
	parts := splitFields(b)
	rng.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
	return slices.Concat(parts...)
}

// editField changes the content of the length-delimited field num.
func editField(b []byte, num protowire.Number, edit func([]byte) []byte) []byte {
	parts := splitFields(b)
	for i, part := range parts {
		if n, typ, tag := protowire.ConsumeTag(part); n == num && typ == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(part[tag:])
			parts[i] = protowire.AppendBytes(protowire.AppendTag(nil, num, typ), edit(content))
		}
	}
	return slices.Concat(parts...)
}

// moveSecond puts field 2 somewhere between the entries.
func moveSecond(rng *rand.Rand, b []byte) []byte {
	var entries, second [][]byte
	for _, part := range splitFields(b) {
		if num, _, _ := protowire.ConsumeTag(part); num == 2 {
			second = append(second, part)
		} else {
			entries = append(entries, part)
		}
	}
	return slices.Concat(slices.Insert(entries, rng.IntN(len(entries)+1), second...)...)
}

// oddList cuts the packed list of the message {repeated 1} into chunks and single values.
func oddList(rng *rand.Rand, b []byte, typ protowire.Type) []byte {
	var data, out []byte
	if len(b) > 0 {
		data, _ = protowire.ConsumeBytes(b[1:])
	}
	for len(data) > 0 {
		if rng.IntN(3) == 0 {
			n := protowire.ConsumeFieldValue(1, typ, data)
			out = append(protowire.AppendTag(out, 1, typ), data[:n]...)
			data = data[n:]
			continue
		}
		n := 0
		for range rng.IntN(5) {
			if n < len(data) {
				n += protowire.ConsumeFieldValue(1, typ, data[n:])
			}
		}
		out = protowire.AppendBytes(protowire.AppendTag(out, 1, protowire.BytesType), data[:n])
		data = data[n:]
	}
	return out
}
