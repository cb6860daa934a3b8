//go:build servers

package catalog_test

import (
	"maps"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/bridge/catalog"
)

// served is a collection of the shared source with one vector field, and what is seen of it.
type served struct {
	client.Client
	c    *catalog.Catalog
	name string
	id   int64
}

// now is the collection after a Sync.
func (s *served) now(t *testing.T) *catalog.Collection {
	t.Helper()
	col := syncNow(t, s.c).Collections[s.id]
	if col == nil {
		t.Fatalf("collection %d is gone", s.id)
	}
	return col
}

// partition is the id of a partition.
func (s *served) partition(t *testing.T, name string) int64 {
	t.Helper()
	return find(s.now(t).Partitions, func(p *catalog.Partition) bool { return p.Name == name && p.State == catalog.Created }).ID
}

// TestFollowsIndexesAliasesAndLoads makes a real Milvus create and drop what serves a collection, and expects each after
// one Sync.
func TestFollowsIndexesAliasesAndLoads(t *testing.T) {
	m, c := source(t)
	ctx := within(t, 2*time.Minute)
	s := &served{m, c, unique("served"), 0}
	must(t, m.CreateCollection(ctx, ordersSchema(s.name), 1))
	s.id = named(syncNow(t, c), "default", s.name).ID
	must(t, m.CreatePartition(ctx, s.name, "p1"))
	t.Run("indexes", s.testIndexes)
	t.Run("aliases", s.testAliases)
	t.Run("load collection", s.testLoadCollection)
	t.Run("load partitions", s.testLoadPartitions)
	must(t, m.DropCollection(ctx, s.name))
	v := eventually(t, c, "the release of the dropped collection", func(v *catalog.View) bool { return v.CollectionReleased(s.id) })
	if v.Unreadable != nil {
		t.Errorf("unreadable: %v", v.Unreadable)
	}
}

// testIndexes leaves an index behind.
func (s *served) testIndexes(t *testing.T) {
	ctx := t.Context()
	hnsw, err := entity.NewIndexHNSW(entity.L2, 8, 64)
	must(t, err)
	ids := map[int64]bool{}
	for round := range 3 {
		must(t, s.CreateIndex(ctx, s.name, "vec", hnsw, false, client.WithIndexName("by_vec")))
		col := s.now(t)
		ix := find(col.Indexes, func(*catalog.Index) bool { return true })
		if len(col.Indexes) != 1 || ids[ix.ID] || ix.Name != "by_vec" || ix.FieldID != 102 || ix.Auto {
			t.Fatalf("round %d: indexes are %v", round, col.Indexes)
		}
		params := map[string]string{}
		for _, p := range ix.Params {
			params[p.GetKey()] = p.GetValue()
		}
		if want := map[string]string{"index_type": "HNSW", "metric_type": "L2", "M": "8", "efConstruction": "64"}; !maps.Equal(params, want) {
			t.Errorf("its parameters are %v", ix.Params)
		}
		if len(ix.TypeParams) != 1 || ix.TypeParams[0].GetValue() != "8" || len(ix.UserParams) != 3 {
			t.Errorf("its parameters are %v, %v", ix.TypeParams, ix.UserParams)
		}
		if at := time.UnixMilli(int64(ix.Created >> 18)); time.Since(at).Abs() > time.Minute {
			t.Errorf("it was created at %s", at)
		}
		ids[ix.ID] = true
		if round == 2 {
			return
		}
		must(t, s.DropIndex(ctx, s.name, "vec", client.WithIndexName("by_vec")))
		if v := syncNow(t, s.c); !v.IndexGone(s.id, ix.ID) {
			t.Errorf("round %d: dropped index is there: %v", round, v.Collections[s.id].Indexes)
		}
	}
}

