package milvus

import (
	"context"
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
)

// CreatePartition makes the partition if it is not there, and returns when rows can be written to it.
//
// HasPartition can't be asked: on a 2.3.5 it says yes for one whose creation is under way, or was given up half-way
// because a deadline passed, while writes to it are still refused as "partition not found". What ShowPartitions lists is
// there.
func (t *Target) CreatePartition(ctx context.Context, ref handlers.Ref, partition string) error {
	s, err := t.shape(ctx, ref)
	if err != nil || s.PartitionKey {
		return err
	}
	listed, err := t.listsPartition(ctx, ref, partition)
	if err != nil || listed {
		return t.changed(ref, err)
	}
	res, err := t.service.CreatePartition(ctx, &milvuspb.CreatePartitionRequest{
		DbName: ref.Database, CollectionName: ref.Collection, PartitionName: partition,
	})
	err = checkStatus(res, err)
	// Another worker may have been faster, or an earlier call not finished.
	listed, again := t.listsPartition(ctx, ref, partition)
	switch {
	case again == nil && listed:
		return nil
	case err != nil:
		return t.changed(ref, err)
	case again != nil:
		return t.changed(ref, again)
	}
	return &handlers.Error{Class: handlers.Transient, Code: CodeNotReady,
		Err: fmt.Errorf("partition %s of %s is being made and can't be written to yet", partition, ref)}
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
	// Milvus Lite can't release a partition, and needs not.
	if err := unless(checkStatus(res, err), CodeVersion); err != nil {
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

// listsPartition reports whether the partition is there for writing.
func (t *Target) listsPartition(ctx context.Context, ref handlers.Ref, partition string) (bool, error) {
	all, err := t.partitions(ctx, ref)
	return slices.Contains(all, partition), err
}

// partitions are those that are there for writing.
func (t *Target) partitions(ctx context.Context, ref handlers.Ref) ([]string, error) {
	res, err := t.service.ShowPartitions(ctx, &milvuspb.ShowPartitionsRequest{DbName: ref.Database, CollectionName: ref.Collection})
	return res.GetPartitionNames(), check(res, err)
}
