package milvus

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// Milvus Lite has one writer in mind: it numbers and logs the writes of two calls at once without a lock, and then loses
// some. So this Target writes to it one call after the other. Other workers can't be kept from writing at the same time.

// alone waits until no other call of this Target writes, if the target is a Milvus Lite. The caller calls done.
func (t *Target) alone(ctx context.Context, s *shape) (done func(), err error) {
	if !s.lite {
		return func() {}, nil
	}
	select {
	case t.single <- struct{}{}:
		return func() { <-t.single }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// replace is an upsert on a Milvus Lite, whose insert takes the place of a row with the same key. Its own upsert would keep
// what the old row had and the new one has not: what is beyond the schema's fields.
func (t *Target) replace(ctx context.Context, req *milvuspb.UpsertRequest) error {
	in := &milvuspb.InsertRequest{
		DbName: req.GetDbName(), CollectionName: req.GetCollectionName(), PartitionName: req.GetPartitionName(),
		NumRows: req.GetNumRows(),
	}
	in.ProtoReflect().SetUnknown(req.ProtoReflect().GetUnknown()) // the columns: fields_data has the same number in both
	res, err := t.service.Insert(ctx, in)
	return check(res, err)
}

// liteIndexes are the types of index that Milvus Lite can build. It takes the names of others, and fails when it has rows to
// build them of: each load from then on.
var liteIndexes = []string{"AUTOINDEX", "FLAT", "BRUTE_FORCE", "HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8", "SPARSE_INVERTED_INDEX", "INVERTED"}

// indexRequest is the request as the target takes it. A Milvus Lite looks for parameters in the JSON of "params" alone.
func (t *Target) indexRequest(ctx context.Context, req *milvuspb.CreateIndexRequest) (*milvuspb.CreateIndexRequest, error) {
	v, err := t.version(ctx)
	if err != nil || !v.lite {
		return req, err
	}
	params := indexParams(req.GetExtraParams())
	const indexType, metricType = "index_type", "metric_type"
	typ := cmp.Or(params[indexType], "INVERTED") // a scalar index of a 2.3.5 may have none: the server is to choose
	if !slices.Contains(liteIndexes, strings.ToUpper(typ)) {
		return nil, refuse(CodeUnsupported, "Milvus Lite can't build an index of type %q on %q: make another one there if you need one", typ, req.GetFieldName())
	}
	out := &milvuspb.CreateIndexRequest{
		DbName: req.GetDbName(), CollectionName: req.GetCollectionName(), FieldName: req.GetFieldName(), IndexName: req.GetIndexName(),
		ExtraParams: pairs{{Key: indexType, Value: typ}},
	}
	rest := map[string]any{}
	for k, value := range params {
		switch {
		case k == indexType:
		case k == metricType:
			out.ExtraParams = append(out.ExtraParams, &commonpb.KeyValuePair{Key: k, Value: value})
		case json.Valid([]byte(value)):
			rest[k] = json.RawMessage(value)
		default:
			rest[k] = value
		}
	}
	b, err := json.Marshal(rest)
	if err != nil {
		return nil, refuse(CodeRefused, "write the parameters of the index on %q: %w", req.GetFieldName(), err)
	}
	out.ExtraParams = append(out.ExtraParams, &commonpb.KeyValuePair{Key: nestedParams, Value: string(b)})
	return out, nil
}

// liteWarnings are what a Milvus Lite does otherwise than a Milvus, as far as the schema lets it.
func liteWarnings(s *schema) []string {
	out := []string{
		"Milvus Lite loses rows when several clients write to it at once: give the task one lane, or run one worker, and have no other writer",
		"Milvus Lite holds a key once, where Milvus may hold it once in each partition",
	}
	json := s.GetEnableDynamicField()
	for _, f := range s.GetFields() {
		switch f.GetDataType() {
		case schemapb.DataType_JSON:
			json = true
		case schemapb.DataType_SparseFloatVector:
			if !f.GetIsFunctionOutput() {
				out = append(out, fmt.Sprintf("Milvus Lite refuses a sparse vector without any number but zeros, or with a negative or infinite one, in %q", f.GetName()))
			}
		}
	}
	if json {
		out = append(out, "Milvus Lite writes JSON in its own words: the same values, not the same bytes")
	}
	return out
}
