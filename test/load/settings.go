package load

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
)

// Indexes and what is loaded.

// createIndex makes one on a field that has none.
func (c *Churn) createIndex(ctx context.Context) (string, error) {
	col := c.collection(func(x *churned) bool { return len(x.index) < len(x.kind.indexes()) })
	if col == nil {
		return "", nil
	}
	var fields []string
	for _, f := range slices.Sorted(maps.Keys(col.kind.indexes())) {
		if col.index[f] == "" {
			fields = append(fields, f)
		}
	}
	return c.index(ctx, col, pick(c, fields))
}

func (c *Churn) index(ctx context.Context, col *churned, field string) (string, error) {
	params := pick(c, col.kind.indexes()[field])
	name := pick(c, []string{"", "ix_" + field, "ix" + strconv.Itoa(c.rng.IntN(3)) + field})
	req := &milvuspb.CreateIndexRequest{DbName: col.db, CollectionName: col.name, FieldName: field, IndexName: name, ExtraParams: pairsOf(params)}
	if col.index[field] = name; name == "" {
		col.index[field] = field // which is how it can be dropped
	}
	col.indexed = true
	return fmt.Sprintf("create index %q on %s of %s: %s", name, field, col, params), answered(c.svc.CreateIndex(ctx, req))
}

func (c *Churn) dropIndex(ctx context.Context) (string, error) {
	col := c.collection(func(x *churned) bool { return len(x.index) > 0 })
	if col == nil {
		return "", nil
	}
	return c.removeIndex(ctx, col, pick(c, slices.Sorted(maps.Keys(col.index))))
}

// removeIndex releases the collection first, as Milvus wants it.
func (c *Churn) removeIndex(ctx context.Context, col *churned, field string) (string, error) {
	did := fmt.Sprintf("drop index on %s of %s", field, col)
	if err := answered(c.svc.ReleaseCollection(ctx, &milvuspb.ReleaseCollectionRequest{DbName: col.db, CollectionName: col.name})); err != nil {
		return did, err
	}
	name, err := c.indexName(ctx, col, field)
	if err != nil {
		return did, err
	}
	delete(col.index, field)
	return did, answered(c.svc.DropIndex(ctx, &milvuspb.DropIndexRequest{DbName: col.db, CollectionName: col.name, FieldName: field, IndexName: name}))
}

// indexName is the name of a field's index, also of one that Milvus named: without it, none is dropped where there are several.
func (c *Churn) indexName(ctx context.Context, col *churned, field string) (string, error) {
	if name := col.index[field]; name != field {
		return name, nil
	}
	r, err := c.svc.DescribeIndex(ctx, &milvuspb.DescribeIndexRequest{DbName: col.db, CollectionName: col.name})
	if err == nil {
		err = answered(r.GetStatus(), nil)
	}
	for _, ix := range r.GetIndexDescriptions() {
		if ix.GetFieldName() == field {
			return ix.GetIndexName(), nil
		}
	}
	return "", err
}

// otherIndex puts another one in an index's place, and loads the collection as likely as not.
func (c *Churn) otherIndex(ctx context.Context) (string, error) {
	col := c.collection(func(x *churned) bool { return len(x.index) > 0 })
	if col == nil {
		return "", nil
	}
	field := pick(c, slices.Sorted(maps.Keys(col.index)))
	calls := []func() (string, error){
		func() (string, error) { return c.removeIndex(ctx, col, field) },
		func() (string, error) { return c.index(ctx, col, field) },
	}
	if col.index["vec"] != "" && c.rng.IntN(2) == 0 {
		calls = append(calls, func() (string, error) { return c.loadWhole(ctx, col) })
	}
	return several(calls...)
}

func loadable(x *churned) bool { return x.index["vec"] != "" }

func (c *Churn) load(ctx context.Context) (string, error) {
	col := c.collection(loadable)
	if col == nil {
		return "", nil
	}
	return c.loadWhole(ctx, col)
}

// reload releases a collection that has got an index since: Milvus 2.3 loads none anew that has.
func (c *Churn) reload(ctx context.Context, col *churned) error {
	if !col.indexed {
		return nil
	}
	col.indexed = false
	return answered(c.svc.ReleaseCollection(ctx, &milvuspb.ReleaseCollectionRequest{DbName: col.db, CollectionName: col.name}))
}

func (c *Churn) loadWhole(ctx context.Context, col *churned) (string, error) {
	if err := c.reload(ctx, col); err != nil {
		return "load " + col.String(), err
	}
	return "load " + col.String(), answered(c.svc.LoadCollection(ctx,
		&milvuspb.LoadCollectionRequest{DbName: col.db, CollectionName: col.name, ReplicaNumber: 1}))
}

func (c *Churn) release(ctx context.Context) (string, error) {
	col := c.collection(loadable)
	if col == nil {
		return "", nil
	}
	return "release " + col.String(), answered(c.svc.ReleaseCollection(ctx,
		&milvuspb.ReleaseCollectionRequest{DbName: col.db, CollectionName: col.name}))
}

func (c *Churn) loadPartitions(ctx context.Context) (string, error) {
	col := c.collection(func(x *churned) bool { return loadable(x) && x.kind != keyed })
	if col == nil {
		return "", nil
	}
	some := c.some(col)
	if err := c.reload(ctx, col); err != nil {
		return "load partitions of " + col.String(), err
	}
	return fmt.Sprintf("load partitions %v of %s", some, col), answered(c.svc.LoadPartitions(ctx,
		&milvuspb.LoadPartitionsRequest{DbName: col.db, CollectionName: col.name, PartitionNames: some, ReplicaNumber: 1}))
}

func (c *Churn) releasePartitions(ctx context.Context) (string, error) {
	col := c.collection(func(x *churned) bool { return loadable(x) && x.kind != keyed })
	if col == nil {
		return "", nil
	}
	some := c.some(col)
	return fmt.Sprintf("release partitions %v of %s", some, col), answered(c.svc.ReleasePartitions(ctx,
		&milvuspb.ReleasePartitionsRequest{DbName: col.db, CollectionName: col.name, PartitionNames: some}))
}

// some are one or more of a collection's partitions.
func (c *Churn) some(col *churned) []string {
	all := append([]string{"_default"}, col.parts...)
	c.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+c.rng.IntN(len(all))]
}

func (c *Churn) flush(ctx context.Context) (string, error) {
	col := c.collection(anyOf)
	if col == nil {
		return "", nil
	}
	r, err := c.svc.Flush(ctx, &milvuspb.FlushRequest{DbName: col.db, CollectionNames: []string{col.name}})
	if err == nil {
		err = answered(r.GetStatus(), nil)
	}
	return "flush " + col.String(), err
}
