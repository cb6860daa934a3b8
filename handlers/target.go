package handlers

import (
	"context"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/jetstream/rows"
)

// Ref names a collection, on the target unless it says otherwise.
type Ref struct{ Database, Collection string }

// String is database.collection.
func (r Ref) String() string { return r.Database + "." + r.Collection }

// Shape is what folding has to know of a collection.
type Shape struct {
	Key          string // the primary key field
	PartitionKey bool   // rows find their partition by a field's value, and calls must not name one
}

// Target is what events are applied to. Its methods are called by several goroutines at once, each with a deadline
// that must not be outlived: whatever a call does after it may race with another worker (guarantee 4). A nil error
// promises that the target has taken the change durably. Any call may be made again after it succeeded, or after it
// failed half-way, and must then come to the same end. Errors are *Error, or wrap one, or wrap the context's.
type Target interface {
	RowWriter
	Databases
	Collections
	Partitions
}

// RowWriter changes rows.
type RowWriter interface {
	// Shape describes the collection as the target has it. It is asked once for each collection in a batch.
	Shape(ctx context.Context, ref Ref) (Shape, error)
	// Upsert writes rows, whose keys differ, and replaces those with the same keys in the same partition. The
	// partition is empty for a collection with a partition key.
	Upsert(ctx context.Context, ref Ref, partition string, r *rows.Rows) error
	// Delete removes the rows with these keys from one partition, or from all if none is named. Keys that are not
	// there are fine.
	Delete(ctx context.Context, ref Ref, partition string, keys rows.Keys) error
}

// Databases makes databases come and go. One that is there already, or gone already, is fine.
type Databases interface {
	CreateDatabase(ctx context.Context, name string) error
	DropDatabase(ctx context.Context, name string) error
}

// Collections makes collections come and go.
type Collections interface {
	// CreateCollection makes the collection of the source's request, in a way that rows can be written with their
	// keys. One of that name that is there already is adopted if its schema is the same, and else a Permanent error
	// whose text says what differs, field by field.
	CreateCollection(ctx context.Context, req *milvuspb.CreateCollectionRequest) error
	// DropCollection removes the collection, loaded or not. One that is gone already is fine.
	DropCollection(ctx context.Context, ref Ref) error
}

// Partitions makes partitions come and go. One that is there already, or gone already, is fine, and so is any in a
// collection with a partition key, which makes its own.
type Partitions interface {
	CreatePartition(ctx context.Context, ref Ref, partition string) error
	// DropPartition releases the partition first if it is loaded, and no other.
	DropPartition(ctx context.Context, ref Ref, partition string) error
}
