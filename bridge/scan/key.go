package scan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
)

// keyKind is which of the two types of primary keys a key has.
type keyKind uint8

const (
	noKey keyKind = iota
	intKey
	stringKey
)

// Key is a primary key: of an Int64 or a VarChar field. The zero Key stands before all. Keys are comparable by ==.
type Key struct {
	kind keyKind
	num  int64
	text string
}

// IntKey is the key of an Int64 field.
func IntKey(v int64) Key { return Key{kind: intKey, num: v} }

// StringKey is the key of a VarChar field.
func StringKey(v string) Key { return Key{kind: stringKey, text: v} }

// IsZero reports whether the key is none.
func (k Key) IsZero() bool { return k.kind == noKey }

// Int is the value of an Int64 key; ok is false for another.
func (k Key) Int() (v int64, ok bool) { return k.num, k.kind == intKey }

// Text is the value of a VarChar key; ok is false for another.
func (k Key) Text() (v string, ok bool) { return k.text, k.kind == stringKey }

// Compare is -1, 0 or 1: integers by value, strings by bytes.
func (k Key) Compare(other Key) int {
	return cmp.Or(cmp.Compare(k.kind, other.kind), cmp.Compare(k.num, other.num), cmp.Compare(k.text, other.text))
}

// Less reports whether k stands before other.
func (k Key) Less(other Key) bool { return k.Compare(other) < 0 }

// String is the key for people: an integer as such, a string in quotes.
func (k Key) String() string {
	switch k.kind {
	case intKey:
		return strconv.FormatInt(k.num, 10)
	case stringKey:
		return strconv.Quote(k.text)
	}
	return "-"
}

// MarshalJSON writes an integer as a JSON number, a string as a JSON string, and no key as null.
func (k Key) MarshalJSON() ([]byte, error) {
	switch k.kind {
	case intKey:
		return strconv.AppendInt(nil, k.num, 10), nil
	case stringKey:
		return json.Marshal(k.text)
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (k *Key) UnmarshalJSON(b []byte) error {
	var text string
	switch {
	case string(b) == "null":
		*k = Key{}
		return nil
	case len(b) > 0 && b[0] == '"':
		if err := json.Unmarshal(b, &text); err != nil {
			return fmt.Errorf("read a primary key: %w", err)
		}
		*k = StringKey(text)
		return nil
	}
	num, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return fmt.Errorf("read a primary key: %s is neither an integer nor a string", b)
	}
	*k = IntKey(num)
	return nil
}
