package milvus

import (
	"context"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
)

// CreatePartition makes the partition if it is not there.
func (t *Target) CreatePartition(ctx context.Context, ref handlers.Ref, partition string) error {
	s, err := t.shape(ctx, ref)
	if err != nil || s.PartitionKey {
		return err
	}
	found, err := t.hasPartition(ctx, ref, partition)
	if err != nil || found {
		return t.changed(ref, err)
	}
	res, err := t.service.CreatePartition(ctx, &milvuspb.CreatePartitionRequest{
		DbName: ref.Database, CollectionName: ref.Collection, PartitionName: partition,
	})
	err = checkStatus(res, err)
	if err == nil {
		return nil
	}
	// Another worker may have been faster.
	if found, again := t.hasPartition(ctx, ref, partition); again == nil && found {
		return nil
	}
	return t.changed(ref, err)
}

// DropPartition removes the partition if it is there. Milvus refuses while it is loaded, so it is released first, and the
// collection's other partitions stay loaded.
func (t *Target) DropPartition(ctx context.Context, ref handlers.Ref, partition string) error {
	s, err := t.shape(ctx, ref)
	if isCode(err, CodeNoCollection, CodeNoDatabase) {
		return nil
	}
	if err != nil || s.PartitionKey {
		return err
	}
	found, err := t.hasPartition(ctx, ref, partition)
	if err != nil || !found {
		return unless(t.changed(ref, err), CodeNoCollection, CodeNoDatabase)
	}
	res, err := t.service.ReleasePartitions(ctx, &milvuspb.ReleasePartitionsRequest{
		DbName: ref.Database, CollectionName: ref.Collection, PartitionNames: []string{partition},
	})
	if err := checkStatus(res, err); err != nil {
		return unless(err, CodeNoCollection, CodeNoPartition, CodeNoDatabase)
	}
	res, err = t.service.DropPartition(ctx, &milvuspb.DropPartitionRequest{
		DbName: ref.Database, CollectionName: ref.Collection, PartitionName: partition,
	})
	return unless(checkStatus(res, err), CodeNoCollection, CodeNoPartition, CodeNoDatabase)
}

func (t *Target) hasPartition(ctx context.Context, ref handlers.Ref, partition string) (bool, error) {
	res, err := t.service.HasPartition(ctx, &milvuspb.HasPartitionRequest{
		DbName: ref.Database, CollectionName: ref.Collection, PartitionName: partition,
	})
	if err := check(res, err); err != nil {
		return false, err
	}
	return res.GetValue(), nil
}
