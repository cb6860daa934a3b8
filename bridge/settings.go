package bridge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// What stands in etcd alone, settings and definitions, is published as the difference between what a View shows and
// what the ledger says has been published. A difference is judged anew with every View: how the source came to its state
// is not known, and the events are those that lead a Milvus from the one state to the other.

// settle publishes what of a collection differs: first what has to be there before anything else can be said of it, and
// a release before what Milvus refuses to do to a loaded collection.
func (s *sequencer) settle(ctx context.Context, v *catalog.View, col *ledgerCollection, seen *catalog.Collection) (waiting int, err error) {
	for _, step := range []func(context.Context, difference) (int, error){
		s.newPartitions, s.released, s.alterCollection, s.newFields, s.alterFields, s.dropIndexes, s.putIndexes, s.loads,
	} {
		n, err := step(ctx, difference{view: v, col: col, seen: seen})
		if err != nil {
			return 0, err
		}
		waiting += n
	}
	return waiting, nil
}

// difference is a collection as it was published and as the catalogue shows it.
type difference struct {
	view *catalog.View
	col  *ledgerCollection
	seen *catalog.Collection
}

// settleAll settles every followed collection that has changed since it was settled last.
func (s *sequencer) settleAll(ctx context.Context, v *catalog.View) (waiting int, err error) {
	for _, id := range slices.Sorted(maps.Keys(s.ledger.collections)) {
		col, seen := s.ledger.collections[id], v.Collections[id]
		if seen == nil || seen.State != catalog.Created || s.over(col) || s.settled[id] == seen {
			continue
		}
		n, err := s.settle(ctx, v, col, seen)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			s.settled[id] = seen
		}
		waiting += n
	}
	return waiting, nil
}

// settingEvent is an event about a collection that comes from the catalogue. Its id tells apart states that come back:
// it has the object's id, the revision at which the difference was seen, and what is said.
func (s *sequencer) settingEvent(kind jetstream.Kind, col *ledgerCollection, object int64, body proto.Message) (*jetstream.Event, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode %s of %s: %w", kind, col.qualified(), err)
	}
	revision := s.meta.View().Revision
	id := fmt.Sprintf("%s:%d:%016x", schemaID(kind, object), revision, xxhash.Sum64(raw))
	if s.saidAt != revision {
		s.said, s.saidAt = map[string]int{}, revision
	}
	if s.said[id]++; s.said[id] > 1 { // the queue has brought the same state about twice since
		id += ":" + strconv.Itoa(s.said[id])
	}
	return &jetstream.Event{
		ID:   id,
		Kind: kind, TS: s.now(), Database: col.Database, DatabaseID: col.DatabaseID, Collection: col.Name, CollectionID: col.ID, Body: raw,
	}, nil
}

// publishSetting publishes a setting of a collection, or of a part of it that the object's id names.
func (s *sequencer) publishSetting(ctx context.Context, kind jetstream.Kind, col *ledgerCollection, object int64, body proto.Message) error {
	e, err := s.settingEvent(kind, col, object, body)
	if err != nil {
		return err
	}
	return s.publishSchema(ctx, e)
}

// objectOf is the object's id in the id of a setting's event.
func objectOf(e *jetstream.Event) (int64, error) {
	parts := strings.Split(e.ID, ":")
	if len(parts) < 2 {
		return 0, fmt.Errorf("event %s: its id names no object", e.ID)
	}
	id, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("event %s: its id names no object: %w", e.ID, err)
	}
	return id, nil
}

// change of pairs that Milvus is told in two requests, for it takes no request that both sets and deletes.
type alteration struct {
	set  []*commonpb.KeyValuePair // those that are new or have another value
	gone []string
}

// altering is what makes `was` what `is` says, by key.
func altering(was, is map[string]string) alteration {
	var a alteration
	for _, k := range slices.Sorted(maps.Keys(is)) {
		if v, ok := was[k]; !ok || v != is[k] {
			a.set = append(a.set, &commonpb.KeyValuePair{Key: k, Value: is[k]})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(was)) {
		if _, ok := is[k]; !ok {
			a.gone = append(a.gone, k)
		}
	}
	return a
}

// touches reports whether one of the keys is altered.
func (a alteration) touches(keys ...string) bool {
	for _, p := range a.set {
		if slices.Contains(keys, p.GetKey()) {
			return true
		}
	}
	return slices.ContainsFunc(a.gone, func(k string) bool { return slices.Contains(keys, k) })
}

// one calls fn for each property that is set or deleted: what a target refuses is kept by property.
func (a alteration) one(fn func(set []*commonpb.KeyValuePair, gone []string) error) error {
	for _, p := range a.set {
		if err := fn([]*commonpb.KeyValuePair{p}, nil); err != nil {
			return err
		}
	}
	for _, k := range a.gone {
		if err := fn(nil, []string{k}); err != nil {
			return err
		}
	}
	return nil
}

// each calls fn once for what is set and once for what is deleted, where there is anything.
func (a alteration) each(fn func(set []*commonpb.KeyValuePair, gone []string) error) error {
	if len(a.set) > 0 {
		if err := fn(a.set, nil); err != nil {
			return err
		}
	}
	if len(a.gone) > 0 {
		return fn(nil, a.gone)
	}
	return nil
}

// Properties that Milvus alters only while the collection is released.
const (
	propertyMmap     = "mmap.enabled"
	propertyLazyload = "lazyload.enabled"
)

// replicateProperties is how the names of those properties begin by which the source itself is replicated: no target's.
const replicateProperties = "replicate."

// properties are those of the source that a target is to have.
func properties(pairs []*commonpb.KeyValuePair) map[string]string {
	m := asMap(pairs)
	maps.DeleteFunc(m, func(k, _ string) bool { return strings.HasPrefix(k, replicateProperties) })
	return m
}

// alterCollection publishes properties that are not what they were.
func (s *sequencer) alterCollection(ctx context.Context, d difference) (int, error) {
	was := maps.Clone(d.col.Properties)
	maps.DeleteFunc(was, func(k, _ string) bool { return strings.HasPrefix(k, replicateProperties) })
	a := altering(was, properties(d.seen.Properties))
	if s.task.Leaves(jetstream.LeaveProperties) {
		return 0, nil
	}
	if a.touches(propertyMmap, propertyLazyload) {
		if err := s.release(ctx, d.col); err != nil {
			return 0, err
		}
	}
	return 0, a.one(func(set []*commonpb.KeyValuePair, gone []string) error {
		return s.publishSetting(ctx, jetstream.AlterCollection, d.col, d.col.ID, &milvuspb.AlterCollectionRequest{
			DbName: d.col.Database, CollectionName: d.col.Name, Properties: set, DeleteKeys: gone})
	})
}

// alterDatabase publishes a database's properties where they are not what they were: all of them, and then which are gone.
func (s *sequencer) alterDatabase(ctx context.Context, db *catalog.Database) error {
	if s.task.Leaves(jetstream.LeaveProperties) {
		return nil
	}
	var was map[string]string
	if known := s.ledger.databases[db.ID]; known != nil {
		was = known.Properties
	}
	is := properties(db.Properties)
	a := altering(was, is)
	if len(a.set) > 0 {
		a.set = altering(nil, is).set
	}
	of := &ledgerCollection{Database: db.Name, DatabaseID: db.ID}
	return a.each(func(set []*commonpb.KeyValuePair, gone []string) error {
		return s.publishSetting(ctx, jetstream.AlterDatabase, of, db.ID, &milvuspb.AlterDatabaseRequest{DbName: db.Name, Properties: set, DeleteKeys: gone})
	})
}
