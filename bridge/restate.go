package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// A target that is not as the stream has made it is told again what it lacks: it alone, for such events can release a
// collection and load it again. They say what the ledger holds, so they change nothing of it.

// RestateRequest names what of a collection one target is to be told again.
type RestateRequest struct {
	CollectionID int64     `json:"collection_id"`
	Target       string    `json:"target"`
	Settings     []Setting `json:"settings"`
}

// Setting is one thing about a collection beside its rows.
type Setting struct {
	Kind  SettingKind `json:"kind"`
	Name  string      `json:"name,omitempty"`  // of an extra alias that of the target, else the source's
	Field string      `json:"field,omitempty"` // of an index
	Extra bool        `json:"extra,omitempty"` // only the target has it: it goes
}

// SettingKind says what a Setting is.
type SettingKind string

// The kinds of what can be told again.
const (
	SettingCollection SettingKind = "collection" // with everything about it
	SettingPartition  SettingKind = "partition"
	SettingIndex      SettingKind = "index"
	SettingAlias      SettingKind = "alias"
	SettingProperty   SettingKind = "property"
	SettingLoad       SettingKind = "load" // everything that is loaded
)

// Restate publishes, for one target alone, how the source has what is asked for. What the task does not replicate is left
// out. It returns the stream's sequence behind which that is. Safe for concurrent use.
func (b *Bridge) Restate(ctx context.Context, req RestateRequest) (seq uint64, err error) {
	return b.published(ctx, func(ctx context.Context, s *sequencer, done func(uint64, error)) error {
		if err := s.restate(ctx, req); err != nil {
			return err
		}
		s.pub.Mark(func(seq uint64) { done(seq, nil) })
		return nil
	})
}

// restate publishes what the request asks for. What can't be said again is the error, once everything else has been.
func (s *sequencer) restate(ctx context.Context, req RestateRequest) error {
	col := s.ledger.collections[req.CollectionID]
	if col == nil || s.over(col) {
		return fmt.Errorf("settings of collection %d: the task does not follow it", req.CollectionID)
	}
	r := restating{s: s, col: col, target: req.Target}
	if slices.ContainsFunc(req.Settings, func(is Setting) bool { return is.Kind == SettingCollection }) {
		return r.all(ctx, s.meta.View())
	}
	var odd []error
	for _, is := range req.Settings {
		if err := r.one(ctx, is); errors.As(err, new(*notRestatedError)) {
			odd = append(odd, err)
		} else if err != nil {
			return err
		}
	}
	if err := r.loads(ctx); err != nil {
		return err
	}
	return errors.Join(append(odd, r.loadMade(ctx, req.Settings))...)
}

// notRestatedError says what of a target has to be mended by hand.
type notRestatedError struct {
	is  Setting
	why string
}

// Error names it and says why.
func (e *notRestatedError) Error() string {
	return fmt.Sprintf("%s %q can't be made equal from here: %s", e.is.Kind, e.is.Name, e.why)
}

// restating tells one target about one collection.
type restating struct {
	s      *sequencer
	col    *ledgerCollection
	target string
}

// all tells it everything about the collection, from its creation on.
func (r restating) all(ctx context.Context, v *catalog.View) error {
	seen := v.Collections[r.col.ID]
	if seen == nil || seen.State != catalog.Created {
		return fmt.Errorf("the source has no collection %s any more", r.col.qualified())
	}
	if r.col.Database != defaultDatabase {
		if err := r.publish(ctx, jetstream.CreateDatabase, r.col.DatabaseID, &milvuspb.CreateDatabaseRequest{DbName: r.col.Database}); err != nil {
			return err
		}
	}
	if err := r.create(ctx, seen); err != nil {
		return err
	}
	return r.rest(ctx)
}

// create tells it of the creation, with the properties that the collection has by now.
func (r restating) create(ctx context.Context, seen *catalog.Collection) error {
	req, err := CreateRequest(&catalog.Database{Name: r.col.Database}, seen)
	if err != nil {
		return err
	}
	req.CollectionName, req.Properties = r.col.Name, altering(nil, r.col.Properties).set
	return r.publish(ctx, jetstream.CreateCollection, r.col.ID, req)
}

