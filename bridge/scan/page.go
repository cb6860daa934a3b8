package scan

import (
	"context"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// Page asks for the rows of one partition.
type Page struct {
	Partition string // its name
	After     Key    // the rows behind this key; zero: from the first
	Until     Key    // up to and with this key; zero: to the last
	Limit     int    // at most so many rows; 0: as many as make a page of some 4 MiB
	Guarantee uint64 // at a state of the source not older than this timestamp
	KeysOnly  bool   // no field but the key
}

// Rows are the answer to a Page or a Lookup.
type Rows struct {
	// Fields are as an Insert message on the source's queue carries them: in the schema's order with the key (an auto-ID
	// too), $meta as a dynamic field, nullable fields in full form with valid_data, and without the outputs of functions.
	Fields []*schemapb.FieldData
	N      int   // how many rows there are
	Keys   []Key // ascending, each once
	Last   Key   // where to go on: After of the next page. It may be before Until when a limit cut the page
	Done   bool  // nothing of the range is left behind Last
}

// Read reads a page.
func (col *Collection) Read(ctx context.Context, p Page) (*Rows, error) { return nil, errTodo }

// Lookup reads the rows of these keys in a partition, in the order of keys. A key that is not there has no row.
func (col *Collection) Lookup(ctx context.Context, partition string, keys []Key, guarantee uint64) (*Rows, error) {
	return nil, errTodo
}
