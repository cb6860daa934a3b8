//go:build servers

package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/jetstream"
	"kitestream/test/oracle"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// must fails the test for an error of a call to the source.
func must(r *rig.Rig, err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// graph is an HNSW index.
func graph(r *rig.Rig, construction int) entity.Index {
	r.Helper()
	ix, err := entity.NewIndexHNSW(entity.L2, 8, construction)
	must(r, err)
	return ix
}

// settings are what a server says of how a collection is set.
func settings(r *rig.Rig, m *servers.Milvus, database, collection string) oracle.Settings {
	r.Helper()
	s, err := r.Oracle(m).Settings(r.Context(), database, collection)
	must(r, err)
	return s
}

// set fails the test unless a server has the setting.
func set(r *rig.Rig, m *servers.Milvus, collection, name, want string) {
	r.Helper()
	if got := settings(r, m, "default", collection)[name]; got != want {
		r.Errorf("%s, %s: %q, want %q", collection, name, got, want)
	}
}

// only selects the collections of the default database whose names begin with the prefix.
func only(prefix string) func(database, collection string) bool {
	return func(db, collection string) bool { return db == "default" && strings.HasPrefix(collection, prefix) }
}

// setBefore has everything set before there is a task, and changed under it.
func setBefore(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("before_", dst)
	a := r.Table("default", plain("before_a"), 2, client.WithCollectionProperty("collection.ttl.seconds", "864000"))
	b := r.Table("default", plain("before_b"), 1)
	src := a.Client
	a.CreatePartition("p")
	a.CreatePartition("q")
	a.Upsert("p", rows(0, 100, 1)...)
	must(r, src.CreateAlias(r.Context(), "before_a", "before_now"))
	must(r, src.CreateIndex(r.Context(), "before_a", "vec", graph(r, 40), false, client.WithIndexName("quick")))
	must(r, src.CreateIndex(r.Context(), "before_b", "vec", graph(r, 40), false))
	must(r, src.LoadPartitions(r.Context(), "before_a", []string{"p"}, false))
	must(r, src.LoadCollection(r.Context(), "before_b", false, client.WithReplicaNumber(1)))

	r.Create("before", 3, rig.Prefix("default", "before_"), dst)
	r.Wait("before")
	for name, want := range map[string]string{"alias before_now": "its name", "property collection.ttl.seconds": "864000",
		"load": "partitions p", "replicas": "1"} {
		set(r, dst, "before_a", name, want)
	}
	set(r, dst, "before_b", "load", "partitions _default")

	must(r, src.AlterAlias(r.Context(), "before_b", "before_now"))
	must(r, src.ReleaseCollection(r.Context(), "before_a"))
	must(r, src.DropIndex(r.Context(), "before_a", "vec", client.WithIndexName("quick")))
	must(r, src.CreateIndex(r.Context(), "before_a", "vec", graph(r, 60), false, client.WithIndexName("quick")))
	must(r, src.LoadPartitions(r.Context(), "before_a", []string{"q", "_default"}, false))
	must(r, src.RenameCollection(r.Context(), "before_b", "before_c"))
	b.Name = "before_c"
	must(r, src.ReleasePartitions(r.Context(), "before_a", []string{"q"}))
	b.CreatePartition("new") // of a loaded collection
	r.Wait("before")
	set(r, dst, "before_c", "alias before_now", "its name")
	set(r, dst, "before_c", "load", "partitions _default new")
	set(r, dst, "before_a", "load", "partitions _default")
	r.Same(dst, only("before_"))
	r.CheckStream("before")
}

// loadLeft has a task leave what is loaded to the target's owner: who loads and releases there is not disturbed.
func loadLeft(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("left_", dst)
	tb := r.Table("default", plain("left_a"), 1)
	must(r, tb.Client.CreateIndex(r.Context(), "left_a", "vec", graph(r, 40), false))
	must(r, tb.Client.LoadCollection(r.Context(), "left_a", false))
	r.CreateTask(jetstream.TaskSpec{Name: "left", Lanes: 2, Select: rig.Prefix("default", "left_"),
		Targets: []jetstream.TargetSpec{{Name: "t1", URI: dst.URI}}, Leave: []string{jetstream.LeaveLoad}})
	tb.Upsert("", rows(0, 50, 1)...)
	r.Wait("left")
	set(r, dst, "left_a", "load", "nothing")
	target := r.Client(dst, "")
	must(r, target.LoadCollection(r.Context(), "left_a", false))
	must(r, tb.Client.ReleaseCollection(r.Context(), "left_a"))
	tb.Upsert("", rows(20, 80, 2)...)
	r.Wait("left")
	set(r, dst, "left_a", "load", "partitions _default")
	set(r, r.Source, "left_a", "load", "nothing")
	tb.Check(dst)
}

// setMapped has two databases mapped into one by a template: aliases, indexes, names and what is loaded go there too.
func setMapped(r *rig.Rig) {
	dst := servers.Target(r)
	source := r.Client(r.Source, "")
	var tables []*rig.Table
	for _, db := range []string{"setmap_1", "setmap_2"} {
		must(r, source.CreateDatabase(r.Context(), db))
		tables = append(tables, r.Table(db, plain("orders"), 1))
	}
	r.CreateTask(jetstream.TaskSpec{Name: "setmap", Lanes: 2, Targets: []jetstream.TargetSpec{{Name: "t1", URI: dst.URI}},
		Select: []jetstream.Selection{{Database: "setmap_*", Collections: []string{"*"}}},
		Map:    []jetstream.Mapping{{Database: "setmap_*", ToDatabase: "setmap", ToCollection: "{db}_{collection}"}}})
	for i, tb := range tables {
		tb.Upsert("", rows(0, 50, int64(i))...)
		tb.CreatePartition("p")
		must(r, tb.Client.CreateAlias(r.Context(), "orders", "now"))
		must(r, tb.Client.CreateIndex(r.Context(), "orders", "vec", graph(r, 40+i), false, client.WithIndexName("quick")))
		must(r, tb.Client.LoadPartitions(r.Context(), "orders", []string{"p"}, false))
	}
	check := func(db, collection string) {
		r.Helper()
		r.Wait("setmap")
		want := oracle.Settings{}
		for name, v := range settings(r, r.Source, db, collection) {
			if alias, ok := strings.CutPrefix(name, "alias "); ok {
				name = "alias " + db + "_" + alias
			}
			want[name] = v
		}
		d := &oracle.Diff{}
		d.Settings(db+"."+collection, want, settings(r, dst, "setmap", db+"_"+collection))
		if !d.Equal() || len(want) < 5 {
			r.Errorf("mapped settings: %s; want %v", d, want)
		}
	}
	check("setmap_1", "orders")
	check("setmap_2", "orders")
	must(r, tables[1].Client.ReleaseCollection(r.Context(), "orders"))
	must(r, tables[1].Client.CreateCollection(r.Context(), plain("bills"), 1))
	must(r, tables[1].Client.AlterAlias(r.Context(), "bills", "now"))
	must(r, tables[1].Client.CreateIndex(r.Context(), "bills", "vec", graph(r, 40), false))
	must(r, tables[1].Client.CreateAlias(r.Context(), "orders", "then"))
	check("setmap_2", "orders")
	check("setmap_2", "bills")
	for _, tb := range tables {
		must(r, tb.Client.DropAlias(r.Context(), "now"))
		tb.Drop()
	}
	must(r, tables[1].Client.DropCollection(r.Context(), "bills"))
	for _, tb := range tables {
		must(r, source.DropDatabase(r.Context(), tb.Database))
	}
	r.Wait("setmap")
	if has := databases(r, dst); has["setmap"] {
		r.Errorf("the target still has the databases %v", has)
	}
	r.CheckStream("setmap")
}

// waitedFor names a collection that is not there yet, and a pattern that nothing matches.
func waitedFor(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("waited_", dst)
	answer := r.Create("waited", 2, []jetstream.Selection{{Database: "default", Collections: []string{"waited_a", "waited_x_*"}}}, dst)
	want := jetstream.QualifiedName{Database: "default", Collection: "waited_a"}
	if answer.Resolved == nil || !slices.Contains(answer.Resolved.Missing, want) || len(answer.Resolved.Empty) != 1 {
		r.Errorf("create said %+v", answer.Resolved)
	}
	r.Until("it is said what is waited for", func() bool {
		v := r.View("waited")
		return slices.Equal(v.WaitingFor, []jetstream.QualifiedName{want}) && len(v.Empty) == 1 && len(v.Resolved) == 0
	})
	tb := r.Table("default", plain("waited_a"), 1)
	tb.Upsert("", rows(0, 50, 1)...)
	other := r.Table("default", plain("waited_x_1"), 1)
	not := r.Table("default", plain("waited_not"), 1)
	other.Upsert("", rows(0, 50, 2)...)
	r.Wait("waited")
	tb.Check(dst)
	other.Check(dst)
	r.Until("nothing is waited for", func() bool {
		v := r.View("waited")
		return len(v.WaitingFor) == 0 && len(v.Empty) == 0 && len(v.Resolved) == 2
	})
	not.Drop()
	tb.Drop()
	r.Until("it is waited for again", func() bool {
		v := r.View("waited")
		return slices.Equal(v.WaitingFor, []jetstream.QualifiedName{want}) && len(v.Resolved) == 1
	})
}

// TestWholeCluster follows every database, those that are yet to come too, less what is excluded. It is alone, as it
// makes the databases of all other stories.
func TestWholeCluster(t *testing.T) {
	r, dst := rig.New(t), servers.Target2(t)
	r.Clean("star_", dst)
	for _, verb := range []string{"control", "bridge", "worker"} {
		r.Start(verb)
	}
	source := r.Client(r.Source, "")
	before := r.Table("default", plain("star_a"), 1)
	r.Table("default", plain("star_tmp_a"), 1)
	r.Create("star", 2, []jetstream.Selection{{Database: "*", Collections: []string{"star_*"}, Exclude: []string{"star_tmp_*"}}}, dst)
	before.Upsert("", rows(0, 50, 1)...)
	must(r, source.CreateDatabase(t.Context(), "star_db"))
	late := r.Table("star_db", plain("star_late"), 1)
	r.Table("star_db", plain("star_tmp_late"), 1)
	r.Table("star_db", plain("other"), 1)
	late.Upsert("", rows(0, 50, 2)...)
	must(r, late.Client.CreateAlias(t.Context(), "star_late", "star_alias"))
	r.Wait("star")
	before.Check(dst)
	late.Check(dst)
	v := r.View("star")
	if len(v.Resolved) != 2 {
		t.Errorf("resolved: %v", v.Resolved)
	}
	for db, want := range map[string][]string{"default": {"star_a"}, "star_db": {"star_late"}} {
		all, err := r.Client(dst, db).ListCollections(t.Context())
		must(r, err)
		var has []string
		for _, c := range all {
			if strings.HasPrefix(c.Name, "star_") || c.Name == "other" {
				has = append(has, c.Name)
			}
		}
		if !slices.Equal(has, want) {
			t.Errorf("the target has %v in %s, want %v", has, db, want)
		}
	}
	set(r, dst, "star_a", "partition _default", "it")
	if s := settings(r, dst, "star_db", "star_late"); s["alias star_alias"] == "" {
		t.Errorf("no alias: %v", s)
	}
	for _, name := range []string{"star_tmp_late", "other"} {
		must(r, late.Client.DropCollection(t.Context(), name))
	}
	must(r, late.Client.DropAlias(t.Context(), "star_alias"))
	late.Drop()
	must(r, source.DropDatabase(t.Context(), "star_db"))
	r.Wait("star")
	if has := databases(r, dst); has["star_db"] {
		t.Errorf("the target still has %v", has)
	}
	r.CheckStream("star")
}
