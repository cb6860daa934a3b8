package oracle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// loadPause is the time between looks at a collection that is loading.
const loadPause = 100 * time.Millisecond

// Load makes a collection readable: an index that keeps vectors as they are on each vector field that has none, then
// loads it, and returns when it is loaded. Done already, it changes nothing. A load that Milvus gives up, as it does for some
// seconds after a crash, is begun again until ctx ends.
func (c *Cluster) Load(ctx context.Context, database, collection string) error {
	s, err := c.describe(ctx, database, collection)
	if err != nil {
		return err
	}
	for _, f := range s.GetSchema().GetFields() {
		if err := c.index(ctx, database, collection, f); err != nil {
			return fmt.Errorf("index %s of %s.%s: %w", f.GetName(), database, collection, err)
		}
	}
	if err := c.releaseParts(ctx, database, collection); err != nil {
		return err
	}
	tick := time.NewTicker(loadPause)
	defer tick.Stop()
	for {
		loaded, err := c.tryLoad(ctx, database, collection)
		if loaded {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("load %s.%s: %w", database, collection, err)
		case <-tick.C:
		}
	}
}

// releaseParts releases what is loaded by parts. A 2.3.5 that is asked to load the whole of it may say that it is, and give none of the
// rows of the other partitions; or it refuses, if there is an index since.
func (c *Cluster) releaseParts(ctx context.Context, database, collection string) error {
	in, err := checked(c.svc.ShowPartitions(ctx, &milvuspb.ShowPartitionsRequest{DbName: database, CollectionName: collection, Type: milvuspb.ShowType_InMemory}))
	if err != nil {
		return nil //nolint:nilerr // it says that nothing is loaded
	}
	all, err := c.partitions(ctx, database, collection)
	if n := len(in.GetPartitionNames()); err != nil || n == 0 || n == len(all) {
		return err
	}
	return done(c.svc.ReleaseCollection(ctx, &milvuspb.ReleaseCollectionRequest{DbName: database, CollectionName: collection}))
}

// tryLoad asks for the load, which is harmless when asked before, and looks how far it is.
func (c *Cluster) tryLoad(ctx context.Context, database, collection string) (loaded bool, err error) {
	if err := done(c.svc.LoadCollection(ctx, &milvuspb.LoadCollectionRequest{DbName: database, CollectionName: collection, ReplicaNumber: 1})); err != nil {
		return false, errors.Join(err, done(c.svc.ReleaseCollection(ctx, &milvuspb.ReleaseCollectionRequest{DbName: database, CollectionName: collection})))
	}
	p, err := checked(c.svc.GetLoadingProgress(ctx, &milvuspb.GetLoadingProgressRequest{DbName: database, CollectionName: collection}))
	return err == nil && p.GetProgress() >= 100, err
}

// index makes an index on a vector field that has none.
func (c *Cluster) index(ctx context.Context, database, collection string, f *schemapb.FieldSchema) error {
	kind, metric := flatIndex(f.GetDataType())
	if kind == "" {
		return nil
	}
	have, err := checked(c.svc.DescribeIndex(ctx, &milvuspb.DescribeIndexRequest{DbName: database, CollectionName: collection, FieldName: f.GetName()}))
	if err == nil && slices.ContainsFunc(have.GetIndexDescriptions(), func(d *milvuspb.IndexDescription) bool { return d.GetFieldName() == f.GetName() }) {
		return nil // Milvus 2.3 answers with those of all fields; any error of DescribeIndex is one of CreateIndex too, but for "there is none"
	}
	return done(c.svc.CreateIndex(ctx, &milvuspb.CreateIndexRequest{
		DbName: database, CollectionName: collection, FieldName: f.GetName(),
		ExtraParams: []*commonpb.KeyValuePair{{Key: "index_type", Value: kind}, {Key: "metric_type", Value: metric}, {Key: "params", Value: "{}"}},
	}))
}

// flatIndex is the index that finds and keeps everything exactly; none for what is no vector.
func flatIndex(t schemapb.DataType) (kind, metric string) {
	switch t {
	case schemapb.DataType_FloatVector, schemapb.DataType_Float16Vector, schemapb.DataType_BFloat16Vector:
		return "FLAT", "L2"
	case schemapb.DataType_BinaryVector:
		return "BIN_FLAT", "HAMMING"
	case schemapb.DataType_SparseFloatVector:
		return "SPARSE_INVERTED_INDEX", "IP"
	case schemapb.DataType_Int8Vector:
		return "AUTOINDEX", "L2"
	default:
		return "", ""
	}
}

// describe is the server's description of a collection.
func (c *Cluster) describe(ctx context.Context, database, collection string) (*milvuspb.DescribeCollectionResponse, error) {
	r, err := checked(c.svc.DescribeCollection(ctx, &milvuspb.DescribeCollectionRequest{DbName: database, CollectionName: collection}))
	if err != nil {
		return nil, fmt.Errorf("describe %s.%s: %w", database, collection, err)
	}
	return r, nil
}
