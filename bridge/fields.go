package bridge

import (
	"context"
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// newFields publishes fields that were added after the collection's creation.
func (s *sequencer) newFields(ctx context.Context, d difference) (int, error) {
	for _, f := range d.seen.Schema.GetFields() {
		if _, ok := d.col.Fields[f.GetName()]; ok {
			continue
		}
		schema, err := proto.Marshal(f)
		if err != nil {
			return 0, err
		}
		body, err := proto.Marshal(&milvuspb.AddCollectionFieldRequest{DbName: d.col.Database, CollectionName: d.col.Name, Schema: schema})
		if err != nil {
			return 0, err
		}
		err = s.publishSchema(ctx, &jetstream.Event{
			ID:   fmt.Sprintf("%s:%d", schemaID(jetstream.AddField, d.col.ID), f.GetFieldID()),
			Kind: jetstream.AddField, TS: s.now(), Database: d.col.Database, DatabaseID: d.col.DatabaseID,
			Collection: d.col.Name, CollectionID: d.col.ID, Body: body,
		})
		if err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// alterFields publishes what has been altered of fields, of which Milvus keeps the properties among the type's parameters.
func (s *sequencer) alterFields(ctx context.Context, d difference) (int, error) {
	if s.task.Leaves(jetstream.LeaveProperties) {
		return 0, nil
	}
	for _, f := range d.seen.Schema.GetFields() {
		a := altering(d.col.Fields[f.GetName()].Params, asMap(f.GetTypeParams()))
		if a.touches(propertyMmap) {
			if err := s.release(ctx, d.col); err != nil {
				return 0, err
			}
		}
		err := a.one(func(set []*commonpb.KeyValuePair, gone []string) error {
			return s.publishSetting(ctx, jetstream.AlterField, d.col, f.GetFieldID(), &milvuspb.AlterCollectionFieldRequest{
				DbName: d.col.Database, CollectionName: d.col.Name, FieldName: f.GetName(), Properties: set, DeleteKeys: gone})
		})
		if err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// ensureFields publishes the fields that a row has and the collection had not, before the row. Rows of a collection that
// is gone by now may be passed over: nothing of them would remain.
func (s *sequencer) ensureFields(ctx context.Context, col *ledgerCollection, fields []string) (become succession, err error) {
	isNew := func(f string) bool { _, ok := col.Fields[f]; return !ok }
	if !slices.ContainsFunc(fields, isNew) {
		return succeeds, nil
	}
	for _, look := range []func(context.Context) (*catalog.View, error){s.viewNow, s.viewSynced} {
		v, err := look(ctx)
		if err != nil {
			return waits, nil //nolint:nilerr // etcd does not answer: asked again
		}
		seen := v.Collections[col.ID]
		switch {
		case seen != nil:
			if _, err := s.newFields(ctx, difference{v, col, seen}); err != nil {
				return waits, err
			}
		case v.CollectionGone(col.ID):
			return outlived, nil
		default:
			return waits, nil
		}
		if !slices.ContainsFunc(fields, isNew) {
			return succeeds, nil
		}
	}
	name := fields[slices.IndexFunc(fields, isNew)]
	s.stop(col, fmt.Errorf("rows of %s have a field %q that the source's etcd does not show; its target can't be given them: delete the task and create it anew",
		col.qualified(), name))
	return outlived, nil
}

func (s *sequencer) viewNow(context.Context) (*catalog.View, error) { return s.meta.View(), nil }

func (s *sequencer) viewSynced(ctx context.Context) (*catalog.View, error) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	return s.meta.Sync(ctx)
}