// rest tells it everything that came after the creation, in an order in which a target takes it.
func (r restating) rest(ctx context.Context) error {
	var all []Setting
	for _, id := range slices.Sorted(maps.Keys(r.col.Partitions)) {
		all = append(all, Setting{Kind: SettingPartition, Name: r.col.Partitions[id]})
	}
	for _, id := range slices.Sorted(maps.Keys(r.col.Indexes)) {
		all = append(all, Setting{Kind: SettingIndex, Name: r.col.Indexes[id].Name, Field: r.col.Indexes[id].Field})
	}
	for _, key := range r.s.ledger.aliasesOf(r.col.ID) {
		all = append(all, Setting{Kind: SettingAlias, Name: key.Name})
	}
	for _, is := range all {
		if err := r.one(ctx, is); err != nil {
			return err
		}
	}
	return r.loads(ctx)
}

func (r restating) one(ctx context.Context, is Setting) error {
	switch is.Kind {
	case SettingPartition:
		return r.partition(ctx, is)
	case SettingIndex:
		return r.index(ctx, is)
	case SettingAlias:
		return r.alias(ctx, is)
	case SettingProperty:
		return r.property(ctx, is)
	case SettingLoad:
		return nil // comes last, whatever was asked for
	}
	return &notRestatedError{is, "it is of no kind that can be told again"}
}

func (r restating) partition(ctx context.Context, is Setting) error {
	id := r.col.partitionNamed(is.Name)
	e := jetstream.Event{Partition: is.Name, PartitionID: id}
	switch {
	case is.Extra && id == 0 && is.Name != defaultPartition:
		return r.publishAs(ctx, e, jetstream.DropPartition, r.col.ID, &milvuspb.DropPartitionRequest{
			DbName: r.col.Database, CollectionName: r.col.Name, PartitionName: is.Name})
	case is.Extra || id == 0:
		return nil // it has come, or gone, since it was asked for
	}
	return r.publishAs(ctx, e, jetstream.CreatePartition, id, &milvuspb.CreatePartitionRequest{
		DbName: r.col.Database, CollectionName: r.col.Name, PartitionName: is.Name})
}

