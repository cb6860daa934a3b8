package bridge

import (
	"context"
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// released publishes the release of a collection that is not loaded any more.
func (s *sequencer) released(ctx context.Context, d difference) (int, error) {
	if !d.view.CollectionReleased(d.col.ID) || d.col.loadedForCopy() {
		return 0, nil
	}
	return 0, s.release(ctx, d.col)
}

// release publishes that the collection is released, if it was published as loaded. The source need not show it so any
// more: who then loads publishes that it is loaded again.
func (s *sequencer) release(ctx context.Context, col *ledgerCollection) error {
	if col.Load == nil {
		return nil
	}
	return s.publishSetting(ctx, jetstream.ReleaseCollection, col, col.ID,
		&milvuspb.ReleaseCollectionRequest{DbName: col.Database, CollectionName: col.Name})
}

// loads publishes what is loaded and what of it is released. Milvus writes a load key by key, and a partition's goes when
// it is released; so a partition counts as released only in a load that is through, where it is there and its key is not:
// one that is created in a loaded collection has its key before it is Created itself.
func (s *sequencer) loads(ctx context.Context, d difference) (waiting int, err error) {
	load := d.seen.Load
	if load == nil || d.col.loadedForCopy() || s.task.Leaves(jetstream.LeaveLoad) {
		return 0, nil
	}
	if load.Type == catalog.LoadCollection {
		return 0, s.loadWhole(ctx, d)
	}
	return s.loadParts(ctx, d)
}

func (s *sequencer) loadWhole(ctx context.Context, d difference) error {
	load := d.seen.Load
	if l := d.col.Load; l == nil || !l.Whole || l.Replicas != load.Replicas {
		err := s.publishSetting(ctx, jetstream.LoadCollection, d.col, d.col.ID,
			&milvuspb.LoadCollectionRequest{DbName: d.col.Database, CollectionName: d.col.Name, ReplicaNumber: load.Replicas})
		if err != nil {
			return err
		}
	}
	if d.col.Keyed {
		return nil // its partitions have no names of their own
	}
	var out, in []string
	for id, name := range d.partitions() {
		switch {
		case load.Partitions[id] != 0:
			if l := d.col.Load; slices.Contains(l.Parts, name) || slices.Contains(l.New, name) {
				in = append(in, name)
			}
		case load.State == catalog.Loaded && d.seen.Partitions[id] != nil && d.view.PartitionReleased(d.col.ID, id):
			if !slices.Contains(d.col.Load.Parts, name) {
				out = append(out, name)
			}
		}
	}
	return s.changeParts(ctx, d, in, out)
}

// loadParts makes the loaded partitions those of the View. What is loaded by parts now and was loaded whole before had been
// released in between.
func (s *sequencer) loadParts(ctx context.Context, d difference) (waiting int, err error) {
	load := d.seen.Load
	if l := d.col.Load; l != nil && l.Whole {
		if err := s.release(ctx, d.col); err != nil {
			return 0, err
		}
	}
	var have []string
	replicas := load.Replicas
	if l := d.col.Load; l != nil {
		have, replicas = l.Parts, l.Replicas
	}
	var in, out []string
	for id, name := range d.partitions() {
		has := slices.Contains(have, name)
		switch {
		case load.Partitions[id] != 0 && (!has || replicas != load.Replicas):
			in = append(in, name)
		case has && d.view.PartitionReleased(d.col.ID, id):
			out = append(out, name)
		}
	}
	if len(load.Partitions) == 0 && load.State == catalog.Loading {
		waiting++ // it is being written
	}
	return waiting, s.changeParts(ctx, d, in, out)
}

// partitions are the names of the published partitions, and of the one that every collection has.
func (d difference) partitions() map[int64]string {
	all := maps.Clone(d.col.Partitions)
	for id, p := range d.seen.Partitions {
		if p.Name == defaultPartition {
			all[id] = p.Name
		}
	}
	return all
}

// changeParts publishes the load of partitions beside what is loaded, and then the release of others.
func (s *sequencer) changeParts(ctx context.Context, d difference, in, out []string) error {
	slices.Sort(in)
	slices.Sort(out)
	if len(in) > 0 {
		err := s.publishSetting(ctx, jetstream.LoadPartitions, d.col, d.col.ID, &milvuspb.LoadPartitionsRequest{
			DbName: d.col.Database, CollectionName: d.col.Name, PartitionNames: in, ReplicaNumber: d.seen.Load.Replicas})
		if err != nil {
			return err
		}
	}
	if len(out) == 0 {
		return nil
	}
	return s.publishSetting(ctx, jetstream.ReleasePartitions, d.col, d.col.ID, &milvuspb.ReleasePartitionsRequest{
		DbName: d.col.Database, CollectionName: d.col.Name, PartitionNames: out})
}
