package milvus

import (
	"context"
	"math"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/handlers"
	"kitestream/jetstream/rows"
)

// KeysBeside asks for all of them at once: keys that a target has and its source does not are few, and a limit would give any
// of them, in no order.
func (t *Target) KeysBeside(ctx context.Context, ref handlers.Ref, partition string, r handlers.Range) (rows.Keys, error) {
	s, err := t.shape(ctx, ref)
	if err != nil {
		return rows.Keys{}, err
	}
	req := &milvuspb.QueryRequest{DbName: ref.Database, CollectionName: ref.Collection, Expr: s.beside(r), OutputFields: []string{s.Key},
		ConsistencyLevel: commonpb.ConsistencyLevel_Strong}
	if name := s.partition(partition); name != "" {
		req.PartitionNames = []string{name}
	}
	res, err := t.service.Query(ctx, req)
	if err := t.changed(ref, check(res, err)); err != nil {
		return rows.Keys{}, err
	}
	for _, f := range res.GetFieldsData() {
		if f.GetFieldName() != s.Key {
			continue
		}
		if f.GetType() == schemapb.DataType_VarChar {
			return rows.Keys{Strings: f.GetScalars().GetStringData().GetData()}, nil
		}
		return rows.Keys{Ints: f.GetScalars().GetLongData().GetData()}, nil
	}
	return rows.Keys{}, nil
}

// beside is the expression: within the range, and not among the keys to keep.
func (s *shape) beside(r handlers.Range) string {
	var parts []string
	if r.After != nil {
		parts = append(parts, "not ("+s.upTo(*r.After)+")")
	}
	if r.Until != nil {
		parts = append(parts, s.upTo(*r.Until))
	}
	if r.Keep.Len() > 0 {
		parts = append(parts, strings.Replace(s.inKeys(r.Keep), " in [", " not in [", 1))
	}
	switch {
	case len(parts) > 0:
	case s.text(): // an expression there must be
		parts = append(parts, s.Key+` >= ""`)
	default:
		parts = append(parts, s.Key+" <= 9223372036854775807")
	}
	return strings.Join(parts, " and ")
}

// upTo is the expression: not above the key. The least of all numbers can't be compared with.
func (s *shape) upTo(k rows.Key) string {
	keys := rows.Keys{Ints: []int64{k.Int}}
	if s.text() {
		keys = rows.Keys{Strings: []string{k.String}}
	} else if k.Int == math.MinInt64 {
		return s.inKeys(keys)
	}
	var b strings.Builder
	b.WriteString(s.Key + " <= ")
	s.literal(&b, keys, 0)
	return b.String()
}

// text reports whether the primary key is a VarChar.
func (s *shape) text() bool { return s.types[s.Key] == schemapb.DataType_VarChar }
