//go:build servers

package catalog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kitestream/bridge/catalog"
	"kitestream/bridge/catalog/catalogtest"
)

// TestRelistAfterCompaction takes etcd away, changes and compacts it, and brings it back: the watch can't go on.
func TestRelistAfterCompaction(t *testing.T) {
	e := newEtcd(t)
	p := newProxy(t, e.endpoint, nil)
	cfg, reg := e.config(), prometheus.NewRegistry()
	cfg.Endpoints, cfg.Metrics = []string{p.addr}, reg
	c := open(t, cfg)
	e.collection(t, catalogtest.Named(10, 1, "stays", 0))
	e.collection(t, catalogtest.Named(20, 1, "goes", 0))
	e.collection(t, catalogtest.Named(30, 1, "deleted", 0))
	for _, name := range []string{"stays", "goes"} {
		e.put(t, catalogtest.AliasKey(1, name), catalogtest.Alias(name, 1, 10, 0))
	}
	for id := int64(15); id <= 16; id++ {
		e.put(t, catalogtest.IndexKey(10, id), catalogtest.Index{ID: id, Collection: 10, Field: 101, Name: "i"}.Value())
		e.put(t, catalogtest.PartitionLoadKey(10, id), catalogtest.PartitionLoad(10, id, catalogtest.Loaded))
	}
	e.put(t, catalogtest.LoadKey(10), catalogtest.Load(10, 1, catalogtest.Loaded, catalogtest.LoadPartitions))
	e.put(t, catalogtest.LoadKey(30), catalogtest.Load(30, 1, catalogtest.Loaded, catalogtest.LoadCollection))
	was := syncNow(t, c)
	watched := watchStates(t, c, 10)

	p.point("")
	e.put(t, catalogtest.AliasKey(1, "goes"), []byte(catalogtest.Tombstone))
	e.del(t, catalogtest.IndexKey(10, 16))
	e.del(t, catalogtest.PartitionLoadKey(10, 16))
	e.del(t, catalogtest.LoadKey(30))
	e.put(t, catalogtest.CollectionKey(1, 20), []byte(catalogtest.Tombstone))
	e.del(t, catalogtest.CollectionKey(1, 30))
	e.collection(t, catalogtest.Named(40, 1, "new", 0))
	resp, err := e.Put(t.Context(), e.root+"/meta/x", "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Compact(t.Context(), resp.Header.Revision); err != nil {
		t.Fatal(err)
	}
	if v := c.View(); v != was {
		t.Errorf("the view changed while etcd was away")
	}
	p.point(e.endpoint)

	v := syncNow(t, c)
	if v.Collections[10] == nil || !v.CollectionGone(20) || !v.CollectionGone(30) || v.Collections[40] == nil {
		t.Errorf("view is\n%s", summary(v))
	}
	if !v.AliasGone(catalog.AliasKey{DatabaseID: 1, Name: "goes"}) || len(v.Aliases) != 1 || !v.IndexGone(10, 16) || v.IndexGone(10, 15) ||
		!v.PartitionReleased(10, 16) || v.PartitionReleased(10, 15) || !v.CollectionReleased(30) {
		t.Errorf("of aliases, indexes and loads the view has\n%s", summary(v))
	}
	if n := metric(t, reg, "kitestream_catalog_relists_total"); n != 1 {
		t.Errorf("%v relists: was the compaction not hit?", n)
	}
	if metric(t, reg, "kitestream_catalog_watch_errors_total") == 0 || metric(t, reg, "kitestream_catalog_revision") != float64(c.View().Revision) {
		t.Error("metrics do not tell of it")
	}
	e.collection(t, catalogtest.Named(50, 1, "later", 0))
	if v := syncNow(t, c); v.Collections[50] == nil {
		t.Error("the new watch does not deliver")
	}
	if got := watched(); got != "absent created" {
		t.Errorf("a collection that was not touched went through %s", got)
	}
}

func TestEtcdAway(t *testing.T) {
	e := newEtcd(t)
	p := newProxy(t, e.endpoint, nil)
	cfg := e.config()
	cfg.Endpoints, cfg.CheckInterval, cfg.RequestTimeout = []string{p.addr}, 100*time.Millisecond, 500*time.Millisecond
	c := open(t, cfg)
	e.collection(t, catalogtest.Named(10, 1, "orders", 0))
	syncNow(t, c)
	if h := c.Health(); h.Err != nil || time.Since(h.LastOK) > 5*time.Second {
		t.Fatalf("health is %+v", h)
	}
	for range 3 {
		p.point("")
		waitFor(t, "an error in Health", func() bool { return c.Health().Err != nil })
		if c.View().Collections[10] == nil {
			t.Error("the view is gone with etcd")
		}
		if _, err := c.Sync(within(t, time.Second)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sync without etcd returned %v", err)
		}
		if _, err := catalog.Open(t.Context(), cfg, nil); err == nil {
			t.Error("Open without etcd succeeded")
		}
		id := time.Now().UnixNano()
		e.collection(t, catalogtest.Named(id, 1, "meanwhile", 0))
		p.point(e.endpoint)
		if v := syncNow(t, c); v.Collections[id] == nil {
			t.Error("a sync after the outage misses what happened in it")
		}
		waitFor(t, "health", func() bool { return c.Health().Err == nil })
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.NewTimer(30 * time.Second)
	defer end.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("%s did not come in 30 s", what)
		}
	}
}

// TestMissedEvent makes the catalogue believe that it knows a key which etcd does not have. Sync finds out, and lists.
func TestMissedEvent(t *testing.T) {
	e := newEtcd(t)
	c := open(t, e.config())
	e.collection(t, catalogtest.Named(10, 1, "orders", 0))
	syncNow(t, c)
	c.Miscount()
	_, err := e.Put(t.Context(), e.root+"/meta/x", "x")
	must(t, err)
	began := time.Now()
	syncNow(t, c)
	t.Logf("healed after %s", time.Since(began))
	e.put(t, catalogtest.CollectionKey(1, 10), []byte(catalogtest.Tombstone))
	if v := syncNow(t, c); !v.CollectionGone(10) {
		t.Errorf("view is\n%s", summary(v))
	}
}
