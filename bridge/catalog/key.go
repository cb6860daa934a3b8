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
	kindOther kind = iota // not of this package's concern: credentials, replicas, what later versions add
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
)

// object names what a key holds. Equal objects are the same key, but for kindOther.
type object struct {
	kind   kind
	parent int64 // the database of a collection or an alias; the collection of its parts
	id     int64
	name   string // of an alias, in place of an id
}

// noDatabase is the parent of a collection whose key is of the time before there were databases.
const noDatabase = -1

// defaultDatabase is the id of the database "default", which is where those collections are.
const defaultDatabase = 1

// collection is the id of the collection that the object is or is part of; 0 for a database or an alias.
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

// layout is one kind of key: a folder with one or two elements behind it. The last may be a name, all others are ids.
type layout struct {
	folder   string
	kind     kind
	elements int
	named    bool
}

// layouts are all that is read.
func layouts() [12]layout {
	return [...]layout{
		{"root-coord/database/db-info/", kindDatabase, 1, false},
		{"root-coord/database/collection-info/", kindCollection, 2, false},
		{"root-coord/collection/", kindCollection, 1, false}, // before Milvus 2.2.9
		{"root-coord/fields/", kindField, 2, false},
		{"root-coord/struct-array-fields/", kindStructField, 2, false},
		{"root-coord/functions/", kindFunction, 2, false},
		{"root-coord/partitions/", kindPartition, 2, false},
		{"root-coord/database/aliases/", kindAlias, 2, true},
		{"root-coord/aliases/", kindAlias, 1, true}, // before Milvus 2.2.9
		{"field-index/", kindIndex, 2, false},
		{"querycoord-collection-loadinfo/", kindLoad, 1, false},
		{"querycoord-partition-loadinfo/", kindPartitionLoad, 2, false},
	}
}

// parseKey reads a key, without the prefix that all have. A key of a kind that is read but without its ids or its name is
// an error.
func parseKey(rel string) (object, error) {
	for _, l := range layouts() {
		rest, ok := strings.CutPrefix(rel, l.folder)
		if !ok {
			continue
		}
		o := object{kind: l.kind, parent: noDatabase}
		last := rest
		var err error
		if l.elements == 2 {
			var first string
			first, last, _ = strings.Cut(rest, "/")
			if o.parent, err = parseID(first); err != nil {
				return object{}, err
			}
		}
		if l.named {
			o.name, err = parseName(last)
		} else {
			o.id, err = parseID(last)
		}
		if err != nil {
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

// parseName takes one element, which Milvus's names are.
func parseName(s string) (string, error) {
	if s == "" || strings.Contains(s, "/") {
		return "", fmt.Errorf("%q in the key is no name", s)
	}
	return s, nil
}

// tombstone is what Milvus writes in place of deleting a key; a garbage collection of its own deletes the key later.
const tombstone = "\xe2\x9b\xbc"
