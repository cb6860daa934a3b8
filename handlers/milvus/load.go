package milvus

import (
	"context"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
)

const needsLoad = "loading of this kind"

// LoadCollection loads the whole collection.
func (t *Target) LoadCollection(ctx context.Context, req *milvuspb.LoadCollectionRequest) error {
	ref := handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}
	n, err := t.replicas(ctx, req.GetReplicaNumber())
	if err != nil {
		return setting(err, needsLoad)
	}
	err = t.loadAnew(ctx, ref, func(*loaded) error { return t.loadCollection(ctx, req, n) })
	return t.answerLoad(ctx, ref, err, n, req.GetReplicaNumber())
}

// loadCollection makes the call. The source's resource groups are left out: nodes are the target's own affair.
func (t *Target) loadCollection(ctx context.Context, req *milvuspb.LoadCollectionRequest, replicas int32) error {
	s, err := t.service.LoadCollection(ctx, &milvuspb.LoadCollectionRequest{
		DbName: req.GetDbName(), CollectionName: req.GetCollectionName(), ReplicaNumber: replicas,
		LoadFields: req.GetLoadFields(), SkipLoadDynamicField: req.GetSkipLoadDynamicField(),
	})
	return checkStatus(s, err)
}

// LoadPartitions loads partitions beside what is loaded. Those that are there are loaded even if others are not, which is
// then a CodeNoPartition.
func (t *Target) LoadPartitions(ctx context.Context, req *milvuspb.LoadPartitionsRequest) error {
	ref := handlers.Ref{Database: req.GetDbName(), Collection: req.GetCollectionName()}
	there, missing, err := t.split(ctx, ref, req.GetPartitionNames())
	if err != nil {
		return setting(err, needsLoad)
	}
	if len(there) > 0 {
		n, err := t.replicas(ctx, req.GetReplicaNumber())
		if err != nil {
			return setting(err, needsLoad)
		}
		err = t.loadAnew(ctx, ref, func(was *loaded) error { return t.loadPartitions(ctx, req, was.with(there), n) })
		if err = t.answerLoad(ctx, ref, err, n, req.GetReplicaNumber()); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return refuse(CodeNoPartition, "the target has no partition %s in %s to load", strings.Join(missing, ", "), ref)
	}
	return nil
}

func (t *Target) loadPartitions(ctx context.Context, req *milvuspb.LoadPartitionsRequest, what *loaded, replicas int32) error {
	if what.partitions == nil {
		return t.loadCollection(ctx, &milvuspb.LoadCollectionRequest{
			DbName: req.GetDbName(), CollectionName: req.GetCollectionName(),
			LoadFields: req.GetLoadFields(), SkipLoadDynamicField: req.GetSkipLoadDynamicField(),
		}, replicas)
	}
	s, err := t.service.LoadPartitions(ctx, &milvuspb.LoadPartitionsRequest{
		DbName: req.GetDbName(), CollectionName: req.GetCollectionName(), PartitionNames: what.partitions, ReplicaNumber: replicas,
		LoadFields: req.GetLoadFields(), SkipLoadDynamicField: req.GetSkipLoadDynamicField(),
	})
	return checkStatus(s, err)
}

// loadAnew loads. A target that refuses because the collection is loaded in another way, in other replicas or with other
// fields, has it released first; what was loaded then is for the second call to load too. If that is refused, the
// collection is loaded as it was.
func (t *Target) loadAnew(ctx context.Context, ref handlers.Ref, load func(was *loaded) error) error {
	err := load(nil)
	if !isCode(err, CodeRefused) {
		if err == nil {
			t.owed.forget(ref)
		}
		return err
	}
	was, again := t.release(ctx, ref)
	if again != nil {
		return again
	}
	if was == nil {
		return err
	}
	err = load(was)
	if err == nil {
		t.owed.forget(ref)
		return nil
	}
	if isRefusal(err) {
		if again := t.restore(ctx, ref); again != nil && !isRefusal(again) {
			return again
		}
	}
	return err
}

// answerLoad says what came of a load in n replicas, where more may have been wanted.
func (t *Target) answerLoad(ctx context.Context, ref handlers.Ref, err error, n, wanted int32) error {
	switch {
	case err != nil:
		return setting(t.whyNotLoaded(ctx, ref, err), needsLoad)
	case n < wanted:
		return refuse(CodeReplicas, "%s is loaded in %d of the %d replicas that the source has, as the target has no more query nodes: add some, then resume the task; "+
			"or have the task leave load to the target's owner", ref, n, wanted)
	}
	return nil
}

// whyNotLoaded finds out if it is for want of an index, for which a 2.3.5 has no code.
func (t *Target) whyNotLoaded(ctx context.Context, ref handlers.Ref, err error) error {
	if !isUnclear(err) && !isCode(err, CodeNoIndex) {
		return err
	}
	d, again := t.describe(ctx, ref)
	if again != nil {
		return err
	}
	have, again := t.indexes(ctx, ref)
	if again != nil {
		return err
	}
	var missing []string
	for _, f := range d.GetSchema().GetFields() {
		indexed := slices.ContainsFunc(have, func(d *milvuspb.IndexDescription) bool { return d.GetFieldName() == f.GetName() })
		if isVector(f.GetDataType()) && !indexed {
			missing = append(missing, f.GetName())
		}
	}
	if len(missing) == 0 {
		return err
	}
	return refuse(CodeNoIndex, "%s can't be loaded, because %s has no index on the target: make one there (or see why the source's was refused), then resume the task: %w",
		ref, strings.Join(missing, ", "), err)
}

// ReleaseCollection has nothing of the collection loaded.
func (t *Target) ReleaseCollection(ctx context.Context, ref handlers.Ref) error {
	t.owed.forget(ref)
	return setting(t.releaseCollection(ctx, ref), needsLoad)
}

func (t *Target) releaseCollection(ctx context.Context, ref handlers.Ref) error {
	s, err := t.service.ReleaseCollection(ctx, &milvuspb.ReleaseCollectionRequest{DbName: ref.Database, CollectionName: ref.Collection})
	return unless(checkStatus(s, err), CodeNoCollection, CodeNoDatabase)
}

// ReleasePartitions has these partitions not loaded.
func (t *Target) ReleasePartitions(ctx context.Context, ref handlers.Ref, partitions []string) error {
	there, _, err := t.split(ctx, ref, partitions)
	if err != nil || len(there) == 0 {
		return unless(setting(err, needsLoad), CodeNoCollection, CodeNoDatabase)
	}
	s, err := t.service.ReleasePartitions(ctx, &milvuspb.ReleasePartitionsRequest{
		DbName: ref.Database, CollectionName: ref.Collection, PartitionNames: there,
	})
	return unless(setting(checkStatus(s, err), needsLoad), CodeNoCollection, CodeNoPartition, CodeNoDatabase)
}

// split divides partitions into those that are there and those that are not.
func (t *Target) split(ctx context.Context, ref handlers.Ref, partitions []string) (there, missing []string, err error) {
	all, err := t.partitions(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range partitions {
		if slices.Contains(all, p) {
			there = append(there, p)
		} else {
			missing = append(missing, p)
		}
	}
	return there, missing, nil
}
