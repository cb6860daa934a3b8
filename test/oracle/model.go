package oracle

import (
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// Model says what a collection ought to hold after the calls that Milvus has accepted. Tell it of each call in the
// order in which they were answered; a call whose answer never came must not be told of.
type Model struct {
	t     *Table
	pk    string
	keyed bool // by a partition key: callers name no partition
}

// DefaultPartition is the partition that calls mean which name none.
const DefaultPartition = "_default"

// NewModel makes the model of an empty collection.
func NewModel(database string, s *schemapb.CollectionSchema) (*Model, error) {
	t, pk, err := newTable(database+"."+s.GetName(), s)
	if err != nil {
		return nil, err
	}
	m := &Model{t: t, pk: pk, keyed: partitionKeyed(s)}
	t.Counts[m.partition("")] = 0
	return m, nil
}

// CreatePartition tells of a new partition.
func (m *Model) CreatePartition(name string) { m.t.Counts[name] = 0 }

// DropPartition tells that a partition and its rows are gone.
func (m *Model) DropPartition(name string) {
	delete(m.t.Counts, name)
	for k := range m.t.Rows {
		if k.Partition == name {
			delete(m.t.Rows, k)
		}
	}
}

// Write tells of an upsert, or of an insert of keys that were not there. Columns are all of the schema's, as the
// client sent them: of an SDK's column it is what FieldData returns. Where Milvus chose the keys, they are those that
// it answered; a dynamic field is a column "$meta" of JSON.
func (m *Model) Write(partition string, columns ...*schemapb.FieldData) error {
	p := m.partition(partition)
	if _, ok := m.t.Counts[p]; !ok {
		return fmt.Errorf("write to partition %q of %s: there is none", partition, m.t.Name)
	}
	return m.t.rows(columns, m.pk, func(pk string, r Row) error {
		k := Key{Partition: p, PK: pk}
		if _, ok := m.t.Rows[k]; !ok {
			m.t.Counts[p]++
		}
		m.t.Rows[k] = r
		return nil
	})
}

// Delete tells of a deletion of keys, given as a column: from one partition, or with no name from all.
func (m *Model) Delete(partition string, keys *schemapb.FieldData) error {
	c, err := newColumn(keys)
	if err != nil {
		return fmt.Errorf("delete from %s: %w", m.t.Name, err)
	}
	from := []string{partition}
	if partition == "" {
		from = from[:0]
		for p := range m.t.Counts {
			from = append(from, p)
		}
	}
	for i := range c.n {
		for _, p := range from {
			k := Key{Partition: p, PK: c.at(i)}
			if _, ok := m.t.Rows[k]; ok {
				delete(m.t.Rows, k)
				m.t.Counts[p]--
			}
		}
	}
	return nil
}

// Table is what the collection ought to hold now. It stays the model's: compare it before the next call.
func (m *Model) Table() *Table { return m.t }

func (m *Model) partition(name string) string {
	switch {
	case m.keyed:
		return ""
	case name == "":
		return DefaultPartition
	default:
		return name
	}
}
