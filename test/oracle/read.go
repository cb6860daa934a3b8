package oracle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// Rows are asked for by their keys, this many at a time: 500 rows of the largest dimension (32768) fit an answer.
const rowsPerQuery = 500

// ErrChanged says that a collection was written to while it was read.
var ErrChanged = errors.New("collection changed while it was read")

// Read loads a collection and reads all of it.
//
// The keys come first, of a whole partition in one answer, then the rows by their keys: so the answer does not depend
// on Milvus's limit of a result window, nor on the order in which it pages. Where a key is stored several times, Milvus 2.3
// leaves other keys out of its answers, and so is asked for the rest until nothing is left.
func (c *Cluster) Read(ctx context.Context, database, collection string) (*Table, error) {
	if err := c.Load(ctx, database, collection); err != nil {
		return nil, err
	}
	d, err := c.describe(ctx, database, collection)
	if err != nil {
		return nil, err
	}
	t, pk, err := newTable(database+"."+collection, d.GetSchema())
	if err != nil {
		return nil, err
	}
	r := &reader{c: c, t: t, pk: pk, database: database, collection: collection}
	partitions := []string{""}
	if !partitionKeyed(d.GetSchema()) {
		if partitions, err = c.partitions(ctx, database, collection); err != nil {
			return nil, err
		}
	}
	for _, p := range partitions {
		if err := r.partition(ctx, p); err != nil {
			return nil, fmt.Errorf("read %s.%s, partition %q: %w", database, collection, p, err)
		}
	}
	return t, nil
}

func partitionKeyed(s *schemapb.CollectionSchema) bool {
	return slices.ContainsFunc(s.GetFields(), func(f *schemapb.FieldSchema) bool { return f.GetIsPartitionKey() })
}

// partitions are the names of a collection's partitions, sorted.
func (c *Cluster) partitions(ctx context.Context, database, collection string) ([]string, error) {
	r, err := checked(c.svc.ShowPartitions(ctx, &milvuspb.ShowPartitionsRequest{DbName: database, CollectionName: collection}))
	if err != nil {
		return nil, fmt.Errorf("list partitions of %s.%s: %w", database, collection, err)
	}
	return slices.Sorted(slices.Values(r.GetPartitionNames())), nil
}

// reader fills a table from a collection.
type reader struct {
	c                    *Cluster
	t                    *Table
	pk                   string
	database, collection string
	fresh                bool // a strong query of this partition was answered
}

// partition reads one partition, or with no name all of them together.
func (r *reader) partition(ctx context.Context, name string) error {
	r.fresh = false
	stored, err := r.count(ctx, name, "")
	if err != nil {
		return err
	}
	r.fresh = true
	r.t.Counts[name] = stored
	keys, err := r.keys(ctx, name)
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	for part := range slices.Chunk(keys, rowsPerQuery) {
		if err := r.rows(ctx, name, part); err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
	}
	if int64(len(keys)) != stored {
		return r.duplicates(ctx, name, keys)
	}
	return nil
}

// keys are all keys of a partition, as they are written in a query.
func (r *reader) keys(ctx context.Context, partition string) ([]string, error) {
	var keys []string
	for {
		// Milvus has no expression for "all"; with no key yet, this one is true of every key of either type.
		columns, err := r.query(ctx, partition, fmt.Sprintf("not (%s)", r.among(keys)), r.pk)
		if err != nil {
			return nil, err
		}
		more := literals(columns, r.pk)
		if len(more) == 0 {
			return keys, nil
		}
		if keys = append(keys, more...); int64(len(keys)) == r.t.Counts[partition] {
			return keys, nil
		}
	}
}

// literals are the keys in an answer, as they are written in a query.
func literals(columns []*schemapb.FieldData, pk string) []string {
	var keys []string
	for _, fd := range columns {
		if fd.GetFieldName() != pk {
			continue
		}
		for _, k := range fd.GetScalars().GetLongData().GetData() {
			keys = append(keys, strconv.FormatInt(k, 10))
		}
		for _, k := range fd.GetScalars().GetStringData().GetData() {
			keys = append(keys, strconv.Quote(k))
		}
	}
	return keys
}

