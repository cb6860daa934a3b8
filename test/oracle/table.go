package oracle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// Key names a row: a primary key may be in several partitions at once.
type Key struct {
	Partition string // empty where a partition key decides, for it is not the client's to say
	PK        string // canonical
}

func (k Key) String() string {
	if k.Partition == "" {
		return k.PK
	}
	return k.Partition + "/" + k.PK
}

func compareKeys(a, b Key) int {
	if c := strings.Compare(a.Partition, b.Partition); c != 0 {
		return c
	}
	if c := len(a.PK) - len(b.PK); c != 0 { // so that numbers are in order
		return c
	}
	return strings.Compare(a.PK, b.PK)
}

// Row is the canonical value of each field, in the order of Table.Fields. Two values are equal, bit for bit, if and
// only if their canonical texts are.
type Row []string

// Table is everything in a collection, in a form that can be compared.
type Table struct {
	Name   string           // for messages
	Fields []string         // sorted; a dynamic field is "$meta"
	Rows   map[Key]Row      // one of each key
	Counts map[string]int64 // rows stored, by partition; more than there are keys when some are stored twice
	Stored map[Key]int64    // how often a key is stored that is stored more than once; its row is any one of them
}

// Duplicates is how many rows of a partition are stored beside the one of their key.
func (t *Table) Duplicates(partition string) int64 {
	keys := int64(0)
	for k := range t.Rows {
		if k.Partition == partition {
			keys++
		}
	}
	return t.Counts[partition] - keys
}

// Total is how many rows are stored, duplicates included.
func (t *Table) Total() int64 {
	n := int64(0)
	for _, c := range t.Counts {
		n += c
	}
	return n
}

// newTable makes an empty table of the schema's fields, all of those that hold values.
func newTable(name string, s *schemapb.CollectionSchema) (t *Table, pk string, err error) {
	t = &Table{Name: name, Rows: map[Key]Row{}, Counts: map[string]int64{}, Stored: map[Key]int64{}}
	for _, f := range s.GetFields() {
		if f.GetFieldID() >= 100 || f.GetFieldID() == 0 { // below are Milvus's own
			t.Fields = append(t.Fields, f.GetName())
		}
		if f.GetIsPrimaryKey() {
			pk = f.GetName()
		}
	}
	if s.GetEnableDynamicField() && !slices.Contains(t.Fields, dynamicField) {
		t.Fields = append(t.Fields, dynamicField)
	}
	slices.Sort(t.Fields)
	if pk == "" {
		return nil, "", fmt.Errorf("%s has no primary key", name)
	}
	return t, pk, nil
}

// dynamicField is Milvus's name for the column that holds the fields which are not in the schema.
const dynamicField = "$meta"

// rows takes columns as Milvus's messages have them and calls fn for each row in them.
func (t *Table) rows(columns []*schemapb.FieldData, pk string, fn func(pk string, r Row) error) error {
	byName := map[string]column{}
	for _, fd := range columns {
		c, err := newColumn(fd)
		if err != nil {
			return fmt.Errorf("read column %s of %s: %w", fd.GetFieldName(), t.Name, err)
		}
		byName[c.name] = c
	}
	key, ok := byName[pk]
	if !ok {
		return fmt.Errorf("read rows of %s: no column of the primary key %s", t.Name, pk)
	}
	ordered := make([]column, len(t.Fields))
	for i, f := range t.Fields {
		c, ok := byName[f]
		if !ok || c.n != key.n {
			return fmt.Errorf("read rows of %s: column %s has %d of %d values", t.Name, f, c.n, key.n)
		}
		ordered[i] = c
	}
	for i := range key.n {
		r := make(Row, len(ordered))
		for j, c := range ordered {
			r[j] = c.at(i)
		}
		if err := fn(key.at(i), r); err != nil {
			return err
		}
	}
	return nil
}
