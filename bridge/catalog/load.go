package catalog

import (
	"fmt"
	"maps"
)

// Load says that a Collection, or some of its partitions, is loaded for search or is being loaded.
type Load struct {
	State LoadState
	Type  LoadType
	// Replicas is how many copies are asked for.
	Replicas int32
	// Partitions are all that are loaded or being loaded, by id, whatever the Type: a loaded collection may have had
	// some released since. They appear one by one after the Load itself.
	Partitions map[int64]LoadState
}

// LoadState is how far a load has come.
type LoadState int

// The states, with Milvus's numbers. What is not loaded at all has no state, but is absent.
const (
	Loading LoadState = 1
	Loaded  LoadState = 2
)

// String is the state in words.
func (s LoadState) String() string {
	switch s {
	case Loading:
		return "loading"
	case Loaded:
		return "loaded"
	}
	return fmt.Sprintf("LoadState(%d)", int(s))
}

// LoadType is what was asked to be loaded.
type LoadType int

// The types, with Milvus's numbers. Partitions created in a collection that was loaded as a whole are loaded too.
const (
	LoadPartitions LoadType = 1
	LoadCollection LoadType = 2
)

// String is the type in words.
func (l LoadType) String() string {
	switch l {
	case LoadPartitions:
		return "partitions"
	case LoadCollection:
		return "collection"
	}
	return fmt.Sprintf("LoadType(%d)", int(l))
}

// CollectionReleased reports whether the view knows that nothing of the collection is loaded or being loaded: that there
// is no Load, and not because it, or the collection, could not be read.
func (v *View) CollectionReleased(id int64) bool {
	c := v.Collections[id]
	if c == nil {
		return v.CollectionGone(id)
	}
	return c.Load == nil && !v.unreadable(func(o object) bool { return o.kind == kindLoad && o.id == id })
}

// PartitionReleased reports whether the view knows that the partition is neither loaded nor being loaded, like
// CollectionReleased.
func (v *View) PartitionReleased(collection, id int64) bool {
	c := v.Collections[collection]
	if c == nil || c.Load == nil {
		return v.CollectionReleased(collection)
	}
	return c.Load.Partitions[id] == 0 && !v.unreadable(func(o object) bool {
		return o == object{kind: kindPartitionLoad, parent: collection, id: id}
	})
}

// loads is what etcd holds of a collection's load state. Its keys come and go in transactions of their own.
type loads struct {
	collection *Load // without partitions
	partitions map[int64]LoadState
}

func (l *loads) empty() bool { return l.collection == nil && len(l.partitions) == 0 }

// take keeps what the change says; what is gone or does not decode is forgotten.
func (l *loads) take(o object, c change) (err error) {
	if o.kind == kindLoad {
		l.collection = nil
		if !c.gone {
			l.collection, err = decodeLoad(c.value, o.id)
		}
		return err
	}
	var state LoadState
	if !c.gone {
		state, err = decodePartitionLoad(c.value, o)
	}
	set(&l.partitions, o.id, state, state == 0)
	return err
}

// build makes the Load, or nil when the collection has no key: a release removes that first, and a load writes it first.
func (l *loads) build() *Load {
	if l.collection == nil {
		return nil
	}
	load := *l.collection
	load.Partitions = maps.Clone(l.partitions)
	return &load
}

// decodeLoad reads a querypb.CollectionLoadInfo.
func decodeLoad(b []byte, id int64) (*Load, error) {
	l := &Load{}
	var collection int64
	var state, kind uint64
	err := walk(b, func(f field) error {
		switch f.num {
		case 1:
			return f.int64(&collection)
		case 3:
			return f.int32(&l.Replicas)
		case 4:
			return f.uint64(&state)
		case 6:
			return f.uint64(&kind)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case collection != id:
		return nil, fmt.Errorf("is of collection %d, which is not that of the key", collection)
	case kind != uint64(LoadPartitions) && kind != uint64(LoadCollection):
		return nil, fmt.Errorf("load type %d is unknown", kind)
	}
	l.Type = LoadType(kind)
	l.State, err = loadState(state)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// decodePartitionLoad reads the state of a querypb.PartitionLoadInfo. Its number of replicas is the collection's, or 0.
func decodePartitionLoad(b []byte, o object) (LoadState, error) {
	var collection, id int64
	var state uint64
	err := walk(b, func(f field) error {
		switch f.num {
		case 1:
			return f.int64(&collection)
		case 2:
			return f.int64(&id)
		case 4:
			return f.uint64(&state)
		}
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case collection != o.parent || id != o.id:
		return 0, fmt.Errorf("is of partition %d of collection %d, which are not those of the key", id, collection)
	}
	return loadState(state)
}

// loadState maps querypb.LoadStatus, which begins with an "invalid" that is never written.
func loadState(n uint64) (LoadState, error) {
	if n != uint64(Loading) && n != uint64(Loaded) {
		return 0, fmt.Errorf("load state %d is unknown", n)
	}
	return LoadState(n), nil
}
