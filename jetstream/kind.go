package jetstream

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"
)

// Kind says what an Event changes. It is the last token of the event's subject and, behind the prefix
// "io.milvus.", its CloudEvents type.
type Kind string

// The kinds of event. Insert and Delete carry rows and travel on one lane. What rows depend on travels on all lanes.
// Settings, on which no row depends, travel on SettingsLane alone, so that one worker carries them out in their order.
const (
	Insert Kind = "insert" // body: msgpb.InsertRequest, rows of one partition
	Delete Kind = "delete" // body: msgpb.DeleteRequest, primary keys
	Prune  Kind = "prune"  // body: PruneBody as JSON: of a range of keys, those of one lane that there still are
	Fence  Kind = "fence"  // no body, on no lane: a bridge has taken the stream over

	// EndSnapshot has no body and is on no lane: the rows of a collection that there were before are all on the stream. A
	// CreateCollection with the same Event.Snapshot was the beginning.
	EndSnapshot Kind = "end_snapshot"

	CreateDatabase   Kind = "create_database"   // body: milvuspb.CreateDatabaseRequest
	DropDatabase     Kind = "drop_database"     // body: milvuspb.DropDatabaseRequest; a barrier
	CreateCollection Kind = "create_collection" // body: milvuspb.CreateCollectionRequest
	DropCollection   Kind = "drop_collection"   // body: milvuspb.DropCollectionRequest; a barrier
	RenameCollection Kind = "rename_collection" // body: milvuspb.RenameCollectionRequest; a barrier. The event has the old name
	AddField         Kind = "add_field"         // body: milvuspb.AddCollectionFieldRequest
	AlterField       Kind = "alter_field"       // body: milvuspb.AlterCollectionFieldRequest of one property
	CreatePartition  Kind = "create_partition"  // body: milvuspb.CreatePartitionRequest
	DropPartition    Kind = "drop_partition"    // body: milvuspb.DropPartitionRequest; a barrier
	Flush            Kind = "flush"             // body: milvuspb.FlushRequest of one collection; a barrier

	AlterDatabase     Kind = "alter_database"     // body: milvuspb.AlterDatabaseRequest of all properties, or of those that are deleted
	AlterCollection   Kind = "alter_collection"   // body: milvuspb.AlterCollectionRequest of one property
	CreateAlias       Kind = "create_alias"       // body: milvuspb.CreateAliasRequest
	AlterAlias        Kind = "alter_alias"        // body: milvuspb.AlterAliasRequest; the event has the collection it names now
	DropAlias         Kind = "drop_alias"         // body: milvuspb.DropAliasRequest; the event has the collection it named; a barrier
	CreateIndex       Kind = "create_index"       // body: milvuspb.CreateIndexRequest
	AlterIndex        Kind = "alter_index"        // body: milvuspb.AlterIndexRequest
	DropIndex         Kind = "drop_index"         // body: milvuspb.DropIndexRequest
	LoadCollection    Kind = "load_collection"    // body: milvuspb.LoadCollectionRequest
	ReleaseCollection Kind = "release_collection" // body: milvuspb.ReleaseCollectionRequest
	LoadPartitions    Kind = "load_partitions"    // body: milvuspb.LoadPartitionsRequest, those that are to be loaded beside what is
	ReleasePartitions Kind = "release_partitions" // body: milvuspb.ReleasePartitionsRequest

	// Users and roles; their events name no database and no collection.
	CreateCredential Kind = "create_credential" // body: milvuspb.CreateCredentialRequest, the password sealed or empty
	UpdateCredential Kind = "update_credential" // body: milvuspb.UpdateCredentialRequest, the passwords sealed
	DeleteCredential Kind = "delete_credential" // body: milvuspb.DeleteCredentialRequest
	CreateRole       Kind = "create_role"       // body: milvuspb.CreateRoleRequest
	DropRole         Kind = "drop_role"         // body: milvuspb.DropRoleRequest
	OperateUserRole  Kind = "operate_user_role" // body: milvuspb.OperateUserRoleRequest
	OperatePrivilege Kind = "operate_privilege" // body: milvuspb.OperatePrivilegeRequest
)

// Barrier reports whether every lane must have reached the event before it is carried out, once.
func (k Kind) Barrier() bool {
	switch k {
	case DropCollection, DropPartition, DropDatabase, RenameCollection, DropAlias, Flush:
		return true
	}
	return false
}

// Rows reports whether the event carries rows (Insert) or keys (Delete) of one lane.
func (k Kind) Rows() bool { return k == Insert || k == Delete }

