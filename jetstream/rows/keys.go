package rows

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// Keys are primary keys: integers or strings, so at most one of the two is set.
type Keys struct {
	Ints    []int64
	Strings []string
}

// Key is one primary key, to compare and to be a map's key. Those of one collection have the same of the two set.
type Key struct {
	Int    int64
	String string
}

// Len is how many keys there are.
func (k Keys) Len() int { return max(len(k.Ints), len(k.Strings)) }

// At is key i.
func (k Keys) At(i int) Key {
	if k.Strings != nil {
		return Key{String: k.Strings[i]}
	}
	return Key{Int: k.Ints[i]}
}

// Hash is the hash of key i: xxHash64 of an integer's 8 little-endian bytes, or of a string's. It decides on the lane
// and with that on the order of changes (guarantee 3), so it is the same for ever.
func (k Keys) Hash(i int) uint64 {
	if k.Strings != nil {
		return xxhash.Sum64String(k.Strings[i])
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(k.Ints[i]))
	return xxhash.Sum64(b[:])
}

// Lanes says which keys belong to each lane: those whose hash modulo
// the number of lanes, which is at least 1, is the lane's number.
func (k Keys) Lanes(lanes int) [][]int {
	index := make([][]int, lanes)
	for i := range k.Len() {
		lane := k.Hash(i) % uint64(lanes)
		if index[lane] == nil {
			index[lane] = make([]int, 0, min(k.Len(), k.Len()/lanes+k.Len()/8+1))
		}
		index[lane] = append(index[lane], i)
	}
	return index
}

// Take is the keys in index, in that order, copied.
func (k Keys) Take(index []int) Keys {
	return Keys{Ints: take(k.Ints, index), Strings: take(k.Strings, index)}
}

func take[T any](from []T, index []int) []T {
	if from == nil {
		return nil
	}
	out := make([]T, len(index))
	for i, k := range index {
		out[i] = from[k]
	}
	return out
}

// parseKeys reads a schemapb.IDs, which should hold n keys.
func parseKeys(b []byte, n int) (k Keys, err error) {
	for f, err := range fields(b) {
		var content []byte
		switch {
		case err != nil:
		case f.num != 1 && f.num != 2:
			err = f.unknown()
		case k.Ints != nil || k.Strings != nil:
			err = fmt.Errorf("keys twice: %w", ErrMalformed)
		default:
			content, err = f.bytes()
		}
		if err == nil && f.num == 1 {
			k.Ints, err = parseInts(content, n)
		} else if err == nil {
			k.Strings, err = parseStrings(content, n)
		}
		if err != nil {
			return Keys{}, fmt.Errorf("read primary keys: %w", err)
		}
	}
	return k, nil
}

// parseInts reads a schemapb.LongArray, which should hold n integers.
func parseInts(b []byte, n int) ([]int64, error) {
	l, _ := scalarLayout(longMember)
	r, _, err := l.parse(b, 0, n)
	if err != nil {
		return nil, err
	}
	return r.ints(), nil
}

// parseStrings reads a schemapb.StringArray, which should hold n strings.
func parseStrings(b []byte, n int) ([]string, error) {
	l, _ := scalarLayout(stringMember)
	r, _, err := l.parse(b, 0, n)
	if err != nil {
		return nil, err
	}
	return r.strings(), nil
}

// keyBytes is what key i adds to the encoded size, but for lengths that get longer.
func (k Keys) keyBytes(i int) int {
	if k.Strings != nil {
		return sizeMessageField(1, len(k.Strings[i]))
	}
	return protowire.SizeVarint(uint64(k.Ints[i]))
}

// payload is the sum of keyBytes.
func (k Keys) payload() int {
	n := 0
	for i := range k.Len() {
		n += k.keyBytes(i)
	}
	return n
}

// listSize is the size of the LongArray or StringArray, whose keys are of payload bytes.
func (k Keys) listSize(payload int) int {
	if k.Strings != nil || payload == 0 {
		return payload
	}
	return sizeMessageField(1, payload)
}

// size is the size of the schemapb.IDs, which is absent when there are no keys.
func (k Keys) size(payload int) int {
	if k.Len() == 0 {
		return 0
	}
	return sizeMessageField(1, k.listSize(payload))
}

// appendTo appends the schemapb.IDs.
func (k Keys) appendTo(b []byte, payload int) []byte {
	if k.Strings != nil {
		b = appendMessageField(b, 2, payload)
		for _, s := range k.Strings {
			b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), s)
		}
		return b
	}
	b = appendMessageField(b, 1, k.listSize(payload))
	b = appendMessageField(b, 1, payload)
	for _, v := range k.Ints {
		b = protowire.AppendVarint(b, uint64(v))
	}
	return b
}
