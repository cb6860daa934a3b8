package milvus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
)

const needsIndex = "indexes of this kind"

// CreateIndex makes the index, in place of any that differs.
func (t *Target) CreateIndex(ctx context.Context, req *milvuspb.CreateIndexRequest) error {
	ref := handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}
	req, err := t.indexRequest(ctx, req)
	if err != nil {
		return setting(err, needsIndex)
	}
	have, err := t.indexes(ctx, ref)
	if err != nil {
		return setting(err, needsIndex)
	}
	var clash []*milvuspb.IndexDescription
	for _, d := range have {
		switch {
		case SameIndex(req, d):
			return t.restore(ctx, ref) // which an earlier call may not have come to
		case inTheWay(req, d):
			clash = append(clash, d)
		}
	}
	if len(clash) == 0 {
		if err := t.createIndex(ctx, req); err != nil {
			return setting(err, needsIndex)
		}
		return t.restore(ctx, ref)
	}
	err = t.whileReleased(ctx, ref,
		func() error { return t.dropIndexes(ctx, ref, clash) },
		func() error { return t.createInstead(ctx, req, clash) })
	return setting(err, needsIndex)
}

// createInstead makes an index after others were dropped for it. If the target does not take it the old ones are put
// back, so that what could be searched before still can, and the error is not tried again.
func (t *Target) createInstead(ctx context.Context, req *milvuspb.CreateIndexRequest, old []*milvuspb.IndexDescription) error {
	err := t.createIndex(ctx, req)
	if !isRefusal(err) {
		return err
	}
	for _, d := range old {
		again := t.createIndex(ctx, &milvuspb.CreateIndexRequest{
			DbName: req.GetDbName(), CollectionName: req.GetCollectionName(), FieldName: d.GetFieldName(),
			IndexName: d.GetIndexName(), ExtraParams: d.GetParams(),
		})
		if again != nil {
			return refuse(CodeRefused, "%w; and index %s, whose place it was to take, can't be made again: %w", err, d.GetIndexName(), again)
		}
	}
	return refuse(CodeRefused, "what it was to take the place of is there again: %w", err)
}

func (t *Target) createIndex(ctx context.Context, req *milvuspb.CreateIndexRequest) error {
	s, err := t.service.CreateIndex(ctx, &milvuspb.CreateIndexRequest{
		DbName: req.GetDbName(), CollectionName: req.GetCollectionName(), FieldName: req.GetFieldName(),
		IndexName: req.GetIndexName(), ExtraParams: req.GetExtraParams(),
	})
	return checkStatus(s, err)
}

// dropIndexes drops indexes by their names: by a field's name alone Milvus refuses if the collection has several.
func (t *Target) dropIndexes(ctx context.Context, ref handlers.Ref, list []*milvuspb.IndexDescription) error {
	for _, d := range list {
		s, err := t.service.DropIndex(ctx, &milvuspb.DropIndexRequest{
			DbName: ref.Database, CollectionName: ref.Collection, FieldName: d.GetFieldName(), IndexName: d.GetIndexName(),
		})
		if err := unless(checkStatus(s, err), CodeNoIndex); err != nil {
			return err
		}
	}
	return nil
}

// DropIndex removes the index if it is there. Milvus refuses while the collection is loaded, so it is released first. It is
// loaded again as it was, unless what it needs for that was just dropped: then the source had released it too.
func (t *Target) DropIndex(ctx context.Context, req *milvuspb.DropIndexRequest) error {
	ref := handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}
	have, err := t.indexes(ctx, ref)
	if err == nil {
		list := slices.DeleteFunc(have, func(d *milvuspb.IndexDescription) bool {
			if req.GetIndexName() == "" {
				return d.GetFieldName() != req.GetFieldName()
			}
			return !isNamed(d, req.GetFieldName(), req.GetIndexName())
		})
		err = t.whileReleased(ctx, ref, func() error { return t.dropIndexes(ctx, ref, list) }, nil)
	}
	return unless(setting(err, needsIndex), CodeNoIndex, CodeNoCollection, CodeNoDatabase)
}

