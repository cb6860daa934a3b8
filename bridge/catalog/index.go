package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
)

// Index is one index of a Collection.
type Index struct {
	ID      int64
	Name    string
	FieldID int64
	// TypeParams are the field's, Params what the index is built with, and UserParams what the user asked for, which may
	// be empty. All are in the order of their keys; Milvus writes them in any.
	TypeParams, Params, UserParams []*commonpb.KeyValuePair
	Auto                           bool   // the user left the choice of its type to Milvus
	Created                        uint64 // TSO
}

// IndexGone reports whether the view knows that there is no such index of the collection, like DatabaseGone.
func (v *View) IndexGone(collection, id int64) bool {
	c := v.Collections[collection]
	if c == nil {
		return v.CollectionGone(collection)
	}
	return c.Indexes[id] == nil && !v.unreadable(func(o object) bool {
		return o == object{kind: kindIndex, parent: collection, id: id}
	})
}

// decodeIndex reads an indexpb.FieldIndex. One that is marked as deleted, whose key goes later, is nil: it is gone.
func decodeIndex(b []byte, o object) (*Index, error) {
	ix := &Index{}
	var collection int64
	var deleted bool
	err := walk(b, func(f field) error {
		switch f.num {
		case 1:
			return f.walk(func(f field) error { return ix.take(f, &collection) })
		case 2:
			return f.bool(&deleted)
		case 3:
			return f.uint64(&ix.Created)
		}
		return nil
	})
	if err == nil {
		err = checkIdentity(ix.Name, ix.ID, o.id)
	}
	switch {
	case err != nil:
		return nil, err
	case collection != o.parent:
		return nil, fmt.Errorf("is of collection %d, which is not that of the key", collection)
	case ix.FieldID == 0:
		return nil, errors.New("names no field")
	case deleted:
		return nil, nil
	}
	ix.ID = o.id
	for _, kvs := range [][]*commonpb.KeyValuePair{ix.TypeParams, ix.Params, ix.UserParams} {
		slices.SortFunc(kvs, func(a, b *commonpb.KeyValuePair) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	}
	return ix, nil
}

// take reads one field of an indexpb.IndexInfo.
func (ix *Index) take(f field, collection *int64) error {
	switch f.num {
	case 1:
		return f.int64(collection)
	case 2:
		return f.int64(&ix.FieldID)
	case 3:
		return f.string(&ix.Name)
	case 4:
		return f.int64(&ix.ID)
	case 5:
		return f.appendPair(&ix.TypeParams)
	case 6:
		return f.appendPair(&ix.Params)
	case 11:
		return f.bool(&ix.Auto)
	case 12:
		return f.appendPair(&ix.UserParams)
	}
	return nil
}
