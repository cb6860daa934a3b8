// Package catalogtest writes Milvus's meta as Milvus writes it, for tests: keys below {root}/{meta}/ and their values, of
// versions and in states that no server at hand can be made to produce.
//
// What flows in are plain values; what flows out are bytes for etcd.
package catalogtest

import (
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Tombstone is the value of a key that Milvus has dropped.
const Tombstone = "\xe2\x9b\xbc"

// The states of collections, partitions and aliases. Databases have the same, plus one.
const (
	Created = iota
	Creating
	Dropping
	Dropped
)

// The states of loads, and the kinds of a collection's.
const (
	Loading = 1
	Loaded  = 2

	LoadPartitions = 1
	LoadCollection = 2
)

// DatabaseKey is the key of a database.
func DatabaseKey(id int64) string { return fmt.Sprintf("root-coord/database/db-info/%d", id) }

// CollectionKey is the key of a collection.
func CollectionKey(db, id int64) string {
	return fmt.Sprintf("root-coord/database/collection-info/%d/%d", db, id)
}

// LegacyCollectionKey is the key that a collection had before Milvus 2.2.9.
func LegacyCollectionKey(id int64) string { return fmt.Sprintf("root-coord/collection/%d", id) }

// FieldKey is the key of a collection's field.
func FieldKey(collection, id int64) string {
	return fmt.Sprintf("root-coord/fields/%d/%d", collection, id)
}

// FunctionKey is the key of a collection's function.
func FunctionKey(collection, id int64) string {
	return fmt.Sprintf("root-coord/functions/%d/%d", collection, id)
}

// PartitionKey is the key of a collection's partition.
func PartitionKey(collection, id int64) string {
	return fmt.Sprintf("root-coord/partitions/%d/%d", collection, id)
}

// AliasKey is the key of an alias.
func AliasKey(db int64, name string) string {
	return fmt.Sprintf("root-coord/database/aliases/%d/%s", db, name)
}

// LegacyAliasKey is the key that an alias had before Milvus 2.2.9.
func LegacyAliasKey(name string) string { return "root-coord/aliases/" + name }

// UserKey is the key of a user.
func UserKey(name string) string { return "root-coord/credential/users/" + name }

// RoleKey is the key of a role, whose value is empty.
func RoleKey(name string) string { return "root-coord/credential/roles/" + name }

// MemberKey is the key that says that a user has a role. Its value is empty.
func MemberKey(user, role string) string {
	return "root-coord/credential/user-role-mapping/" + user + "/" + role
}

// GranteeKey is the key of what a role may do with an object, "database.name". Its value is an id.
func GranteeKey(role, typ, object string) string {
	return "root-coord/credential/grantee-privileges/" + role + "/" + typ + "/" + object
}

// PrivilegeKey is the key of one privilege under the id of a GranteeKey. Its value is the user who granted it.
func PrivilegeKey(id, privilege string) string {
	return "root-coord/credential/grantee-id/" + id + "/" + privilege
}

// IndexKey is the key of a collection's index.
func IndexKey(collection, id int64) string { return fmt.Sprintf("field-index/%d/%d", collection, id) }

// LoadKey is the key of a collection's load state.
func LoadKey(collection int64) string {
	return fmt.Sprintf("querycoord-collection-loadinfo/%d", collection)
}

// PartitionLoadKey is the key of a partition's load state.
func PartitionLoadKey(collection, id int64) string {
	return fmt.Sprintf("querycoord-partition-loadinfo/%d/%d", collection, id)
}

// Database is an etcdpb.DatabaseInfo. Created is in nanoseconds, as Milvus has it.
func Database(id int64, name string, state int, created uint64, properties ...*commonpb.KeyValuePair) []byte {
	var b []byte
	b = text(b, 2, name)
	b = number(b, 3, uint64(id))
	b = number(b, 4, uint64(state)+1)
	b = number(b, 5, created)
	for _, p := range properties {
		b = message(b, 6, p)
	}
	return b
}

// Collection is what goes into an etcdpb.CollectionInfo.
type Collection struct {
	ID, Database int64
	Schema       *schemapb.CollectionSchema // as in etcd: without fields
	Created      uint64
	Channels     []string
	Starts       map[string][]byte
	Consistency  commonpb.ConsistencyLevel
	State        int
	Properties   []*commonpb.KeyValuePair
}

// Named is a collection of one shard in the given state.
func Named(id, db int64, name string, state int) Collection {
	return Collection{
		ID: id, Database: db, Schema: &schemapb.CollectionSchema{Name: name}, State: state,
		Channels: []string{"dml_0"}, Starts: map[string][]byte{"dml_0": {1, 2, 3}}, Created: uint64(id) << 18,
	}
}

// Value is the collection as an etcdpb.CollectionInfo.
func (c Collection) Value() []byte {
	var b []byte
	b = number(b, 1, uint64(c.ID))
	b = message(b, 2, c.Schema)
	b = number(b, 3, c.Created)
	for i, ch := range c.Channels {
		b = text(b, 7, fmt.Sprintf("%s_%dv%d", ch, c.ID, i))
		b = text(b, 8, ch)
	}
	b = number(b, 10, uint64(len(c.Channels)))
	for _, ch := range c.Channels {
		b = message(b, 11, &commonpb.KeyDataPair{Key: ch, Data: c.Starts[ch]})
	}
	b = number(b, 12, uint64(c.Consistency))
	b = number(b, 13, uint64(c.State))
	for _, p := range c.Properties {
		b = message(b, 14, p)
	}
	return number(b, 15, uint64(c.Database))
}

// Partition is an etcdpb.PartitionInfo.
func Partition(id, collection int64, name string, state int) []byte {
	var b []byte
	b = number(b, 1, uint64(id))
	b = text(b, 2, name)
	b = number(b, 3, uint64(id)<<18)
	b = number(b, 4, uint64(collection))
	return number(b, 5, uint64(state))
}

// Alias is an etcdpb.AliasInfo.
func Alias(name string, db, collection int64, state int) []byte {
	var b []byte
	b = text(b, 1, name)
	b = number(b, 2, uint64(collection))
	b = number(b, 3, uint64(collection)<<18)
	b = number(b, 4, uint64(state))
	return number(b, 5, uint64(db))
}

// Index is what goes into an indexpb.FieldIndex.
type Index struct {
	ID, Collection, Field          int64
	Name                           string
	TypeParams, Params, UserParams []*commonpb.KeyValuePair
	Auto, Deleted                  bool
}

// Value is the index as an indexpb.FieldIndex.
func (ix Index) Value() []byte {
	var in []byte
	in = number(in, 1, uint64(ix.Collection))
	in = number(in, 2, uint64(ix.Field))
	in = text(in, 3, ix.Name)
	in = number(in, 4, uint64(ix.ID))
	for i, kvs := range [][]*commonpb.KeyValuePair{ix.TypeParams, ix.Params, ix.UserParams} {
		for _, kv := range kvs {
			in = message(in, []protowire.Number{5, 6, 12}[i], kv)
		}
	}
	in = flag(in, 11, ix.Auto)
	b := text(nil, 1, string(in))
	b = flag(b, 2, ix.Deleted)
	return number(b, 3, uint64(ix.ID)<<18)
}

// Load is a querypb.CollectionLoadInfo, as of Milvus 2.3.
func Load(collection int64, replicas, state, kind int) []byte {
	var b []byte
	b = number(b, 1, uint64(collection))
	b = number(b, 3, uint64(replicas))
	b = number(b, 4, uint64(state))
	b = text(b, 5, string(number(number(nil, 1, 101), 2, 1))) // field_indexID, a map
	return number(b, 6, uint64(kind))
}

// PartitionLoad is a querypb.PartitionLoadInfo.
func PartitionLoad(collection, id int64, state int) []byte {
	var b []byte
	b = number(b, 1, uint64(collection))
	b = number(b, 2, uint64(id))
	return number(b, 4, uint64(state))
}

// Fields are the values of a collection's field keys by field id: RowID, Timestamp, and the given ones from 100 on.
func Fields(user ...*schemapb.FieldSchema) map[int64][]byte {
	all := []*schemapb.FieldSchema{
		{FieldID: 0, Name: "RowID", DataType: schemapb.DataType_Int64},
		{FieldID: 1, Name: "Timestamp", DataType: schemapb.DataType_Int64},
	}
	for i, f := range user {
		f.FieldID = 100 + int64(i)
		all = append(all, f)
	}
	out := map[int64][]byte{}
	for _, f := range all {
		out[f.FieldID] = Message(f)
	}
	return out
}

// Key is a primary key field of type Int64.
func Key(name string) *schemapb.FieldSchema {
	return &schemapb.FieldSchema{Name: name, IsPrimaryKey: true, DataType: schemapb.DataType_Int64}
}

// Vector is a float vector field.
func Vector(name string, dim int) *schemapb.FieldSchema {
	return &schemapb.FieldSchema{
		Name: name, DataType: schemapb.DataType_FloatVector,
		TypeParams: []*commonpb.KeyValuePair{{Key: "dim", Value: fmt.Sprint(dim)}},
	}
}

// Message is a generated message on the wire.
func Message(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err) // invalid UTF-8 in a test's own literal
	}
	return b
}

func number(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b // as proto3 has it
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func flag(b []byte, num protowire.Number, v bool) []byte {
	return number(b, num, protowire.EncodeBool(v))
}

func text(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func message(b []byte, num protowire.Number, m proto.Message) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), Message(m))
}
