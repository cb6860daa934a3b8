package milvus

import (
	"context"
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/jetstream/rows"
)

// Milvus Lite has one writer in mind: it numbers and logs the writes of two calls at once without a lock, and then loses
// some. So this Target writes to it one call after the other. Other workers can't be kept from writing at the same time.

// alone waits until no other call of this Target writes to a Milvus Lite. The caller calls done.
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

// replace is an upsert on a Milvus Lite that has dynamic fields: its own leaves what the old row had beyond the schema's
// fields, if the new row has not. Doing it again after only half of it was done comes to the same end.
func (t *Target) replace(ctx context.Context, s *shape, r *rows.Rows, req *milvuspb.UpsertRequest) error {
	keys, err := r.Keys(s.Key)
	if err != nil {
		return refuse(CodeRefused, "read keys: %w", err)
	}
	res, err := t.service.Delete(ctx, &milvuspb.DeleteRequest{
		DbName: req.GetDbName(), CollectionName: req.GetCollectionName(), PartitionName: req.GetPartitionName(),
		Expr: inKeys(s.Key, keys),
	})
	if err := check(res, err); err != nil {
		return err
	}
	in := &milvuspb.InsertRequest{
		DbName: req.GetDbName(), CollectionName: req.GetCollectionName(), PartitionName: req.GetPartitionName(),
		NumRows: req.GetNumRows(),
	}
	in.ProtoReflect().SetUnknown(req.ProtoReflect().GetUnknown()) // the columns: fields_data has the same number in both
	res, err = t.service.Insert(ctx, in)
	return check(res, err)
}

// liteWarnings are what a Milvus Lite does otherwise than a Milvus, as far as the schema lets it.
func liteWarnings(s *schema) []string {
	out := []string{
		"Milvus Lite loses rows when several clients write to it at once: have one worker, and no other writer",
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
