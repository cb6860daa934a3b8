package catalog

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// keyRange is the one range of etcd's keys that is read, in the order of their bytes.
type keyRange struct {
	prefix     string // of every key of Milvus's meta
	first, end string // end is not in it
}

// newKeyRange reaches from the indexes over the load state to the root coordinator's keys: neighbours in the order of
// keys, so that one watch has them all. What is many lies outside: segments and checkpoints (datacoord-meta/,
// segment-index/), snapshots/. What else lies inside is passed over: replicas, resource groups.
func newKeyRange(prefix string) keyRange {
	return keyRange{prefix: prefix, first: prefix + "field-index/", end: prefix + "root-coord0"} // '0' comes after '/'
}

func (r keyRange) String() string { return r.first + " to " + r.end }

// kind is what a key holds.
type kind int

const (
	kindOther kind = iota // not of this package's concern: replicas, what later versions add
	kindDatabase
	kindCollection
	kindField
	kindStructField
	kindFunction
	kindPartition
	kindAlias
	kindIndex
	kindLoad
	kindPartitionLoad
	kindUser
	kindRole
	kindMember
	kindGrantee
	kindPrivilege
)

// object names what a key holds. Equal objects are the same key, but for kindOther.
type object struct {
	kind   kind
	parent int64 // the database of a collection or an alias; the collection of its parts
	id     int64
	name   string // of an alias, in place of an id; of what is about users and roles, all names in the key with '/' between
}

// noDatabase is the parent of a collection whose key is of the time before there were databases.
const noDatabase = -1

// defaultDatabase is the id of the database "default", which is where those collections are.
const defaultDatabase = 1

// collection is the id of the collection that the object is or is part of; 0 for anything else.
func (o object) collection() int64 {
	switch o.kind {
	case kindCollection, kindLoad:
		return o.id
	case kindField, kindStructField, kindFunction, kindPartition, kindIndex, kindPartitionLoad:
		return o.parent
	}
	return 0
}

// vital reports whether the object is one that a collection can't be without when it can't be read.
func (o object) vital() bool {
	switch o.kind {
	case kindCollection, kindField, kindStructField, kindFunction:
		return true
	}
	return false
}

// layout is one kind of key: a folder with ids behind it, and then names.
type layout struct {
	folder     string
	kind       kind
	ids, names int
}

// layouts are all that is read.
func layouts() [17]layout {
	return [...]layout{
		{"root-coord/database/db-info/", kindDatabase, 1, 0},
		{"root-coord/database/collection-info/", kindCollection, 2, 0},
		{"root-coord/collection/", kindCollection, 1, 0}, // before Milvus 2.2.9
		{"root-coord/fields/", kindField, 2, 0},
		{"root-coord/struct-array-fields/", kindStructField, 2, 0},
		{"root-coord/functions/", kindFunction, 2, 0},
		{"root-coord/partitions/", kindPartition, 2, 0},
		{"root-coord/database/aliases/", kindAlias, 1, 1},
		{"root-coord/aliases/", kindAlias, 0, 1}, // before Milvus 2.2.9
		{"field-index/", kindIndex, 2, 0},
		{"querycoord-collection-loadinfo/", kindLoad, 1, 0},
		{"querycoord-partition-loadinfo/", kindPartitionLoad, 2, 0},
		{"root-coord/credential/users/", kindUser, 0, 1},
		{"root-coord/credential/roles/", kindRole, 0, 1},
		{"root-coord/credential/user-role-mapping/", kindMember, 0, 2},
		{"root-coord/credential/grantee-privileges/", kindGrantee, 0, 3},
		{"root-coord/credential/grantee-id/", kindPrivilege, 0, 2},
	}
}

// parseKey reads a key, without the prefix that all have. A key of a kind that is read but without its ids or its names is
// an error.
func parseKey(rel string) (object, error) {
	for _, l := range layouts() {
		if rest, ok := strings.CutPrefix(rel, l.folder); ok {
			return l.parse(rest)
		}
	}
	return object{}, nil
}

// parse reads what is behind the folder.
func (l layout) parse(rest string) (object, error) {
	parts := strings.Split(rest, "/")
	if len(parts) != l.ids+l.names {
		return object{}, fmt.Errorf("%q in the key has not %d parts", rest, l.ids+l.names)
	}
	o := object{kind: l.kind, parent: noDatabase}
	var ids [2]int64
	for i := range l.ids {
		var err error
		if ids[i], err = parseID(parts[i]); err != nil {
			return object{}, err
		}
	}
	switch {
	case l.ids == 2:
		o.parent, o.id = ids[0], ids[1]
	case l.ids == 1 && l.names > 0:
		o.parent = ids[0]
	case l.ids == 1:
		o.id = ids[0]
	}
	for _, name := range parts[l.ids:] {
		if name == "" || !utf8.ValidString(name) {
			return object{}, fmt.Errorf("%q in the key is no name", name)
		}
	}
	o.name = strings.Join(parts[l.ids:], "/")
	return o, nil
}

// parseID takes only what Milvus writes, so that no two keys are one object.
func parseID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 0 || strconv.FormatInt(id, 10) != s {
		return 0, fmt.Errorf("%q in the key is no id", s)
	}
	return id, nil
}

// tombstone is what Milvus writes in place of deleting a key; a garbage collection of its own deletes the key later.
const tombstone = "\xe2\x9b\xbc"
