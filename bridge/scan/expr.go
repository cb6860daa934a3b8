package scan

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// span is a range of keys.
type span struct {
	after Key  // behind this one; zero: from the first
	until Key  // up to this one; zero: to the last
	open  bool // without until itself
}

// dialect is how expressions are written for a server, about a collection's primary key.
type dialect struct {
	key  *schemapb.FieldSchema
	lite bool // for a Milvus Lite

	quoted *strings.Replacer
}

func newDialect(key *schemapb.FieldSchema, lite bool) dialect {
	return dialect{key: key, lite: lite, quoted: strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)}
}

// within is true of the rows whose key is in the span. It is never empty, which a Milvus would refuse.
func (d dialect) within(s span) string {
	name, text := d.key.GetName(), d.key.GetDataType() == schemapb.DataType_VarChar
	var parts []string
	switch {
	case !s.after.IsZero() && s.after == IntKey(math.MinInt64): // no literal of an expression can be that number
		parts = append(parts, name+" >= "+d.literal(IntKey(math.MinInt64+1)))
	case !s.after.IsZero():
		parts = append(parts, name+" > "+d.literal(s.after))
	case s.until.IsZero() && text:
		parts = append(parts, name+` >= ""`)
	case s.until.IsZero():
		parts = append(parts, name+" <= "+d.literal(IntKey(math.MaxInt64)))
	}
	switch {
	case s.until.IsZero():
	case s.until == IntKey(math.MinInt64) && s.open: // nothing: as a literal it can't be compared with
		parts = append(parts, name+" in []")
	case s.until == IntKey(math.MinInt64):
		parts = append(parts, d.among([]Key{s.until}))
	case s.open:
		parts = append(parts, name+" < "+d.literal(s.until))
	default:
		parts = append(parts, name+" <= "+d.literal(s.until))
	}
	return strings.Join(parts, " && ")
}

// among is the expression that is true of these keys.
func (d dialect) among(keys []Key) string {
	b := make([]byte, 0, len(d.key.GetName())+len(keys)*16)
	b = append(b, d.key.GetName()...)
	b = append(b, " in ["...)
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, d.literal(k)...)
	}
	return string(append(b, ']'))
}

// literal is a key as an expression has it. A string is written as Milvus, which reads it with Go's strconv.Unquote, and
// Milvus Lite, which knows no escapes but these, both read it back. A Milvus takes a minus for an operator, so that the least
// of all numbers has to be worked out: it would be the negative of one that is too large.
func (d dialect) literal(k Key) string {
	switch {
	case k.kind == stringKey:
		return `"` + d.quoted.Replace(k.text) + `"`
	case k.num == math.MinInt64 && !d.lite:
		return "-9223372036854775807-1"
	}
	return strconv.FormatInt(k.num, 10)
}

// String is the span for people.
func (s span) String() string {
	end := "]"
	if s.open {
		end = ")"
	}
	return fmt.Sprintf("(%s, %s%s", s.after, s.until, end)
}
