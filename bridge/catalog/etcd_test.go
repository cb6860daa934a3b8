//go:build servers

package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"kitestream/bridge/catalog"
	"kitestream/bridge/catalog/catalogtest"
	"kitestream/test/servers"
)

func TestMain(m *testing.M) { os.Exit(servers.Main(m, servers.RoleSource)) }

// etcd is the real etcd inside the shared source, and a root of the test's own in it.
type etcd struct {
	*clientv3.Client
	endpoint, root string
}

func newEtcd(t testing.TB) *etcd {
	t.Helper()
	return etcdAt(t, servers.Source(t).EtcdEndpoint)
}

func etcdAt(t testing.TB, endpoint string) *etcd {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	e := &etcd{Client: c, endpoint: endpoint, root: fmt.Sprintf("/cattest-%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), time.Now().UnixNano())}
	t.Cleanup(func() {
		_, err := c.Delete(context.WithoutCancel(t.Context()), e.root, clientv3.WithPrefix())
		if err != nil {
			t.Logf("clean up: %v", err)
		}
		c.Close()
	})
	return e
}

// key is a key of Milvus's meta below the test's own root.
func (e *etcd) key(rel string) string { return e.root + "/meta/" + rel }

func (e *etcd) put(t testing.TB, rel string, value []byte) {
	t.Helper()
	e.txn(t, clientv3.OpPut(e.key(rel), string(value)))
}

func (e *etcd) del(t testing.TB, rel string) {
	t.Helper()
	e.txn(t, clientv3.OpDelete(e.key(rel)))
}

func (e *etcd) txn(t testing.TB, ops ...clientv3.Op) {
	t.Helper()
	if _, err := e.Txn(t.Context()).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
}

// collection writes a whole collection at once, with two fields and one partition.
func (e *etcd) collection(t testing.TB, c catalogtest.Collection) {
	t.Helper()
	e.txn(t, append(e.parts(c.ID), clientv3.OpPut(e.key(catalogtest.CollectionKey(c.Database, c.ID)), string(c.Value())))...)
}

func (e *etcd) parts(id int64) []clientv3.Op {
	var ops []clientv3.Op
	for fid, b := range catalogtest.Fields(catalogtest.Key("id"), catalogtest.Vector("vec", 8)) {
		ops = append(ops, clientv3.OpPut(e.key(catalogtest.FieldKey(id, fid)), string(b)))
	}
	return append(ops, clientv3.OpPut(e.key(catalogtest.PartitionKey(id, id+1)), string(catalogtest.Partition(id+1, id, "_default", 0))))
}

func (e *etcd) config() catalog.Config {
	cfg := catalog.DefaultConfig()
	cfg.Endpoints, cfg.Root = []string{e.endpoint}, e.root
	return cfg
}

// open opens a catalogue and runs it until the test ends.
func open(t testing.TB, cfg catalog.Config) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func syncNow(t testing.TB, c *catalog.Catalog) *catalog.View {
	t.Helper()
	v, err := c.Sync(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// eventually waits for a View of which ok says so.
func eventually(t testing.TB, c *catalog.Catalog, what string, ok func(*catalog.View) bool) *catalog.View {
	t.Helper()
	ctx := within(t, 60*time.Second)
	for {
		changed := c.Changed()
		if v := c.View(); ok(v) {
			return v
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%s did not come in a minute", what)
		}
	}
}

// summary is all objects of a View with their states.
func summary(v *catalog.View) string {
	var out []string
	for id, db := range v.Databases {
		out = append(out, fmt.Sprintf("db %d %s %s", id, db.Name, db.State))
	}
	for id, c := range v.Collections {
		out = append(out, fmt.Sprintf("coll %d/%d %s %s %v", c.DatabaseID, id, c.Name, c.State, c.Schema))
		for pid, p := range c.Partitions {
			out = append(out, fmt.Sprintf("part %d/%d %s %s", id, pid, p.Name, p.State))
		}
		for iid, ix := range c.Indexes {
			out = append(out, fmt.Sprintf("index %d/%d %v", id, iid, *ix))
		}
		if c.Load != nil {
			out = append(out, fmt.Sprintf("load %d %v", id, *c.Load))
		}
	}
	for key, a := range v.Aliases {
		out = append(out, fmt.Sprintf("alias %v %v", key, *a))
	}
	out = append(out, fmt.Sprint(*v.Access)) // maps print in the order of their keys
	slices.Sort(out)
	return strings.Join(append(out, slices.Sorted(maps.Keys(v.Unreadable))...), "\n")
}

// metric is the value of a counter or gauge.
func metric(t testing.TB, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