// among is the expression that is true of these keys.
func (r *reader) among(keys []string) string {
	return fmt.Sprintf("%s in [%s]", r.pk, strings.Join(keys, ","))
}

// rows reads the rows of some keys.
func (r *reader) rows(ctx context.Context, partition string, keys []string) error {
	left := map[string]bool{}
	for _, k := range keys {
		left[k] = true
	}
	for len(left) > 0 {
		columns, err := r.query(ctx, partition, r.among(slices.Collect(maps.Keys(left))), r.t.Fields...)
		if err != nil {
			return err
		}
		if err := r.t.rows(columns, r.pk, func(pk string, row Row) error {
			r.t.Rows[Key{Partition: partition, PK: pk}] = row
			return nil
		}); err != nil {
			return err
		}
		found := literals(columns, r.pk)
		if len(found) == 0 {
			return fmt.Errorf("%d rows are gone: %w", len(left), ErrChanged)
		}
		for _, k := range found {
			delete(left, k)
		}
	}
	return nil
}

// duplicates finds which keys are stored more than once, halving what it counts.
func (r *reader) duplicates(ctx context.Context, partition string, keys []string) error {
	n, err := r.count(ctx, partition, r.among(keys))
	if err != nil {
		return err
	}
	switch {
	case n == int64(len(keys)):
		return nil
	case n < int64(len(keys)):
		return fmt.Errorf("%d rows for %d keys: %w", n, len(keys), ErrChanged)
	case len(keys) == 1:
		r.t.Stored[Key{Partition: partition, PK: canonicalKey(keys[0])}] = n
		return nil
	}
	half := len(keys) / 2
	return errors.Join(r.duplicates(ctx, partition, keys[:half]), r.duplicates(ctx, partition, keys[half:]))
}

// canonicalKey is the canonical value of a key as it is written in a query.
func canonicalKey(literal string) string {
	if s, err := strconv.Unquote(literal); err == nil {
		return text(s)
	}
	return literal
}

// count is how many rows a partition stores for which the expression is true.
func (r *reader) count(ctx context.Context, partition, expr string) (int64, error) {
	columns, err := r.query(ctx, partition, expr, "count(*)")
	if err != nil {
		return 0, fmt.Errorf("count rows: %w", err)
	}
	if len(columns) == 1 {
		if v := columns[0].GetScalars().GetLongData().GetData(); len(v) == 1 {
			return v[0], nil
		}
	}
	return 0, fmt.Errorf("count rows: count(*) was answered with %d columns", len(columns))
}

// query asks for fields of the rows that the expression selects. A partition's first query waits until everything that
// was written is there, and nothing is taken away again: so the others need not wait.
func (r *reader) query(ctx context.Context, partition, expr string, fields ...string) ([]*schemapb.FieldData, error) {
	q := &milvuspb.QueryRequest{
		DbName: r.database, CollectionName: r.collection, Expr: expr, OutputFields: fields,
		ConsistencyLevel: commonpb.ConsistencyLevel_Eventually, GuaranteeTimestamp: 1,
	}
	if !r.fresh {
		q.ConsistencyLevel, q.GuaranteeTimestamp = commonpb.ConsistencyLevel_Strong, 0
	}
	if partition != "" {
		q.PartitionNames = []string{partition}
	}
	for i := 0; ; i++ {
		a, err := checked(r.c.svc.Query(ctx, q))
		if err == nil {
			return a.GetFieldsData(), nil
		}
		if i == changes || !strings.Contains(err.Error(), "delegator") {
			return nil, err
		}
		select { // a 2.3.5 says for a moment that it is loaded, and that who is to answer is just closing
		case <-time.After(loadPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// changes is how often a query is asked again when the one who is to answer it changes.
const changes = 50