// Optional reports whether a target that refuses the event for good goes on without it, which is kept as Unmet: all settings,
// AlterField, which travels on all lanes, as a longer text may depend on it, and DropAlias, which does, as a collection may
// have the name next: whichever lane comes to its creation first, the alias has to be gone.
func (k Kind) Optional() bool { return k.Setting() || k == AlterField || k == DropAlias }

// Setting reports whether the event changes something that no row depends on. It travels on SettingsLane alone.
func (k Kind) Setting() bool {
	switch k {
	case AlterDatabase, AlterCollection, CreateAlias, AlterAlias, CreateIndex, AlterIndex, DropIndex,
		LoadCollection, ReleaseCollection, LoadPartitions, ReleasePartitions, CreateCredential, UpdateCredential,
		DeleteCredential, CreateRole, DropRole, OperateUserRole, OperatePrivilege:
		return true
	}
	return false
}

// Name is the collection that the event is about, by the source's names.
func (e *Event) Name() QualifiedName { return QualifiedName{e.Database, e.Collection} }

// NewName is the name that a rename gives.
func (e *Event) NewName() (QualifiedName, error) {
	var req milvuspb.RenameCollectionRequest
	if err := proto.Unmarshal(e.Body, &req); err != nil {
		return QualifiedName{}, fmt.Errorf("read event %s: %w: %w", e.ID, ErrMalformed, err)
	}
	return QualifiedName{Database: cmp.Or(req.GetNewDBName(), e.Database), Collection: req.GetNewName()}, nil
}

// Kinds are all kinds that this version knows, by name.
func Kinds() []Kind {
	all := append(slices.Collect(maps.Keys(dataSchemas)), Fence, EndSnapshot, Prune)
	slices.Sort(all)
	return all
}

// known reports whether this version knows the kind. An event of any other kind is parked, never guessed at.
func (k Kind) known() bool {
	_, ok := dataSchemas[k]
	return ok || k == Fence || k == EndSnapshot || k == Prune
}

// ForBridges reports whether the event is on no lane and changes nothing on a target.
func (k Kind) ForBridges() bool { return k == Fence || k == EndSnapshot }

// dataSchemas names the protobuf message in the body of each kind that has one.
var dataSchemas = map[Kind]string{
	Insert:            "milvus.proto.msg.InsertRequest",
	Delete:            "milvus.proto.msg.DeleteRequest",
	CreateDatabase:    "milvus.proto.milvus.CreateDatabaseRequest",
	DropDatabase:      "milvus.proto.milvus.DropDatabaseRequest",
	CreateCollection:  "milvus.proto.milvus.CreateCollectionRequest",
	DropCollection:    "milvus.proto.milvus.DropCollectionRequest",
	RenameCollection:  "milvus.proto.milvus.RenameCollectionRequest",
	AddField:          "milvus.proto.milvus.AddCollectionFieldRequest",
	CreatePartition:   "milvus.proto.milvus.CreatePartitionRequest",
	DropPartition:     "milvus.proto.milvus.DropPartitionRequest",
	Flush:             "milvus.proto.milvus.FlushRequest",
	AlterDatabase:     "milvus.proto.milvus.AlterDatabaseRequest",
	AlterCollection:   "milvus.proto.milvus.AlterCollectionRequest",
	AlterField:        "milvus.proto.milvus.AlterCollectionFieldRequest",
	CreateAlias:       "milvus.proto.milvus.CreateAliasRequest",
	AlterAlias:        "milvus.proto.milvus.AlterAliasRequest",
	DropAlias:         "milvus.proto.milvus.DropAliasRequest",
	CreateIndex:       "milvus.proto.milvus.CreateIndexRequest",
	AlterIndex:        "milvus.proto.milvus.AlterIndexRequest",
	DropIndex:         "milvus.proto.milvus.DropIndexRequest",
	LoadCollection:    "milvus.proto.milvus.LoadCollectionRequest",
	ReleaseCollection: "milvus.proto.milvus.ReleaseCollectionRequest",
	LoadPartitions:    "milvus.proto.milvus.LoadPartitionsRequest",
	ReleasePartitions: "milvus.proto.milvus.ReleasePartitionsRequest",
	CreateCredential:  "milvus.proto.milvus.CreateCredentialRequest",
	UpdateCredential:  "milvus.proto.milvus.UpdateCredentialRequest",
	DeleteCredential:  "milvus.proto.milvus.DeleteCredentialRequest",
	CreateRole:        "milvus.proto.milvus.CreateRoleRequest",
	DropRole:          "milvus.proto.milvus.DropRoleRequest",
	OperateUserRole:   "milvus.proto.milvus.OperateUserRoleRequest",
	OperatePrivilege:  "milvus.proto.milvus.OperatePrivilegeRequest",
}
