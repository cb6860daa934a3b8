//go:build servers

package catalog_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"kitestream/bridge/catalog"
	"kitestream/bridge/catalog/catalogtest"
)

const manyCollections = 5000

func TestBigMeta(t *testing.T) {
	e := newEtcd(t)
	e.big(t, manyCollections)
	t.Run("cost", func(t *testing.T) { testCost(t, e) })
	t.Run("pages are of one revision", func(t *testing.T) { testPages(t, e) })
}

// testCost bounds what a big meta costs: some 75,000 keys.
func testCost(t *testing.T, e *etcd) {
	before := heap()
	began := time.Now()
	c := open(t, e.config())
	listed := time.Since(began)
	held := heap() - before
	v := c.View()
	if len(v.Collections) != manyCollections || v.Collections[1000*manyCollections].State != catalog.Created || len(v.Collections[1000].Schema.GetFields()) != 10 {
		t.Fatalf("%d collections listed", len(v.Collections))
	}
	began = time.Now()
	e.collection(t, catalogtest.Named(7, 1, "one more", 0))
	if syncNow(t, c).Collections[7] == nil {
		t.Error("Sync missed a collection")
	}
	synced := time.Since(began)
	began = time.Now()
	const more = 20
	for i := range int64(more) {
		e.put(t, catalogtest.PartitionKey(7, 100+i), catalogtest.Partition(100+i, 7, "p", 0))
		syncNow(t, c)
	}
	perSync := time.Since(began) / more
	t.Logf("listed in %s, %d MB held; one write and Sync %s, then %s each", listed, held>>20, synced, perSync)
	if listed > 20*time.Second || held > 150<<20 || perSync > 2*time.Second {
		t.Error("that is too much")
	}
}

// testPages lists while a transaction changes a key of the first page and one of the last, again and again.
func testPages(t *testing.T, e *etcd) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	const id = 1000 * manyCollections
	change := func(ctx context.Context, i int) error {
		name := fmt.Sprint("n", i)
		_, err := e.Txn(ctx).Then(
			clientv3.OpPut(e.key(catalogtest.CollectionKey(1, id)), string(catalogtest.Named(id, 1, name, 0).Value())),
			clientv3.OpPut(e.key(catalogtest.PartitionKey(id, id)), string(catalogtest.Partition(id, id, name, 0)))).Commit()
		return err
	}
	must(t, change(ctx, 0))
	wg.Go(func() {
		for i := 1; change(ctx, i) == nil; i++ {
		}
	})
	seen := map[string]bool{}
	for range 3 {
		c, err := catalog.Open(ctx, e.config(), nil)
		must(t, err)
		col := c.View().Collections[id]
		seen[col.Name] = true
		if p := col.Partitions[id].Name; p != col.Name {
			t.Errorf("collection as of %s, its partition as of %s", col.Name, p)
		}
		must(t, c.Close())
	}
	if len(seen) < 3 {
		t.Errorf("nothing changed meanwhile: %v", seen)
	}
}

// big writes n collections of ten fields and two partitions.
func (e *etcd) big(t *testing.T, n int64) {
	t.Helper()
	var ops []clientv3.Op
	flush := func() {
		e.txn(t, ops...)
		ops = ops[:0]
	}
	add := func(rel string, b []byte) {
		if ops = append(ops, clientv3.OpPut(e.key(rel), string(b))); len(ops) == 128 {
			flush()
		}
	}
	user := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for i := int64(1); i <= n; i++ {
		id := i * 1000
		schema := catalogtest.Fields(catalogtest.Key("id"), catalogtest.Vector("vec", 768))
		for j, name := range user {
			f := catalogtest.Key(name)
			f.FieldID, f.IsPrimaryKey, f.Description = int64(102+j), false, "a field like any other"
			schema[f.FieldID] = catalogtest.Message(f)
		}
		for fid, b := range schema {
			add(catalogtest.FieldKey(id, fid), b)
		}
		for p := range int64(2) {
			add(catalogtest.PartitionKey(id, id+p), catalogtest.Partition(id+p, id, fmt.Sprint("p", p), 0))
		}
		add(catalogtest.CollectionKey(1, id), catalogtest.Named(id, 1, fmt.Sprint("collection_", i), 0).Value())
	}
	if len(ops) > 0 {
		flush()
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
