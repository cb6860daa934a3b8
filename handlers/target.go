package handlers

import (
	"context"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/jetstream/rows"
)

// Ref names a collection, on the target unless it says otherwise.
type Ref struct {
	Database   string `json:"database"`
	Collection string `json:"collection"`
}

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
	Flusher
	Planner

	// Settings, on which no row depends. No lane waits for one: where the target's version doesn't know the call, or its
	// user lacks the privilege, the error is Permanent and not Misconfigured.
	Properties
	Aliases
	Indexes
	Loads
	Access
}

// RowWriter changes rows.
type RowWriter interface {
	// Shape describes the collection as the target has it. It is asked once for each collection in a batch.
	Shape(ctx context.Context, ref Ref) (Shape, error)
	// Forget has what is remembered of collections asked for anew: another worker may have given a name to another one.
	Forget()
	// Upsert writes rows, whose keys differ, and replaces those with the same keys in the same partition. The
	// partition is empty for a collection with a partition key.
	Upsert(ctx context.Context, ref Ref, partition string, r *rows.Rows) error
	// Delete removes the rows with these keys from one partition, or from all if none is named. Keys that are not
	// there are fine.
	Delete(ctx context.Context, ref Ref, partition string, keys rows.Keys) error
	// KeysBeside are the keys that there are in the range and not among those to keep, of one partition or, if none is named, of
	// all. The collection must be loaded.
	KeysBeside(ctx context.Context, ref Ref, partition string, r Range) (rows.Keys, error)
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
	// DropCollection removes the collection, loaded or not, and its aliases. One that is gone already is fine.
	DropCollection(ctx context.Context, ref Ref) error
	// RenameCollection gives the collection another name, or moves it to another database, with its rows and aliases. It
	// is fine if only the new name is there. Both are a Permanent error.
	RenameCollection(ctx context.Context, from, to Ref) error
	// AddField adds a field of the source to the collection. One that is there already and the same is fine.
	AddField(ctx context.Context, ref Ref, field *schemapb.FieldSchema) error
}

// Planner looks ahead.
type Planner interface {
	// Plan says what CreateCollection would do with the request, and changes nothing. Plan.Source is the caller's to fill.
	Plan(ctx context.Context, req *milvuspb.CreateCollectionRequest) (Plan, error)
}

// Partitions makes partitions come and go. One that is there already, or gone already, is fine, and so is any in a
// collection with a partition key, which makes its own.
type Partitions interface {
	CreatePartition(ctx context.Context, ref Ref, partition string) error
	// DropPartition releases the partition first if it is loaded, and no other.
	DropPartition(ctx context.Context, ref Ref, partition string) error
}

// Flusher flushes. It is asked after all rows that the source's flush was about.
type Flusher interface {
	// Flush has the target seal what it holds in memory of the collection. One that is gone is fine.
	Flush(ctx context.Context, ref Ref) error
}

// Properties sets properties of databases, collections and fields, and removes others. What is so already is fine.
// Requests have the names on the target.
type Properties interface {
	AlterDatabase(ctx context.Context, req *milvuspb.AlterDatabaseRequest) error
	AlterCollection(ctx context.Context, req *milvuspb.AlterCollectionRequest) error
	AlterField(ctx context.Context, req *milvuspb.AlterCollectionFieldRequest) error
}

// Aliases makes aliases come, move and go.
type Aliases interface {
	// SetAlias makes alias a name of the collection, whatever it named before. If it is a collection's own name the error
	// is Permanent.
	SetAlias(ctx context.Context, alias, of Ref) error
	// DropAlias removes the alias. One that is gone already is fine.
	DropAlias(ctx context.Context, alias Ref) error
}

// Indexes makes indexes come and go. Requests have the names on the target.
type Indexes interface {
	// CreateIndex makes the index, and does not wait for it to be built. One of that name, on that field and with those
	// parameters that is there already is fine; one that takes its place is dropped. The collection is loaded
	// afterwards if it was before.
	CreateIndex(ctx context.Context, req *milvuspb.CreateIndexRequest) error
	// AlterIndex changes how the index is held in memory.
	AlterIndex(ctx context.Context, req *milvuspb.AlterIndexRequest) error
	// DropIndex removes the index of that name or, if the request has none, those of the field. One that is gone already
	// is fine. The collection is loaded afterwards if it was before and can be.
	DropIndex(ctx context.Context, req *milvuspb.DropIndexRequest) error
}

// Loads says what can be searched. A nil error promises that the target has begun. Requests have the names on the target.
type Loads interface {
	// LoadCollection loads the whole collection, in that number of replicas whatever it was before. If the target has too
	// few query nodes for that, it is loaded in as many as it has, and the error is Permanent.
	LoadCollection(ctx context.Context, req *milvuspb.LoadCollectionRequest) error
	// ReleaseCollection has nothing of the collection loaded. One that is gone is fine.
	ReleaseCollection(ctx context.Context, ref Ref) error
	// LoadPartitions loads these partitions beside what is loaded. As LoadCollection.
	LoadPartitions(ctx context.Context, req *milvuspb.LoadPartitionsRequest) error
	// ReleasePartitions has these partitions not loaded. Those that are gone are fine.
	ReleasePartitions(ctx context.Context, ref Ref, partitions []string) error
}

// Access says who may do what. Users and roles have no database; what a privilege is about has its name on the target.
type Access interface {
	// CreateUser makes the user, with the password that it asks for only then. One that is there already keeps its own. An
	// error of password is returned as it is.
	CreateUser(ctx context.Context, name string, password func() (string, error)) error
	// SetPassword makes the user with the password, or gives the user another one instead of the old. If the old one is not the
	// target's, or not known and so empty, the user keeps its own, which is a Permanent error unless there is no old one.
	SetPassword(ctx context.Context, name, old, password string) error
	// DropUser removes the user, with its roles. One that is gone already is fine.
	DropUser(ctx context.Context, name string) error
	// CreateRole makes the role. One that is there already is fine.
	CreateRole(ctx context.Context, name string) error
	// DropRole removes the role, with whatever it is still granted on the target. One that is gone already is fine.
	DropRole(ctx context.Context, name string) error
	// SetMember gives a user a role, or takes it away. If either is gone, it is fine that it is taken away, and giving it is a
	// Permanent error.
	SetMember(ctx context.Context, req *milvuspb.OperateUserRoleRequest) error
	// SetPrivilege grants a role a privilege, or revokes it. If the role is gone, as SetMember.
	SetPrivilege(ctx context.Context, req *milvuspb.OperatePrivilegeRequest) error
}
