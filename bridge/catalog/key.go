package catalog

import (
	"fmt"
	"strconv"
	"strings"
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
	kindOther kind = iota // not of this package's concern: credentials, aliases, what later versions add
	kindDatabase
	kindCollection
	kindField
	kindStructField
	kindFunction
	kindPartition
)

// object names what a key holds. Equal objects are the same key, but for kindOther.
type object struct {
	kind   kind
	parent int64 // a collection's database; the collection of its parts
	id     int64
}

// noDatabase is the parent of a collection whose key is of the time before there were databases.
const noDatabase = -1

// defaultDatabase is the id of the database "default", which is where those collections are.
const defaultDatabase = 1

// collection is the id of the collection that the object is or is part of; 0 for a database.
func (o object) collection() int64 {
	switch o.kind {
	case kindCollection:
		return o.id
	case kindField, kindStructField, kindFunction, kindPartition:
		return o.parent
	}
	return 0
}

// layout is one kind of key: a folder with one or two ids behind it.
type layout struct {
	folder string
	kind   kind
	ids    int
}

// layouts are all that is read.
func layouts() [7]layout {
	return [...]layout{
		{"root-coord/database/db-info/", kindDatabase, 1},
		{"root-coord/database/collection-info/", kindCollection, 2},
		{"root-coord/collection/", kindCollection, 1}, // before Milvus 2.2.9
		{"root-coord/fields/", kindField, 2},
		{"root-coord/struct-array-fields/", kindStructField, 2},
		{"root-coord/functions/", kindFunction, 2},
		{"root-coord/partitions/", kindPartition, 2},
	}
}

// parseKey reads a key, without the prefix that all have. A key of a kind that is read but without its ids is an error.
func parseKey(rel string) (object, error) {
	for _, l := range layouts() {
		rest, ok := strings.CutPrefix(rel, l.folder)
		if !ok {
			continue
		}
		o := object{kind: l.kind, parent: noDatabase}
		last := rest
		if l.ids == 2 {
			var first string
			var err error
			first, last, _ = strings.Cut(rest, "/")
			if o.parent, err = parseID(first); err != nil {
				return object{}, err
			}
		}
		var err error
		if o.id, err = parseID(last); err != nil {
			return object{}, err
		}
		return o, nil
	}
	return object{}, nil
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
