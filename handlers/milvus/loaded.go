package milvus

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
)

// loaded is what of a collection is loaded.
type loaded struct {
	replicas   int32
	partitions []string // nil: the collection, with the partitions that are yet to come
}

// with is what is loaded when partitions come to it. Nothing may be loaded, which is nil.
func (l *loaded) with(partitions []string) *loaded {
	switch {
	case l == nil:
		return &loaded{partitions: partitions}
	case l.partitions == nil:
		return l
	}
	all := slices.Concat(l.partitions, partitions)
	slices.Sort(all)
	return &loaded{replicas: l.replicas, partitions: slices.Compact(all)}
}

// owed are the collections that have been released for a change that Milvus refuses while they are loaded, and are yet to
// be loaded again. What makes a change again after a failure loads them too. A process that dies in between leaves them
// released.
type owed struct {
	mu    sync.Mutex
	loads map[handlers.Ref]*loaded
}

func newOwed() *owed { return &owed{loads: map[handlers.Ref]*loaded{}} }

func (o *owed) get(ref handlers.Ref) *loaded {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.loads[ref]
}

func (o *owed) put(ref handlers.Ref, was *loaded) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.loads[ref] = was
}

func (o *owed) forget(ref handlers.Ref) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.loads, ref)
}

// whileReleased drops something, which a target may refuse while the collection is loaded: then that is released for it.
// What follows, if anything does, comes before the collection is loaded as it was.
func (t *Target) whileReleased(ctx context.Context, ref handlers.Ref, drop, then func() error) error {
	err := drop()
	if isRefusal(err) {
		was, again := t.release(ctx, ref)
		if again != nil {
			return again
		}
		if was != nil {
			err = drop()
		}
	}
	if err == nil && then != nil {
		err = then()
	}
	if err != nil && !isRefusal(err) {
		return err
	}
	if again := t.restore(ctx, ref); again != nil && (err == nil || !isRefusal(again)) {
		return again
	}
	return err
}

// release releases the collection, and remembers that it is owed a load. It returns how it was loaded, or nil.
func (t *Target) release(ctx context.Context, ref handlers.Ref) (*loaded, error) {
	was, err := t.loadState(ctx, ref)
	if err != nil || was == nil {
		return nil, err
	}
	t.owed.put(ref, was)
	return was, t.releaseCollection(ctx, ref)
}

// restore loads the collection as it was before it was released for a change, if it was.
func (t *Target) restore(ctx context.Context, ref handlers.Ref) error {
	was := t.owed.get(ref)
	if was == nil {
		return nil
	}
	req := &milvuspb.LoadPartitionsRequest{DbName: ref.Database, CollectionName: ref.Collection}
	err := t.loadPartitions(ctx, req, was, was.replicas)
	if err == nil || isRefusal(err) {
		t.owed.forget(ref)
	}
	if err != nil {
		return fmt.Errorf("load %s again: %w", ref, t.whyNotLoaded(ctx, ref, err))
	}
	return nil
}

// loadState says what of the collection is loaded or being loaded; nil is nothing.
func (t *Target) loadState(ctx context.Context, ref handlers.Ref) (*loaded, error) {
	state, err := t.service.GetLoadState(ctx, &milvuspb.GetLoadStateRequest{DbName: ref.Database, CollectionName: ref.Collection})
	if err := check(state, err); err != nil {
		return nil, err
	}
	if s := state.GetState(); s != commonpb.LoadState_LoadStateLoaded && s != commonpb.LoadState_LoadStateLoading {
		return nil, nil
	}
	in, err := t.service.ShowPartitions(ctx, &milvuspb.ShowPartitionsRequest{
		DbName: ref.Database, CollectionName: ref.Collection, Type: milvuspb.ShowType_InMemory,
	})
	if err := check(in, err); err != nil {
		return nil, err
	}
	all, err := t.partitions(ctx, ref)
	if err != nil {
		return nil, err
	}
	was := &loaded{replicas: t.replicasOf(ctx, ref)}
	if len(in.GetPartitionNames()) < len(all) {
		was.partitions = in.GetPartitionNames()
	}
	return was, nil
}

// replicasOf is in how many replicas the collection is loaded. While it is only being loaded a 2.3.5 does not say; then
// it is taken to be one.
func (t *Target) replicasOf(ctx context.Context, ref handlers.Ref) int32 {
	d, err := t.describe(ctx, ref)
	if err != nil {
		return 1
	}
	res, err := t.service.GetReplicas(ctx, &milvuspb.GetReplicasRequest{
		DbName: ref.Database, CollectionName: ref.Collection, CollectionID: d.GetCollectionID(),
	})
	if check(res, err) != nil {
		return 1
	}
	return max(1, int32(len(res.GetReplicas())))
}

// defaultGroup is the resource group that collections are loaded in unless somebody says otherwise.
const defaultGroup = "__default_resource_group"

// replicas is how many of the wanted replicas the target has query nodes for, as each needs one.
func (t *Target) replicas(ctx context.Context, wanted int32) (int32, error) {
	if wanted <= 1 {
		return 1, nil
	}
	res, err := t.service.DescribeResourceGroup(ctx, &milvuspb.DescribeResourceGroupRequest{ResourceGroup: defaultGroup})
	err = check(res, err)
	if isCode(err, CodeVersion) {
		return 1, nil // a Milvus Lite, which takes any number and has one node
	}
	if isRefusal(err) || isCode(err, CodeForbidden) {
		return wanted, nil // the load will tell
	}
	if nodes := res.GetResourceGroup().GetNumAvailableNode(); err == nil && nodes > 0 {
		return min(wanted, nodes), nil
	}
	return wanted, err
}
