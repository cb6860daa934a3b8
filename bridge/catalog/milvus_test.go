//go:build servers

package catalog_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/bridge/catalog"
	"kitestream/test/servers"
)

// source is a client of the shared source, and a catalogue of its etcd.
func source(t *testing.T) (client.Client, *catalog.Catalog) {
	t.Helper()
	s := servers.Source(t)
	m, err := client.NewClient(t.Context(), client.Config{Address: s.Addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	cfg := catalog.DefaultConfig()
	cfg.Endpoints = []string{s.EtcdEndpoint}
	return m, open(t, cfg)
}

// unique is a name of the test's own.
func unique(name string) string { return fmt.Sprintf("%s_%d", name, time.Now().UnixNano()) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ordersSchema has a bit of everything that 2.3.5 has.
func ordersSchema(name string) *entity.Schema {
	return entity.NewSchema().WithName(name).WithDescription("all orders").WithDynamicFieldEnabled(true).
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeVarChar).WithMaxLength(64).WithIsPrimaryKey(true).WithDescription("key")).
		WithField(entity.NewField().WithName("tags").WithDataType(entity.FieldTypeArray).WithElementType(entity.FieldTypeInt32).WithMaxCapacity(8)).
		WithField(entity.NewField().WithName("vec").WithDataType(entity.FieldTypeFloatVector).WithDim(8))
}

// named finds a collection that is not on its way out.
func named(v *catalog.View, db, name string) *catalog.Collection {
	for _, c := range v.Collections {
		if c.Name == name && c.State <= catalog.Creating && v.Databases[c.DatabaseID] != nil && v.Databases[c.DatabaseID].Name == db {
			return c
		}
	}
	return nil
}

// recorder keeps the states that everything in one database goes through, in order.
type recorder struct {
	mu    sync.Mutex // guards all below
	steps map[string][]string
}

func record(t *testing.T, c *catalog.Catalog, db string) (stop func() map[string][]string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &recorder{steps: map[string][]string{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		ids := map[int64]bool{}
		for {
			changed := c.Changed()
			r.see(c.View(), db, ids)
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() map[string][]string {
		cancel()
		wg.Wait()
		return r.steps
	}
}

// see notes what is new. Names are those that objects were created with.
func (r *recorder) see(v *catalog.View, db string, ids map[int64]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, d := range v.Databases {
		if d.Name == db {
			ids[id] = true
			r.step("database", d.State.String())
		}
	}
	for id := range ids {
		if v.DatabaseGone(id) {
			r.step("database", "gone")
		}
	}
	for _, c := range v.Collections {
		if !ids[c.DatabaseID] {
			continue
		}
		r.step(fmt.Sprint("collection ", c.ID), fmt.Sprintf("%s %s %d", c.Name, c.State, len(c.Schema.GetFields())))
		for _, p := range c.Partitions {
			r.step(fmt.Sprintf("partition %d %s %d", c.ID, p.Name, p.ID), p.State.String())
		}
	}
}

func (r *recorder) step(what, state string) {
	if s := r.steps[what]; len(s) == 0 || s[len(s)-1] != state {
		r.steps[what] = append(s, state)
	}
}

// inOrder reports whether the steps are some of the wanted ones, in that order: Views may pass over short-lived states.
func inOrder(steps []string, want ...string) bool {
	for _, s := range steps {
		i := slices.Index(want, s)
		if i < 0 {
			return false
		}
		want = want[i+1:]
	}
	return true
}

// TestFollowsMilvus makes a real Milvus create, rename and drop, and expects each after one Sync.
func TestFollowsMilvus(t *testing.T) {
	m, c := source(t)
	ctx := within(t, 2*time.Minute)
	db, name := unique("shop"), "orders"
	recorded := record(t, c, db)

	must(t, m.CreateDatabase(ctx, db))
	v := syncNow(t, c)
	made := find(v.Databases, func(d *catalog.Database) bool { return d.Name == db && d.State == catalog.Created })
	if made == nil {
		t.Fatalf("database is not in\n%s", summary(v))
	}
	if at := time.UnixMilli(int64(made.Created >> 18)); time.Since(at).Abs() > time.Minute {
		t.Errorf("database was created at %s", at)
	}
	must(t, m.UsingDatabase(ctx, db))
	must(t, m.CreateCollection(ctx, ordersSchema(name), 2, client.WithConsistencyLevel(entity.ClBounded), client.WithCollectionProperty("collection.ttl.seconds", "3600")))
	col := named(syncNow(t, c), db, name)
	if col == nil || col.State != catalog.Created {
		t.Fatalf("collection is %+v", col)
	}
	checkOrders(t, col)
	must(t, m.CreatePartition(ctx, name, "p1"))
	col = syncNow(t, c).Collections[col.ID]
	p1 := find(col.Partitions, func(p *catalog.Partition) bool { return p.Name == "p1" && p.State == catalog.Created })
	if p1 == nil || len(col.Partitions) != 2 {
		t.Fatalf("partitions are %v", col.Partitions)
	}
	must(t, m.RenameCollection(ctx, name, "bills"))
	if got := syncNow(t, c).Collections[col.ID]; got.Name != "bills" || got.Schema.GetName() != "bills" || got.State != catalog.Created {
		t.Errorf("renamed collection is %+v", got)
	}
	must(t, m.DropPartition(ctx, "bills", "p1"))
	if v := syncNow(t, c); !v.PartitionGone(col.ID, p1.ID) && v.Collections[col.ID].Partitions[p1.ID].State == catalog.Created {
		t.Error("dropped partition is still created")
	}
	must(t, m.DropCollection(ctx, "bills"))
	if v := syncNow(t, c); named(v, db, "bills") != nil {
		t.Errorf("dropped collection is\n%s", summary(v))
	}
	must(t, m.UsingDatabase(ctx, "default"))
	must(t, m.DropDatabase(ctx, db))
	eventually(t, c, "the drop of the database", func(v *catalog.View) bool { return v.DatabaseGone(made.ID) })
	checkSteps(t, recorded(), col.ID, p1.ID)
}

func checkSteps(t *testing.T, steps map[string][]string, id, p1 int64) {
	t.Helper()
	coll, part := steps[fmt.Sprint("collection ", id)], steps[fmt.Sprintf("partition %d p1 %d", id, p1)]
	if !inOrder(coll, "orders creating 0", "orders creating 4", "orders created 4", "bills created 4", "bills dropping 4") || len(coll) < 3 {
		t.Errorf("the collection went through %q", coll)
	}
	if !inOrder(part, "creating", "created", "dropping") || len(part) < 2 {
		t.Errorf("the partition went through %q", part)
	}
	if got := strings.Join(steps["database"], " "); got != "created gone" {
		t.Errorf("the database went through %q", got)
	}
}

func checkOrders(t *testing.T, col *catalog.Collection) {
	t.Helper()
	s := col.Schema
	var fields []string
	for _, f := range s.GetFields() {
		fields = append(fields, fmt.Sprintf("%d %s %s", f.GetFieldID(), f.GetName(), f.GetDataType()))
	}
	if got := strings.Join(fields, ", "); got != "100 id VarChar, 101 tags Array, 102 vec FloatVector, 103 $meta JSON" {
		t.Errorf("fields are %s", got)
	}
	if s.GetName() != "orders" || s.GetDescription() != "all orders" || !s.GetEnableDynamicField() || s.GetFields()[1].GetElementType() != schemapb.DataType_Int32 {
		t.Errorf("schema is %v", s)
	}
	if len(col.Properties) != 1 || col.Properties[0].GetValue() != "3600" || len(s.GetProperties()) != 1 || col.Consistency.String() != "Bounded" {
		t.Errorf("settings are %v, %v, %s", col.Properties, s.GetProperties(), col.Consistency)
	}
	if col.Shards != 2 || len(col.Channels) != 2 || len(col.VirtualChannels) != 2 || !strings.HasPrefix(col.VirtualChannels[1], col.Channels[1]+"_") {
		t.Errorf("channels are %v, %v", col.Channels, col.VirtualChannels)
	}
	for _, ch := range col.Channels {
		if len(col.Starts[ch]) == 0 {
			t.Errorf("channel %s has no start in %v", ch, col.Starts)
		}
	}
	if at := time.UnixMilli(int64(col.Created >> 18)); time.Since(at).Abs() > time.Minute {
		t.Errorf("collection was created at %s", at)
	}
}

// find returns the one that ok says yes to, or nil.
func find[V any](m map[int64]*V, ok func(*V) bool) *V {
	for _, v := range m {
		if ok(v) {
			return v
		}
	}
	return nil
}

// TestSameNameAgain drops a collection and creates another of its name, ten times: ids tell them apart.
func TestSameNameAgain(t *testing.T) {
	m, c := source(t)
	ctx := within(t, 2*time.Minute)
	name := unique("again")
	ids := map[int64]bool{}
	for i := range 10 {
		must(t, m.CreateCollection(ctx, ordersSchema(name), 1))
		v := syncNow(t, c)
		col := named(v, "default", name)
		if col == nil || col.State != catalog.Created || len(col.Schema.GetFields()) != 4 || ids[col.ID] {
			t.Fatalf("round %d: collection is %+v", i, col)
		}
		ids[col.ID] = true
		must(t, m.DropCollection(ctx, name))
		v = syncNow(t, c)
		if got := named(v, "default", name); got != nil {
			t.Fatalf("round %d: dropped collection is %+v", i, got)
		}
		for id := range ids {
			if !v.CollectionGone(id) && v.Collections[id].State == catalog.Created {
				t.Fatalf("round %d: dropped collection %d is created", i, id)
			}
		}
	}
}