func (s *served) testAliases(t *testing.T) {
	ctx := t.Context()
	key := catalog.AliasKey{DatabaseID: s.now(t).DatabaseID, Name: unique("alias")}
	names := func(id int64) {
		t.Helper()
		if a := syncNow(t, s.c).Aliases[key]; a == nil || a.CollectionID != id || a.State != catalog.Created || a.Created == 0 {
			t.Errorf("alias is %+v, want one of %d", a, id)
		}
	}
	other := unique("other")
	must(t, s.CreateCollection(ctx, ordersSchema(other), 1))
	must(t, s.CreateAlias(ctx, s.name, key.Name))
	names(s.id)
	must(t, s.AlterAlias(ctx, other, key.Name))
	names(named(syncNow(t, s.c), "default", other).ID)
	for range 2 {
		must(t, s.DropAlias(ctx, key.Name))
		if v := syncNow(t, s.c); !v.AliasGone(key) {
			t.Errorf("dropped alias is %+v", v.Aliases[key])
		}
		must(t, s.CreateAlias(ctx, s.name, key.Name))
		names(s.id)
	}
	must(t, s.DropAlias(ctx, key.Name))
	must(t, s.DropCollection(ctx, other))
}

func (s *served) testLoadCollection(t *testing.T) {
	ctx := t.Context()
	p1 := s.partition(t, "p1")
	must(t, s.LoadCollection(ctx, s.name, false))
	l := s.now(t).Load
	if l == nil || l.State != catalog.Loaded || l.Type != catalog.LoadCollection || l.Replicas != 1 || len(l.Partitions) != 2 || l.Partitions[p1] != catalog.Loaded {
		t.Fatalf("load is %+v", l)
	}
	must(t, s.CreatePartition(ctx, s.name, "p2"))
	p2 := s.partition(t, "p2")
	if l := s.now(t).Load; l.Partitions[p2] != catalog.Loaded || len(l.Partitions) != 3 {
		t.Errorf("with a new partition the load is %+v", l)
	}
	must(t, s.ReleasePartitions(ctx, s.name, []string{"p1"}))
	v := syncNow(t, s.c)
	if l := v.Collections[s.id].Load; !v.PartitionReleased(s.id, p1) || v.PartitionReleased(s.id, p2) || l.Type != catalog.LoadCollection {
		t.Errorf("without p1 the load is %+v", l)
	}
	must(t, s.ReleaseCollection(ctx, s.name))
	if v := syncNow(t, s.c); !v.CollectionReleased(s.id) || !v.PartitionReleased(s.id, p2) {
		t.Errorf("released, the load is %+v", v.Collections[s.id].Load)
	}
}

// testLoadPartitions leaves a partition loaded.
func (s *served) testLoadPartitions(t *testing.T) {
	ctx := t.Context()
	p1, p2 := s.partition(t, "p1"), s.partition(t, "p2")
	must(t, s.LoadPartitions(ctx, s.name, []string{"p1", "p2"}, false))
	l := s.now(t).Load
	if l == nil || l.State != catalog.Loaded || l.Type != catalog.LoadPartitions || !maps.Equal(l.Partitions, map[int64]catalog.LoadState{p1: catalog.Loaded, p2: catalog.Loaded}) {
		t.Fatalf("load is %+v", l)
	}
	must(t, s.ReleasePartitions(ctx, s.name, []string{"p1"}))
	if v := syncNow(t, s.c); !v.PartitionReleased(s.id, p1) || v.PartitionReleased(s.id, p2) {
		t.Errorf("without p1 the load is %+v", v.Collections[s.id].Load)
	}
	must(t, s.ReleasePartitions(ctx, s.name, []string{"p2"}))
	if v := syncNow(t, s.c); !v.CollectionReleased(s.id) {
		t.Errorf("without any partition the load is %+v", v.Collections[s.id].Load)
	}
	must(t, s.LoadPartitions(ctx, s.name, []string{"p1"}, false))
	if v := syncNow(t, s.c); v.PartitionReleased(s.id, p1) {
		t.Errorf("loaded again, the load is %+v", v.Collections[s.id].Load)
	}
}
