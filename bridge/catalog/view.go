package catalog

import (
	"fmt"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// View is what a source's meta held at one revision. It and all it refers to never change: read it from anywhere, and
// never write to it. Objects whose key is gone or tombstoned are absent; what is being created or dropped is there, with
// its State.
type View struct {
	// Revision is etcd's. The view holds every change up to it and none after it.
	Revision    int64
	Databases   map[int64]*Database
	Collections map[int64]*Collection
	Aliases     map[AliasKey]*Alias
	Access      *Access // never nil; the same until something of it changes
	// Unreadable says, by etcd key, what could not be decoded. The object, and for a key of a field or a function the
	// collection, is left out of the view; but it is not gone, see CollectionGone. Nil as a rule.
	Unreadable map[string]error

	prefix string // of the keys in Unreadable
}

// Database is one database of the source.
type Database struct {
	ID      int64
	Name    string
	State   State
	Created uint64 // TSO; 0 when the source has noted no time
	// Properties are from Milvus 2.4.1 on.
	Properties []*commonpb.KeyValuePair
}

// Collection is one collection of the source, with its partitions, its indexes and what of it is loaded.
type Collection struct {
	ID         int64
	DatabaseID int64 // the database may be absent from the view, being dropped before a collection that is Dropping
	Name       string
	State      State
	// Schema has the user's fields in the order of their ids, without RowID and Timestamp, and the properties.
	Schema          *schemapb.CollectionSchema
	Channels        []string // physical channels, by shard
	VirtualChannels []string // by shard
	// Starts has, by physical channel, the queue's own form of the position of the collection's creation.
	Starts      map[string][]byte
	Created     uint64 // TSO
	Shards      int32
	Consistency commonpb.ConsistencyLevel
	Properties  []*commonpb.KeyValuePair
	Partitions  map[int64]*Partition
	Indexes     map[int64]*Index
	Load        *Load // nil when nothing of it is loaded
}

// Partition is one partition of a Collection.
type Partition struct {
	ID      int64
	Name    string
	State   State
	Created uint64 // TSO
}

// State is where an object is in its life.
type State int

// The states. Only a Created object is there for the source's users, and only a Created collection is complete. A
// creation may be rolled back: then the object goes from Creating to being absent.
const (
	Created State = iota
	Creating
	Dropping
	Dropped
)

// String is the state in words.
func (s State) String() string {
	switch s {
	case Created:
		return "created"
	case Creating:
		return "creating"
	case Dropping:
		return "dropping"
	case Dropped:
		return "dropped"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// DatabaseGone reports whether the view knows that there is no such database: it is absent, and not because its value
// could not be read. Whoever drops what is absent must ask this.
func (v *View) DatabaseGone(id int64) bool {
	return v.Databases[id] == nil && !v.unreadable(func(o object) bool { return o.kind == kindDatabase && o.id == id })
}

// CollectionGone reports whether the view knows that there is no such collection, like DatabaseGone.
func (v *View) CollectionGone(id int64) bool {
	return v.Collections[id] == nil && !v.unreadable(func(o object) bool { return o.vital() && o.collection() == id })
}

// PartitionGone reports whether the view knows that there is no such partition of the collection, like DatabaseGone.
func (v *View) PartitionGone(collection, id int64) bool {
	c := v.Collections[collection]
	if c == nil {
		return v.CollectionGone(collection)
	}
	return c.Partitions[id] == nil && !v.unreadable(func(o object) bool {
		return o == object{kind: kindPartition, parent: collection, id: id}
	})
}

func (v *View) unreadable(is func(object) bool) bool {
	for key := range v.Unreadable {
		if o, err := parseKey(strings.TrimPrefix(key, v.prefix)); err == nil && is(o) {
			return true
		}
	}
	return false
}