// AlterIndex changes parameters that need no new build.
func (t *Target) AlterIndex(ctx context.Context, req *milvuspb.AlterIndexRequest) error {
	ref := handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}
	have, err := t.indexes(ctx, ref)
	if err != nil {
		return setting(err, needsIndex)
	}
	set, remove := req.GetExtraParams(), req.GetDeleteKeys()
	for _, d := range have {
		if d.GetIndexName() == req.GetIndexName() {
			set, remove = changes(d.GetParams(), set, remove)
		}
	}
	call := func(set pairs, remove []string) error {
		s, err := t.service.AlterIndex(ctx, &milvuspb.AlterIndexRequest{
			DbName: req.GetDbName(), CollectionName: req.GetCollectionName(), IndexName: req.GetIndexName(), ExtraParams: set, DeleteKeys: remove,
		})
		return checkStatus(s, err)
	}
	return setting(apart(set, remove, call), "Milvus 2.4 or later")
}

// indexes are the indexes of a collection. A 2.3.5 gives all of them, whatever field it is asked for.
func (t *Target) indexes(ctx context.Context, ref handlers.Ref) ([]*milvuspb.IndexDescription, error) {
	res, err := t.service.DescribeIndex(ctx, &milvuspb.DescribeIndexRequest{DbName: ref.Database, CollectionName: ref.Collection})
	return res.GetIndexDescriptions(), unless(check(res, err), CodeNoIndex)
}

// SameIndex reports whether the index is the wanted one. It may have parameters that were not asked for: servers add some.
func SameIndex(want *milvuspb.CreateIndexRequest, have *milvuspb.IndexDescription) bool {
	if have.GetFieldName() != want.GetFieldName() || !isNamed(have, want.GetFieldName(), want.GetIndexName()) {
		return false
	}
	h := indexParams(have.GetParams())
	for key, w := range indexParams(want.GetExtraParams()) {
		if !strings.EqualFold(w, h[key]) {
			return false
		}
	}
	return true
}

// isNamed reports whether the index has the name. One that is named as its field was given none, and is as good as any: a
// Milvus Lite keeps no names.
func isNamed(d *milvuspb.IndexDescription, field, name string) bool {
	return d.GetIndexName() == name || d.GetFieldName() == field && d.GetIndexName() == field
}

// inTheWay reports whether the index can't be there together with the wanted one: it has its name, or its field. A JSON field
// may have an index for each of its paths.
func inTheWay(want *milvuspb.CreateIndexRequest, have *milvuspb.IndexDescription) bool {
	const path = "json_path"
	return have.GetIndexName() == want.GetIndexName() || have.GetFieldName() == want.GetFieldName() &&
		indexParams(have.GetParams())[path] == indexParams(want.GetExtraParams())[path]
}

// nestedParams is the parameter that holds others, as JSON.
const nestedParams = "params"

// indexParams are the parameters that an index is built by. Some stand in the JSON of "params", some beside it, as whoever
// made the index liked. How it is held in memory is AlterIndex's affair.
func indexParams(list []*commonpb.KeyValuePair) map[string]string {
	out := map[string]string{}
	for _, p := range list {
		var nested map[string]any
		d := json.NewDecoder(strings.NewReader(p.GetValue()))
		d.UseNumber()
		if p.GetKey() != nestedParams || d.Decode(&nested) != nil {
			out[p.GetKey()] = p.GetValue()
			continue
		}
		for k, v := range nested {
			out[k] = text(v)
		}
	}
	for k := range out {
		if strings.HasPrefix(k, "mmap") || k == "indexoffsetcache.enabled" {
			delete(out, k)
		}
	}
	return out
}

// text is a JSON value as it would stand in a parameter.
func text(v any) string {
	switch v.(type) {
	case map[string]any, []any:
		var b bytes.Buffer
		if json.NewEncoder(&b).Encode(v) == nil {
			return strings.TrimSpace(b.String())
		}
	}
	return fmt.Sprint(v)
}
