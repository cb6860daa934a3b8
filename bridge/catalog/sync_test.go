//go:build servers

package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"kitestream/bridge/catalog"
	"kitestream/bridge/catalog/catalogtest"
)

// TestSyncSeesEveryWrite is Sync's promise, beside a noise of other writes; and that it does not wait for a change that
// does not come.
func TestSyncSeesEveryWrite(t *testing.T) {
	e := newEtcd(t)
	c := open(t, e.config())
	e.collection(t, catalogtest.Named(10, 1, "orders", 0))
	var slowest time.Duration
	var total time.Duration
	for i := range int64(200) {
		var want func(v *catalog.View) bool
		id := 100 + i
		switch i % 4 {
		case 0:
			e.put(t, catalogtest.PartitionKey(10, id), catalogtest.Partition(id, 10, "p", 0))
			want = func(v *catalog.View) bool { return v.Collections[10].Partitions[id] != nil }
		case 1:
			e.put(t, catalogtest.PartitionKey(10, id-1), []byte(catalogtest.Tombstone))
			want = func(v *catalog.View) bool { return v.PartitionGone(10, id-1) }
		case 2:
			e.put(t, catalogtest.PartitionKey(10, id), catalogtest.Partition(id, 10, "p", 0))
			e.del(t, catalogtest.PartitionKey(10, id))
			want = func(v *catalog.View) bool { return v.PartitionGone(10, id) }
		case 3: // nothing that concerns the catalogue
			if _, err := e.Put(t.Context(), e.root+"/meta/datacoord-meta/x", fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			want = func(*catalog.View) bool { return true }
		}
		began := time.Now()
		v := syncNow(t, c)
		took := time.Since(began)
		total += took
		slowest = max(slowest, took)
		if !want(v) {
			t.Fatalf("write %d is not in the view of revision %d:\n%s", i, v.Revision, summary(v))
		}
	}
	t.Logf("200 Syncs: %s on average, slowest %s", total/200, slowest)
	if slowest > 2*time.Second || total/200 > 200*time.Millisecond {
		t.Errorf("200 Syncs took %s, the slowest %s", total, slowest)
	}
}

func TestSyncEndsWithItsContext(t *testing.T) {
	e := newEtcd(t)
	c, err := catalog.Open(t.Context(), e.config(), nil) // and is not run
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	e.collection(t, catalogtest.Named(10, 1, "orders", 0))
	if _, err := c.Sync(within(t, 300*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Sync without Run returned %v", err)
	}
}

// TestViewsAreWhatEtcdHeld is the oracle: while writers change a few keys in every way there is, every View that Sync
// returns must be what etcd held at that revision; also while connections are cut and what the watch needs is compacted.
func TestViewsAreWhatEtcdHeld(t *testing.T) {
	t.Run("quiet", func(t *testing.T) { testOracle(t, func(context.Context, *etcd, *proxy) {}) })
	t.Run("cuts and compactions", func(t *testing.T) { testOracle(t, disturb) })
}

func testOracle(t *testing.T, disturb func(context.Context, *etcd, *proxy)) {
	e := newEtcd(t)
	p := newProxy(t, e.endpoint, nil)
	cfg, reg := e.config(), prometheus.NewRegistry()
	cfg.Endpoints, cfg.Metrics = []string{p.addr}, reg
	c := open(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for w := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, w))
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = e.Txn(ctx).Then(e.random(r)...).Commit()
			}
		})
	}
	wg.Go(func() { disturb(ctx, e, p) })
	var compared atomic.Int64
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if v, err := c.Sync(ctx); err == nil && e.compare(t, v) {
					compared.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d views compared, %v relists", compared.Load(), metric(t, reg, "kitestream_catalog_relists_total"))
	if compared.Load() < 50 {
		t.Error("too few to tell")
	}
}

// disturb cuts the connections five times a second, and compacts away what was missed at every second cut.
func disturb(ctx context.Context, e *etcd, p *proxy) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		p.point("")
		if i%2 == 0 {
			if resp, err := e.Put(ctx, e.root+"/x", "x"); err == nil {
				_, _ = e.Compact(ctx, resp.Header.Revision)
			}
		}
		p.point(e.endpoint)
	}
}

// compare reports whether the View could be compared with what etcd held at its revision, which may be compacted.
func (e *etcd) compare(t *testing.T, v *catalog.View) bool {
	resp, err := e.Get(t.Context(), e.key(""), clientv3.WithPrefix(), clientv3.WithRev(v.Revision))
	if errors.Is(err, rpctypes.ErrCompacted) {
		return false
	}
	if err != nil {
		t.Error(err)
		return false
	}
	if got, want := summary(v), summary(catalog.ViewOf(e.key(""), resp)); got != want {
		t.Errorf("view of revision %d is\n%s\netcd held\n%s", v.Revision, got, want)
	}
	return true
}

// random is a transaction on few keys, so that they come and go often.
func (e *etcd) random(r *rand.Rand) []clientv3.Op {
	ops := map[string]clientv3.Op{}
	for range 1 + r.IntN(3) {
		coll, part, db := int64(10+r.IntN(2)), int64(100+r.IntN(2)), int64(1+r.IntN(2))
		key, value := catalogtest.PartitionKey(coll, part), catalogtest.Partition(part, coll, "p", r.IntN(4))
		switch r.IntN(9) {
		case 0:
			key, value = catalogtest.CollectionKey(db, coll), catalogtest.Named(coll, db, "c", r.IntN(4)).Value()
		case 1:
			key, value = catalogtest.FieldKey(coll, part), catalogtest.Fields(catalogtest.Key("a"), catalogtest.Key("b"))[part]
		case 2:
			key, value = catalogtest.DatabaseKey(db), catalogtest.Database(db, "d", r.IntN(4), 1)
		case 3:
			key, value = catalogtest.AliasKey(db, "a"), catalogtest.Alias("a", db, coll, r.IntN(4))
		case 4:
			ix := catalogtest.Index{ID: part, Collection: coll, Field: 100, Name: "i", Deleted: r.IntN(2) == 0}
			key, value = catalogtest.IndexKey(coll, part), ix.Value()
		case 5:
			key, value = catalogtest.LoadKey(coll), catalogtest.Load(coll, 1, 1+r.IntN(2), 1+r.IntN(2))
		case 6:
			key, value = catalogtest.PartitionLoadKey(coll, part), catalogtest.PartitionLoad(coll, part, 1+r.IntN(2))
		case 7: // not read, the second not even watched
			key, value = []string{"querycoord-replica/10/1", "segment-index/10/1"}[r.IntN(2)], []byte("x")
		}
		switch r.IntN(4) {
		case 0:
			ops[key] = clientv3.OpDelete(e.key(key))
		case 1:
			ops[key] = clientv3.OpPut(e.key(key), catalogtest.Tombstone)
		default:
			ops[key] = clientv3.OpPut(e.key(key), string(value))
		}
	}
	var out []clientv3.Op
	for _, op := range ops {
		out = append(out, op)
	}
	return out
}
