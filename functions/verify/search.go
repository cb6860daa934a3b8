package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/scan"
)

const (
	topK       = 10
	searchMost = 100 // vectors of one request
	// searchParams has a parameter for each kind of index that needs one, wide enough to find ten. An index does not look at others.
	searchParams = `{"nprobe":64,"ef":128,"search_list":128,"level":2}`
	metricType   = "metric_type"
)

// placeholderOf is how a request says of which type a vector is; false for what is none.
func placeholderOf(typ schemapb.DataType) (commonpb.PlaceholderType, bool) {
	switch typ {
	case schemapb.DataType_FloatVector:
		return commonpb.PlaceholderType_FloatVector, true
	case schemapb.DataType_BinaryVector:
		return commonpb.PlaceholderType_BinaryVector, true
	case schemapb.DataType_Float16Vector:
		return commonpb.PlaceholderType_Float16Vector, true
	case schemapb.DataType_BFloat16Vector:
		return commonpb.PlaceholderType_BFloat16Vector, true
	case schemapb.DataType_SparseFloatVector:
		return commonpb.PlaceholderType_SparseFloatVector, true
	case schemapb.DataType_Int8Vector:
		return commonpb.PlaceholderType_Int8Vector, true
	}
	return 0, false
}

// search searches on both sides for vectors of the source's rows, and tells how alike the results are. That is no part of the verdict:
// what is found near a vector is for an index to say, and two may say otherwise of the same rows.
func (c *comparison) search(ctx context.Context, partitions []string) error {
	if c.cfg.Search == 0 || len(partitions) == 0 {
		return nil
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	from, err := c.searched(ctx, partitions)
	if err != nil {
		return err
	}
	set, err := settingsOf(ctx, c.src)
	if err != nil {
		return err
	}
	for _, f := range c.src.col.Schema.GetFields() {
		typ, ok := placeholderOf(f.GetDataType())
		if !ok || !slices.Contains(c.fields.names, f.GetName()) {
			continue
		}
		o, err := c.overlap(ctx, f.GetName(), typ, from, metricOf(set.indexes, f.GetName()))
		if err != nil {
			o.Why = err.Error()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.out.Search = append(c.out.Search, o)
	}
	return nil
}

// searched are rows of the source to search for: the first of each partition, until they are enough.
func (c *comparison) searched(ctx context.Context, partitions []string) ([]*page, error) {
	var out []*page
	left := c.cfg.Search
	for _, p := range partitions {
		if left <= 0 {
			break
		}
		got, err := c.src.read(ctx, scan.Page{Partition: p, Limit: left, Guarantee: c.src.begun})
		if err != nil {
			return nil, err
		}
		rows, err := c.fields.newPage(got, c.src.keep)
		if err != nil {
			return nil, err
		}
		left -= len(rows.keys)
		out = append(out, rows)
	}
	return out, nil
}

// metricOf is the metric of a field's index; empty if it has none.
func metricOf(indexes []*milvuspb.IndexDescription, field string) string {
	for _, d := range indexes {
		for _, p := range d.GetParams() {
			if d.GetFieldName() == field && p.GetKey() == metricType {
				return p.GetValue()
			}
		}
	}
	return ""
}

// overlap searches for one field's vectors.
func (c *comparison) overlap(ctx context.Context, field string, typ commonpb.PlaceholderType, from []*page, metric string) (Overlap, error) {
	out := Overlap{Field: field}
	at := slices.Index(c.fields.names, field)
	var vectors [][]byte
	for _, p := range from {
		for k := range p.keys {
			if r := p.row(k); p.cols[at] != nil && !p.cols[at].null(r.i) {
				vectors = append(vectors, p.cols[at].append(nil, r.i))
			}
		}
	}
	if len(vectors) == 0 {
		return out, errors.New("there is no vector to search for")
	}
	var sum float64
	for part := range slices.Chunk(vectors, searchMost) {
		s := searching{field: field, metric: metric, n: len(part)}
		var err error
		s.group, err = proto.Marshal(&commonpb.PlaceholderGroup{Placeholders: []*commonpb.PlaceholderValue{{Tag: "$0", Type: typ, Values: part}}})
		if err != nil {
			return out, fmt.Errorf("encode vectors of %q: %w", field, err)
		}
		src, dst, err := c.bothSearch(ctx, s)
		if err != nil {
			return out, err
		}
		for i := range part {
			sum += shared(src[i], dst[i])
		}
		out.Searches += len(part)
	}
	out.Mean = sum / float64(out.Searches)
	return out, nil
}

// shared is which part of the longer list is in both.
func shared(a, b []scan.Key) float64 {
	both := 0
	for _, k := range a {
		if slices.Contains(b, k) {
			both++
		}
	}
	if most := max(len(a), len(b)); most > 0 {
		return float64(both) / float64(most)
	}
	return 1
}

// searching is one request, for either side.
type searching struct {
	field, metric string
	group         []byte
	n             int // vectors
}

func (c *comparison) bothSearch(ctx context.Context, s searching) (src, dst [][]scan.Key, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { src, err = c.src.search(ctx, s); return err })
	g.Go(func() (err error) { dst, err = c.dst.search(ctx, s); return err })
	return src, dst, g.Wait()
}

// search gives the keys of the rows nearest to each vector.
func (s *side) search(ctx context.Context, what searching) (out [][]scan.Key, err error) {
	req := &milvuspb.SearchRequest{
		DbName: s.col.Database, CollectionName: s.col.Name, DslType: commonpb.DslType_BoolExprV1, Nq: int64(what.n),
		PlaceholderGroup: what.group, ConsistencyLevel: commonpb.ConsistencyLevel_Strong,
		SearchParams: []*commonpb.KeyValuePair{
			{Key: "anns_field", Value: what.field}, {Key: "topk", Value: fmt.Sprint(topK)}, {Key: metricType, Value: what.metric},
			{Key: "params", Value: searchParams}, {Key: "round_decimal", Value: "-1"},
		},
	}
	err = s.again(ctx, func() error {
		res, err := checked(s.client.Service().Search(ctx, req))
		if err != nil {
			return fmt.Errorf("search %q of %s: %w", what.field, s.col, err)
		}
		out, err = hits(res.GetResults(), what.n)
		return err
	})
	return out, err
}

// hits are the keys in an answer, for each vector.
func hits(r *schemapb.SearchResultData, n int) ([][]scan.Key, error) {
	var all []scan.Key
	for _, k := range r.GetIds().GetIntId().GetData() {
		all = append(all, scan.IntKey(k))
	}
	for _, k := range r.GetIds().GetStrId().GetData() {
		all = append(all, scan.StringKey(k))
	}
	out := make([][]scan.Key, n)
	for i := range out {
		if i >= len(r.GetTopks()) {
			break
		}
		k := int(r.GetTopks()[i])
		if k < 0 || k > len(all) {
			return nil, fmt.Errorf("an answer says that it has %d keys, and has %d", k, len(all))
		}
		out[i], all = all[:k], all[k:]
	}
	return out, nil
}
