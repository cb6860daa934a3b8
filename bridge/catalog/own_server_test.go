//go:build servers

package catalog_test

import (
	"syscall"
	"testing"
	"time"

	"kitestream/bridge/catalog"
	"kitestream/bridge/catalog/catalogtest"
	"kitestream/test/servers"
)

// TestOwnServer does to an etcd what a shared one must not suffer: a kill, users, and its replacement by a younger one.
func TestOwnServer(t *testing.T) {
	m, err := servers.StartMilvus(within(t, 2*time.Minute), servers.MilvusConfig{Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	young := etcdAt(t, m.EtcdEndpoint)
	t.Run("kill", func(t *testing.T) { testKill(t, m, young) })
	t.Run("younger etcd", func(t *testing.T) { testYounger(t, young) })
	t.Run("users", func(t *testing.T) { testUsers(t, young) })
}

func testKill(t *testing.T, m *servers.Milvus, e *etcd) {
	cfg := e.config()
	cfg.RequestTimeout, cfg.CheckInterval = time.Second, 200*time.Millisecond
	c := open(t, cfg)
	e.collection(t, catalogtest.Named(10, 1, "orders", 0))
	was := summary(syncNow(t, c))
	must(t, m.Signal(syscall.SIGSTOP)) // it does not answer, and does not hang up
	waitFor(t, "an error in Health", func() bool { return c.Health().Err != nil })
	must(t, m.Signal(syscall.SIGCONT))
	syncNow(t, c)
	must(t, m.Kill())
	waitFor(t, "an error in Health", func() bool { return c.Health().Err != nil })
	must(t, m.Restart(within(t, 2*time.Minute)))
	if got := summary(syncNow(t, c)); got != was {
		t.Errorf("after the restart the view is\n%s", got)
	}
	e.collection(t, catalogtest.Named(20, 1, "later", 0))
	if syncNow(t, c).Collections[20] == nil {
		t.Error("the watch did not survive the restart")
	}
}

// testYounger puts a younger etcd in the place of an older one, as a restored backup is: its revisions are lower.
func testYounger(t *testing.T, young *etcd) {
	old := newEtcd(t)
	old.root = young.root
	must(t, aged(t, old, young))
	p := newProxy(t, old.endpoint, nil)
	cfg := young.config()
	cfg.Endpoints, cfg.CheckInterval, cfg.RequestTimeout = []string{p.addr}, 200*time.Millisecond, time.Second
	c := open(t, cfg)
	old.collection(t, catalogtest.Named(30, 1, "lost", 0))
	before := syncNow(t, c)
	p.point(young.endpoint)
	v := eventually(t, c, "the younger etcd's meta", func(v *catalog.View) bool { return v.Collections[20] != nil })
	if v.Collections[30] != nil || v.Revision >= before.Revision {
		t.Errorf("view of revision %d, before %d, is\n%s", v.Revision, before.Revision, summary(v))
	}
	young.collection(t, catalogtest.Named(40, 1, "later", 0))
	if syncNow(t, c).Collections[40] == nil {
		t.Error("the new watch does not deliver")
	}
}

// aged writes to the old one until its revision is well above the young one's.
func aged(t *testing.T, old, young *etcd) error {
	resp, err := young.Get(t.Context(), "x")
	if err != nil {
		return err
	}
	for {
		put, err := old.Put(t.Context(), old.root+"/x", "x")
		if err != nil || put.Header.Revision > resp.Header.Revision+1000 {
			return err
		}
	}
}
