package bridge

import (
	"context"
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// Keys of an index's parameters.
const (
	paramIndexType  = "index_type"
	paramMetricType = "metric_type"
	autoIndex       = "AUTOINDEX"
)

// dropIndexes publishes the drop of indexes that are gone. Milvus refuses to drop a vector's index of what is loaded: so it
// had been released, even if a View later it is loaded again.
func (s *sequencer) dropIndexes(ctx context.Context, d difference) (int, error) {
	for _, id := range slices.Sorted(maps.Keys(d.col.Indexes)) {
		if !d.view.IndexGone(d.col.ID, id) {
			continue
		}
		ix := d.col.Indexes[id]
		if isVector(d.seen, ix.Field) {
			if err := s.release(ctx, d.col); err != nil {
				return 0, err
			}
		}
		err := s.publishSetting(ctx, jetstream.DropIndex, d.col, id, &milvuspb.DropIndexRequest{
			DbName: d.col.Database, CollectionName: d.col.Name, FieldName: ix.Field, IndexName: ix.Name})
		if err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// isVector reports whether the field is one of vectors, or not known.
func isVector(seen *catalog.Collection, field string) bool {
	for _, f := range seen.Schema.GetFields() {
		if f.GetName() == field {
			return f.GetDataType() >= schemapb.DataType_BinaryVector && f.GetDataType() < schemapb.DataType_ArrayOfStruct
		}
	}
	return true
}

// putIndexes publishes indexes that are new or have been altered. One whose field the catalogue does not show waits.
func (s *sequencer) putIndexes(ctx context.Context, d difference) (waiting int, err error) {
	if s.task.Leaves(jetstream.LeaveIndex) {
		return 0, nil
	}
	for _, id := range slices.Sorted(maps.Keys(d.seen.Indexes)) {
		ix := d.seen.Indexes[id]
		if was, ok := d.col.Indexes[id]; ok {
			err = s.alterIndex(ctx, d, ix, was)
		} else if field := fieldName(d.seen.Schema, ix.FieldID); field != "" {
			err = s.publishSetting(ctx, jetstream.CreateIndex, d.col, id, &milvuspb.CreateIndexRequest{
				DbName: d.col.Database, CollectionName: d.col.Name, FieldName: field, IndexName: ix.Name, ExtraParams: askedFor(ix, isVector(d.seen, field))})
		} else {
			waiting++
		}
		if err != nil {
			return 0, err
		}
	}
	return waiting, nil
}

func (s *sequencer) alterIndex(ctx context.Context, d difference, ix *catalog.Index, was ledgerIndex) error {
	a := altering(was.Params, asMap(askedFor(ix, isVector(d.seen, was.Field))))
	if a.touches(propertyMmap) {
		if err := s.release(ctx, d.col); err != nil {
			return err
		}
	}
	return a.each(func(set []*commonpb.KeyValuePair, gone []string) error {
		return s.publishSetting(ctx, jetstream.AlterIndex, d.col, ix.ID, &milvuspb.AlterIndexRequest{
			DbName: d.col.Database, CollectionName: d.col.Name, IndexName: ix.Name, ExtraParams: set, DeleteKeys: gone})
	})
}

// askedFor are the parameters that a client would have to give for this index: the user's, and those that say what a vector's is
// where the user left them to Milvus, for a target of another version may choose otherwise. An index that Milvus was to
// choose is for the target to choose, and so is a scalar's of no type. A field's own parameters are the field's.
func askedFor(ix *catalog.Index, vector bool) []*commonpb.KeyValuePair {
	asked, built := asMap(ix.UserParams), asMap(ix.Params)
	if !vector {
		return altering(nil, asked).set
	}
	if asked == nil {
		asked = map[string]string{}
	}
	if len(ix.UserParams) == 0 && !ix.Auto {
		asked = maps.Clone(built)
	}
	for key, value := range map[string]string{paramIndexType: built[paramIndexType], paramMetricType: built[paramMetricType]} {
		if key == paramIndexType && ix.Auto {
			value = autoIndex
		}
		if asked[key] == "" && value != "" {
			asked[key] = value
		}
	}
	return altering(nil, asked).set
}

// fieldName is the name of the field of that id, or of one within an array of structs.
func fieldName(schema *schemapb.CollectionSchema, id int64) string {
	all := slices.Clone(schema.GetFields())
	for _, st := range schema.GetStructArrayFields() {
		all = append(all, st.GetFields()...)
	}
	for _, f := range all {
		if f.GetFieldID() == id {
			return f.GetName()
		}
	}
	return ""
}