// loadMade has partitions loaded that were told again: in a collection that is loaded whole a Milvus need not do it by itself.
func (r restating) loadMade(ctx context.Context, told []Setting) error {
	l := r.col.Load
	if l == nil || !l.Whole {
		return nil
	}
	var names []string
	for _, is := range told {
		if is.Kind == SettingPartition && !is.Extra && r.col.partitionNamed(is.Name) != 0 && !slices.Contains(l.Parts, is.Name) {
			names = append(names, is.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return r.publish(ctx, jetstream.LoadPartitions, r.col.ID, &milvuspb.LoadPartitionsRequest{
		DbName: r.col.Database, CollectionName: r.col.Name, PartitionNames: names, ReplicaNumber: l.Replicas})
}

func (r restating) index(ctx context.Context, is Setting) error {
	for id, ix := range r.col.Indexes {
		if ix.Name == is.Name && ix.Field == is.Field {
			if is.Extra {
				return nil
			}
			return r.publish(ctx, jetstream.CreateIndex, id, &milvuspb.CreateIndexRequest{
				DbName: r.col.Database, CollectionName: r.col.Name, FieldName: ix.Field, IndexName: ix.Name, ExtraParams: altering(nil, ix.Params).set})
		}
	}
	if !is.Extra {
		return nil
	}
	return r.publish(ctx, jetstream.DropIndex, 0, &milvuspb.DropIndexRequest{
		DbName: r.col.Database, CollectionName: r.col.Name, FieldName: is.Field, IndexName: is.Name})
}

// alias tells of an alias. The source's name of one that only the target has is known where the task gives no other names.
func (r restating) alias(ctx context.Context, is Setting) error {
	named := jetstream.QualifiedName{Database: r.col.Database, Collection: is.Name}
	known, has := r.s.ledger.aliases[catalog.AliasKey{DatabaseID: r.col.DatabaseID, Name: is.Name}]
	switch {
	case !is.Extra && (!has || known != r.col.ID), is.Extra && has:
		return nil
	case !is.Extra:
		return r.publish(ctx, jetstream.CreateAlias, r.col.ID, &milvuspb.CreateAliasRequest{
			DbName: r.col.Database, CollectionName: r.col.Name, Alias: is.Name})
	case r.s.task.Place(named).Collection != is.Name:
		return &notRestatedError{is, "the task's map gives no alias of the source that name: drop it on the target"}
	}
	return r.publish(ctx, jetstream.DropAlias, r.col.ID, &milvuspb.DropAliasRequest{DbName: r.col.Database, Alias: is.Name})
}

// property tells of a property, after a release where Milvus alters it only then.
func (r restating) property(ctx context.Context, is Setting) error {
	value, has := r.col.Properties[is.Name]
	if has == is.Extra {
		return nil
	}
	if is.Name == propertyMmap || is.Name == propertyLazyload {
		if err := r.release(ctx); err != nil {
			return err
		}
	}
	req := &milvuspb.AlterCollectionRequest{DbName: r.col.Database, CollectionName: r.col.Name}
	if has {
		req.Properties = []*commonpb.KeyValuePair{{Key: is.Name, Value: value}}
	} else {
		req.DeleteKeys = []string{is.Name}
	}
	return r.publish(ctx, jetstream.AlterCollection, r.col.ID, req)
}

// release has the target release a collection that is about to be loaded again.
func (r restating) release(ctx context.Context) error {
	if r.col.Load == nil {
		return nil
	}
	return r.publish(ctx, jetstream.ReleaseCollection, r.col.ID, &milvuspb.ReleaseCollectionRequest{
		DbName: r.col.Database, CollectionName: r.col.Name})
}

// loads tells what is loaded. It comes after every other setting: a worker that dies on the way to one may leave the
// collection released.
func (r restating) loads(ctx context.Context) error {
	l, db, name := r.col.Load, r.col.Database, r.col.Name
	switch {
	case l == nil:
		return nil
	case !l.Whole && len(l.Parts) > 0:
		return r.publish(ctx, jetstream.LoadPartitions, r.col.ID, &milvuspb.LoadPartitionsRequest{
			DbName: db, CollectionName: name, PartitionNames: l.Parts, ReplicaNumber: l.Replicas})
	case !l.Whole:
		return nil
	}
	err := r.publish(ctx, jetstream.LoadCollection, r.col.ID, &milvuspb.LoadCollectionRequest{
		DbName: db, CollectionName: name, ReplicaNumber: l.Replicas})
	if err != nil || len(l.Parts) == 0 {
		return err
	}
	return r.publish(ctx, jetstream.ReleasePartitions, r.col.ID, &milvuspb.ReleasePartitionsRequest{
		DbName: db, CollectionName: name, PartitionNames: l.Parts})
}

func (r restating) publish(ctx context.Context, kind jetstream.Kind, object int64, body proto.Message) error {
	return r.publishAs(ctx, jetstream.Event{}, kind, object, body)
}

// publishAs publishes what has a partition, which the event names. Each saying is one of its own: what a target was told
// before may have been undone there since.
func (r restating) publishAs(ctx context.Context, e jetstream.Event, kind jetstream.Kind, object int64, body proto.Message) (err error) {
	r.s.restated++
	e.ID = fmt.Sprintf("%s:%s:%d:%d", schemaID(kind, object), r.target, r.s.epoch, r.s.restated)
	e.Kind, e.TS, e.Target = kind, r.s.now(), r.target
	e.Database, e.DatabaseID = r.col.Database, r.col.DatabaseID
	if kind != jetstream.CreateDatabase {
		e.Collection, e.CollectionID = r.col.Name, r.col.ID
	}
	if kind == jetstream.CreateCollection {
		e.Channels = r.col.Channels
	}
	if e.Body, err = proto.Marshal(body); err != nil {
		return fmt.Errorf("encode %s of %s: %w", kind, r.col.qualified(), err)
	}
	return r.s.publishSchema(ctx, &e)
}
