package catalog

import (
	"log/slog"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"kitestream/bridge/catalog/catalogtest"
)

// followed is a catalogue that has listed nothing at revision 10 and gets its watch's responses from a test.
func followed(t *testing.T) *Catalog {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &Catalog{keys: newKeyRange("p/"), log: slog.New(slog.DiscardHandler), metrics: m, model: newModel("p/")}
	c.publish(c.model.edit().finish(10))
	return c
}

// response is a watch's, of a server whose revision is the given one.
func response(server int64, events ...*clientv3.Event) *clientv3.WatchResponse {
	return &clientv3.WatchResponse{Header: etcdserverpb.ResponseHeader{Revision: server}, Events: events}
}

func created(key string, value []byte, rev int64) *clientv3.Event {
	kv := &mvccpb.KeyValue{Key: []byte("p/" + key), Value: value, CreateRevision: rev, ModRevision: rev, Version: 1}
	return &clientv3.Event{Type: mvccpb.PUT, Kv: kv}
}

func deleted(key string, rev int64) *clientv3.Event {
	return &clientv3.Event{Type: mvccpb.DELETE, Kv: &mvccpb.KeyValue{Key: []byte("p/" + key), ModRevision: rev}}
}

func TestAbsorbGoesByItsEvents(t *testing.T) {
	c := followed(t)
	db := catalogtest.Database(5, "shop", 0, 1)
	changed := c.Changed()
	// The rest up to the server's revision is yet to come, in another response.
	c.absorb(response(20, created(catalogtest.DatabaseKey(5), db, 11)))
	if v := c.View(); v.Revision != 11 || v.Databases[5] == nil || c.count != 1 {
		t.Fatalf("view of revision %d, %d keys:\n%s", v.Revision, c.count, text(v))
	}
	select {
	case <-changed:
	default:
		t.Error("Changed is not closed")
	}
	c.absorb(response(20, deleted(catalogtest.DatabaseKey(5), 12), created(catalogtest.DatabaseKey(5), db, 13)))
	if v := c.View(); v.Revision != 13 || v.Databases[5] == nil || c.count != 1 {
		t.Errorf("view of revision %d, %d keys:\n%s", v.Revision, c.count, text(v))
	}
	before := c.View()
	c.absorb(response(13, deleted(catalogtest.DatabaseKey(5), 12))) // a server that says it again
	if c.View() != before || c.count != 1 {
		t.Errorf("an event from before the view changed it to\n%s", text(c.View()))
	}
	c.absorb(response(30)) // progress
	if v := c.View(); v.Revision != 30 || v.Databases[5] == nil {
		t.Errorf("after a progress notification, view of revision %d:\n%s", v.Revision, text(v))
	}
	c.absorb(response(25)) // from a member that lags
	if v := c.View(); v.Revision != 30 {
		t.Errorf("the revision went back to %d", v.Revision)
	}
}

// A Sync has found that the View is what etcd holds at a later revision, over a key that came and went. Of its two
// events, which come now, both must be passed over.
func TestReachPassesOverWhatCameAndWent(t *testing.T) {
	c := followed(t)
	c.absorb(response(11, created(catalogtest.DatabaseKey(1), catalogtest.Database(1, "default", 0, 1), 11)))
	for name, g := range map[string]goal{
		"a later change":  {rev: 20, last: 12, count: 1},
		"a key less":      {rev: 20, last: 11, count: 0},
		"and a key more":  {rev: 20, last: 12, count: 2},
		"more keys alone": {rev: 20, last: 11, count: 2},
	} {
		if v := c.reach(g); v != nil {
			t.Errorf("%s: reached with revision %d", name, v.Revision)
		}
	}
	if v := c.reach(goal{rev: 20, last: 11, count: 1}); v == nil || v.Revision != 20 || c.View() != v {
		t.Fatalf("not reached: %+v", v)
	}
	key, value := catalogtest.DatabaseKey(5), catalogtest.Database(5, "short", 0, 1)
	c.absorb(response(20, created(key, value, 15)))
	if v := c.View(); v.Databases[5] != nil || c.count != 1 {
		t.Errorf("view of revision %d, %d keys:\n%s", v.Revision, c.count, text(v))
	}
	c.absorb(response(21, deleted(key, 16), created(key, value, 21)))
	if v := c.View(); v.Databases[5] == nil || v.Revision != 21 || c.count != 2 {
		t.Errorf("view of revision %d, %d keys:\n%s", v.Revision, c.count, text(v))
	}
	if v := c.reach(goal{rev: 19, last: 19, count: 9}); v == nil || v.Revision != 21 {
		t.Error("a goal in the past is not reached")
	}
}
