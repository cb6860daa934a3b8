//go:build servers

package catalog_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"kitestream/bridge/catalog"
	"kitestream/bridge/catalog/catalogtest"
)

func TestCreatedOnlyWhenComplete(t *testing.T) {
	e := newEtcd(t)
	c := open(t, e.config())
	key := catalogtest.CollectionKey(1, 10)
	watched := watchStates(t, c, 10)

	e.put(t, key, catalogtest.Named(10, 1, "orders", catalogtest.Creating).Value())
	if got := syncNow(t, c).Collections[10]; got == nil || got.State != catalog.Creating {
		t.Fatalf("collection is %+v", got)
	}
	for _, op := range e.parts(10) {
		e.txn(t, op)
		if got := syncNow(t, c).Collections[10]; got.State != catalog.Creating {
			t.Fatalf("collection is %s before it was created", got.State)
		}
	}
	e.put(t, key, catalogtest.Named(10, 1, "orders", catalogtest.Created).Value())
	got := syncNow(t, c).Collections[10]
	if got.State != catalog.Created || len(got.Schema.GetFields()) != 2 || len(got.Partitions) != 1 {
		t.Fatalf("collection is %+v", got)
	}
	e.put(t, key, catalogtest.Named(10, 1, "orders", catalogtest.Dropping).Value())
	syncNow(t, c)
	e.put(t, key, []byte(catalogtest.Tombstone))
	if v := syncNow(t, c); !v.CollectionGone(10) {
		t.Errorf("dropped collection is %+v", v.Collections[10])
	}
	if got := watched(); got != "absent creating created dropping absent" {
		t.Errorf("states in order: %s", got)
	}

	// A creation that is rolled back.
	e.put(t, catalogtest.CollectionKey(1, 11), catalogtest.Named(11, 1, "never", catalogtest.Creating).Value())
	syncNow(t, c)
	e.put(t, catalogtest.CollectionKey(1, 11), []byte(catalogtest.Tombstone))
	if v := syncNow(t, c); !v.CollectionGone(11) {
		t.Errorf("rolled back collection is %+v", v.Collections[11])
	}
}

// watchStates follows the Views, and returns the states that a collection went through until the function is called.
func watchStates(t *testing.T, c *catalog.Catalog, id int64) (stop func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	states := []string{"absent"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			changed := c.Changed()
			state := "absent"
			if got := c.View().Collections[id]; got != nil {
				state = got.State.String()
				if got.State == catalog.Created && len(got.Schema.GetFields()) == 0 {
					state = "created without fields"
				}
			}
			if state != states[len(states)-1] {
				states = append(states, state)
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() string {
		cancel()
		<-done
		return strings.Join(states, " ")
	}
}

func TestTombstoneAndDelete(t *testing.T) {
	e := newEtcd(t)
	c := open(t, e.config())
	e.put(t, catalogtest.DatabaseKey(1), catalogtest.Database(1, "default", 0, 1))
	for id := int64(10); id <= 12; id++ {
		e.collection(t, catalogtest.Named(id*10, 1, fmt.Sprint("c", id), 0))
	}
	if v := syncNow(t, c); len(v.Collections) != 3 || len(v.Databases) != 1 {
		t.Fatalf("view is\n%s", summary(v))
	}
	e.put(t, catalogtest.CollectionKey(1, 100), []byte(catalogtest.Tombstone))
	e.del(t, catalogtest.CollectionKey(1, 110))
	e.put(t, catalogtest.PartitionKey(120, 121), []byte(catalogtest.Tombstone))
	e.put(t, catalogtest.DatabaseKey(1), []byte(catalogtest.Tombstone))
	v := syncNow(t, c)
	if !v.CollectionGone(100) || !v.CollectionGone(110) || v.CollectionGone(120) || !v.PartitionGone(120, 121) || !v.DatabaseGone(1) {
		t.Errorf("view is\n%s", summary(v))
	}
	before := summary(v)
	e.del(t, catalogtest.CollectionKey(1, 100)) // Milvus's own garbage collection
	e.del(t, catalogtest.PartitionKey(120, 121))
	e.del(t, catalogtest.DatabaseKey(1))
	if v := syncNow(t, c); summary(v) != before {
		t.Errorf("deleting the tombstones changed the view to\n%s", summary(v))
	}
	if listed := open(t, e.config()).View(); summary(listed) != before {
		t.Errorf("listed anew the view is\n%s", summary(listed))
	}
}

func TestMoveBetweenDatabasesIsOneStep(t *testing.T) {
	e := newEtcd(t)
	c := open(t, e.config())
	e.collection(t, catalogtest.Named(10, 1, "orders", 0))
	syncNow(t, c)
	watched := watchStates(t, c, 10)
	for i := range int64(50) {
		from, to := 1+i%2, 1+(i+1)%2
		e.txn(t, clientv3.OpPut(e.key(catalogtest.CollectionKey(to, 10)), string(catalogtest.Named(10, to, "orders", 0).Value())),
			clientv3.OpPut(e.key(catalogtest.CollectionKey(from, 10)), catalogtest.Tombstone))
		if got := syncNow(t, c).Collections[10]; got == nil || got.DatabaseID != to {
			t.Fatalf("moved to database %d: %+v", to, got)
		}
	}
	if got := watched(); got != "absent created" {
		t.Errorf("states in order: %s", got)
	}
}

func TestUnreadableValues(t *testing.T) {
	e := newEtcd(t)
	e.collection(t, catalogtest.Named(10, 1, "good", 0))
	e.put(t, catalogtest.DatabaseKey(7), []byte("junk"))
	cfg, reg := e.config(), prometheus.NewRegistry()
	cfg.Metrics = reg
	c := open(t, cfg)
	e.collection(t, catalogtest.Named(20, 1, "broken", 0))
	syncNow(t, c)
	e.put(t, catalogtest.FieldKey(20, 100), []byte("junk"))
	for range 3 { // noted once
		e.put(t, catalogtest.FieldKey(20, 101), []byte("junk"))
	}
	e.put(t, catalogtest.PartitionKey(10, 30), []byte{})
	v := syncNow(t, c)
	if len(v.Unreadable) != 4 || v.Collections[10] == nil || v.Collections[20] != nil || v.CollectionGone(20) || v.DatabaseGone(7) || v.PartitionGone(10, 30) {
		t.Errorf("unreadable: %v, view is\n%s", v.Unreadable, summary(v))
	}
	for key, err := range v.Unreadable {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("the error of %s does not name it: %v", key, err)
		}
	}
	if now, all := metric(t, reg, "kitestream_catalog_unreadable_keys"), metric(t, reg, "kitestream_catalog_unreadable_keys_total"); now != 4 || all != 4 {
		t.Errorf("metrics: %v unreadable now, %v ever", now, all)
	}
	e.collection(t, catalogtest.Named(20, 1, "healed", 0))
	if v := syncNow(t, c); v.Collections[20] == nil || len(v.Unreadable) != 2 || metric(t, reg, "kitestream_catalog_unreadable_keys") != 2 {
		t.Errorf("healed: %v, view is\n%s", v.Unreadable, summary(v))
	}
}
