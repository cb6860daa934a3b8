package milvus

import (
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/encoding/protowire"
)

// check compares the encoded columns with the collection's fields, by name and type. The target has to be spared what
// it does not check itself: a 2.3.5 takes strings for an integer key, and its data node then dies of them, again after each
// restart.
func (s *shape) check(columns []byte) error {
	seen := map[string]bool{}
	for len(columns) > 0 {
		_, _, tag := protowire.ConsumeTag(columns)
		column, n := protowire.ConsumeBytes(columns[max(tag, 0):])
		if tag < 0 || n < 0 {
			return refuse(CodeRefused, "columns end too early")
		}
		columns = columns[tag+n:]
		name, typ, err := columnHead(column)
		if err != nil {
			return err
		}
		want, ok := s.types[name]
		switch {
		case !ok:
			return refuse(CodeSchema, "rows have a field %q that the target has not", name)
		case typ != want:
			return refuse(CodeSchema, "field %q is %s in rows, %s on the target", name, typ, want)
		}
		seen[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(s.types)) {
		if !seen[name] && !s.optional[name] {
			return refuse(CodeSchema, "rows lack the field %q that the target has", name)
		}
	}
	return nil
}

// The fields of schemapb.FieldData that are looked at.
const (
	columnType protowire.Number = 1
	columnName protowire.Number = 2
)

// columnHead reads the name and type of a schemapb.FieldData, and steps over its values.
func columnHead(b []byte) (name string, typ schemapb.DataType, err error) {
	for len(b) > 0 {
		num, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", 0, refuse(CodeRefused, "read column: %w", protowire.ParseError(n))
		}
		b = b[n:]
		switch {
		case num == columnType && wire == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b)
			typ = schemapb.DataType(v)
		case num == columnName && wire == protowire.BytesType:
			v, _ := protowire.ConsumeString(b)
			name = v
		}
		if n = protowire.ConsumeFieldValue(num, wire, b); n < 0 {
			return "", 0, refuse(CodeRefused, "read column: %w", protowire.ParseError(n))
		}
		b = b[n:]
	}
	return name, typ, nil
}
