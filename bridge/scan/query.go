package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// question is what the source is asked for.
type question struct {
	partition string // "": all of them
	expr      string
	fields    []string
	limit     int    // 0: as many as the source gives
	guarantee uint64 // the answer has all that was written up to then
}

const (
	countField = "count(*)"
	limitParam = "limit"

	// maxWindow is how many rows a Milvus gives in an answer unless somebody changed its maxQueryResultWindow.
	maxWindow = 16384
)

// ask asks the source.
func (col *Collection) ask(ctx context.Context, q question) ([]*schemapb.FieldData, error) {
	req := &milvuspb.QueryRequest{
		DbName: col.Database, CollectionName: col.Name, Expr: q.expr, OutputFields: q.fields,
		// A Milvus waits for such a guarantee only, where a strong one would have it wait for the next tick.
		ConsistencyLevel:   commonpb.ConsistencyLevel_Customized, //nolint:misspell // Milvus's own name
		GuaranteeTimestamp: q.guarantee,
	}
	if q.guarantee == 0 {
		req.ConsistencyLevel, req.GuaranteeTimestamp = commonpb.ConsistencyLevel_Eventually, 1
	}
	if q.partition != "" {
		req.PartitionNames = []string{q.partition}
	}
	if q.limit > 0 {
		req.QueryParams = append(req.QueryParams, &commonpb.KeyValuePair{Key: limitParam, Value: strconv.Itoa(q.limit)})
	}
	if col.client.lite && q.limit > 0 { // without it, a Milvus Lite limits rows in the order of their writing
		req.QueryParams = append(req.QueryParams, &commonpb.KeyValuePair{Key: "iterator", Value: "True"})
	}
	a, err := checked(col.client.service.Query(ctx, req))
	if err != nil {
		return nil, col.explain(ctx, q, err)
	}
	return a.GetFieldsData(), nil
}

// explain says what is behind an error, where the source has no code for it.
func (col *Collection) explain(ctx context.Context, q question, err error) error {
	where := col.String()
	if q.partition != "" {
		where += ", partition " + q.partition
	}
	var s *StatusError
	said := errors.As(err, &s)
	switch {
	case said && errors.Is(err, ErrNotLoaded):
		return fmt.Errorf("%s is %w: load it on the source, or set snapshot_load: true: %w", where, ErrNotLoaded, s)
	case said && !s.transient() && !isTooLarge(err) && !isWindow(err):
		if gone := col.same(ctx, q.partition); gone != nil {
			return fmt.Errorf("%w: %w", gone, err)
		}
	}
	return fmt.Errorf("query %s: %w", where, err)
}

// count is how many rows the source stores of which the expression is true. A key that it stores twice counts twice.
func (col *Collection) count(ctx context.Context, partition, expr string, guarantee uint64) (int64, error) {
	fields, err := col.ask(ctx, question{partition: partition, expr: expr, fields: []string{countField}, guarantee: guarantee})
	if err != nil {
		return 0, err
	}
	if len(fields) == 1 {
		if v := fields[0].GetScalars().GetLongData().GetData(); len(v) == 1 {
			return v[0], nil
		}
	}
	return 0, fmt.Errorf("count rows of %s: the source answers with %d columns, not with a number", col, len(fields))
}

// Count is how many rows a partition stores, at a state not older than the guarantee: "" is all partitions. A key that is
// stored twice counts twice.
func (col *Collection) Count(ctx context.Context, partition string, guarantee uint64) (int64, error) {
	n, err := col.count(ctx, partition, col.dialect.within(span{}), guarantee)
	if err != nil {
		return 0, err
	}
	return n, col.same(ctx, partition)
}

// keysIn are keys of a span, ascending. They are some of those that are there, or none if there is none: for want of a
// better word of which, no more is taken for granted than that they are not more than the limit.
func (col *Collection) keysIn(ctx context.Context, p Page, s span, limit int) ([]Key, error) {
	fields, err := col.ask(ctx, question{
		partition: p.Partition, expr: col.dialect.within(s), fields: []string{col.key.GetName()}, limit: limit, guarantee: p.Guarantee,
	})
	if err != nil {
		return nil, err
	}
	keys := keysOf(fields, col.key.GetName())
	slices.SortFunc(keys, Key.Compare)
	return keys, nil
}

// keysOf are the keys in an answer.
func keysOf(fields []*schemapb.FieldData, name string) []Key {
	var keys []Key
	for _, f := range fields {
		if f.GetFieldName() != name {
			continue
		}
		for _, v := range f.GetScalars().GetLongData().GetData() {
			keys = append(keys, IntKey(v))
		}
		for _, v := range f.GetScalars().GetStringData().GetData() {
			keys = append(keys, StringKey(v))
		}
	}
	return keys
}
