package jetstream_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"kitestream/jetstream"
)

var allKinds = jetstream.Kinds()

func TestSubjects(t *testing.T) {
	e := &jetstream.Event{Kind: jetstream.Insert, Channel: "by-dev-rootcoord-dml_0", Lane: 3, Database: "default", Collection: "books"}
	for want, got := range map[string]string{
		"ks.orders.by-dev-rootcoord-dml_0.3.default.books.insert": jetstream.Subject("orders", e),
		"ks.orders.catalog.all.default.=.create_database":         jetstream.Subject("orders", &jetstream.Event{Kind: jetstream.CreateDatabase, Channel: "catalog", Lane: jetstream.AllLanes, Database: "default"}),
		"ks.orders.fence.none.=.=.fence":                          jetstream.Subject("orders", &jetstream.Event{Kind: jetstream.Fence, Channel: "fence", Lane: jetstream.NoLane}),
		"ks.a=2Eb.=2A.0.=3D.=C3=A9.delete":                        jetstream.Subject("a.b", &jetstream.Event{Kind: jetstream.Delete, Channel: "*", Database: "=", Collection: "é"}),
		"KS_orders":                                               jetstream.StreamName("orders"),
		"ks.orders.>":                                             jetstream.StreamSubjects("orders"),
		"ks.orders.*.3.> ks.orders.*.all.>":                       strings.Join(jetstream.LaneSubjects("orders", 3), " "),
		"ks.orders.*.all.>":                                       jetstream.AllLanesSubjects("orders"),
		"ks.orders.by-dev-rootcoord-dml_0.>":                      jetstream.ChannelSubjects("orders", "by-dev-rootcoord-dml_0"),
		"ks.orders.*.3.db.c.insert ks.orders.*.3.db.c.delete":     strings.Join(jetstream.RowSubjects("orders", 3, "db", "c"), " "),
		"ks.orders.*.3.db.c.> ks.orders.*.all.db.c.>":             strings.Join(jetstream.CollectionSubjects("orders", 3, "db", "c"), " "),
	} {
		if got != want {
			t.Errorf("subject = %s, want %s", got, want)
		}
	}
}

func TestParseSubjectRefuses(t *testing.T) {
	for _, s := range []string{
		"", "ks", "ks.t.c.0.d.c", "ks.t.c.0.d.c.insert.x", "kx.t.c.0.d.c.insert", "ks.t.c.0.d.c.", "ks..c.0.d.c.insert",
		"ks.t.c.-1.d.c.insert", "ks.t.c.00.d.c.insert", "ks.t.c.+1.d.c.insert", "ks.t.c.x.d.c.insert", "ks.t.c.=.d.c.insert",
		"ks.t.c.0.=2e.c.insert", "ks.t.c.0.=41.c.insert", "ks.t.c.0.=2.c.insert", "ks.t.c.0.a=.c.insert", "ks.t.c.0.é.c.insert",
		"ks.t.c.99999999999999999999.d.c.insert",
	} {
		if a, err := jetstream.ParseSubject(s); !errors.Is(err, jetstream.ErrMalformed) {
			t.Errorf("ParseSubject(%q) = %+v, %v, want ErrMalformed", s, a, err)
		}
	}
}

// FuzzSubject builds a subject of any names and reads them back.
func FuzzSubject(f *testing.F) {
	f.Add("orders", "by-dev-rootcoord-dml_0", 3, "default", "books", 0)
	f.Add("a.b", "*", -1, "", "é>", 4)
	f.Add("", "=", -2, "=2E", " \x00\xff", 8)
	f.Fuzz(func(t *testing.T, task, channel string, lane int, database, collection string, kind int) {
		lane = max(lane, jetstream.NoLane)
		e := &jetstream.Event{Kind: allKinds[uint(kind)%uint(len(allKinds))], Channel: channel, Lane: lane, Database: database, Collection: collection}
		s := jetstream.Subject(task, e)
		if strings.ContainsAny(s, "*> \t\r\n") || slices.Contains(strings.Split(s, "."), "") {
			t.Errorf("subject %q is not one to publish on", s)
		}
		a, err := jetstream.ParseSubject(s)
		want := jetstream.Address{Task: task, Channel: channel, Lane: lane, Database: database, Collection: collection, Kind: e.Kind}
		if err != nil || a != want {
			t.Errorf("ParseSubject(%q) = %+v, %v, want %+v", s, a, err, want)
		}
	})
}

// FuzzParseSubject reads any string, and builds what could be read to the same string again.
func FuzzParseSubject(f *testing.F) {
	f.Add("ks.orders.by-dev-rootcoord-dml_0.3.default.books.insert")
	f.Add("ks.a=2Eb.=2A.all.=3D.=.drop_partition")
	f.Add("ks.=.=.none.=.=.fence")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := jetstream.ParseSubject(s)
		if err != nil {
			if !errors.Is(err, jetstream.ErrMalformed) {
				t.Errorf("ParseSubject(%q) = %v, which wraps no ErrMalformed", s, err)
			}
			return
		}
		e := &jetstream.Event{Kind: a.Kind, Channel: a.Channel, Lane: a.Lane, Database: a.Database, Collection: a.Collection}
		if back := jetstream.Subject(a.Task, e); back != s {
			t.Errorf("Subject(%+v) = %q, it was read from %q", a, back, s)
		}
	})
}
