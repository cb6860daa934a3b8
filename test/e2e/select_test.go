//go:build servers

package e2e_test

import (
	"slices"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// selected: databases and collections by pattern, some left out; what is named and not there yet is waited for and shown, a
// pattern that matches nothing too; the list follows what comes and goes. Whether collections are loaded is left alone.
func selected(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("sel_", dst)
	src := r.Client(r.Source, "")
	for _, db := range []string{"sel_1", "sel_2"} {
		if err := src.CreateDatabase(r.Context(), db); err != nil {
			r.Fatal(err)
		}
	}
	first := r.Table("sel_1", plain("orders"), 1)
	r.Table("sel_1", plain("tmp_orders"), 1)
	task := jetstream.TaskSpec{Name: "selected", Lanes: 2, Leave: []string{jetstream.LeaveLoad}, Targets: []jetstream.TargetSpec{{Name: "t1", URI: dst.URI}},
		Select: []jetstream.Selection{
			{Database: "sel_*", Collections: []string{"*"}, Exclude: []string{"tmp_*"}},
			{Database: "default", Collections: []string{"sel_named", "sel_none_*"}},
		}}
	name := func(db, c string) jetstream.QualifiedName {
		return jetstream.QualifiedName{Database: db, Collection: c}
	}
	r.Until("the plan shows the collection that is there", func() bool {
		p, err := r.Tasks.Plan(r.Context(), task)
		return err == nil && p.Resolved != nil && slices.Equal(p.Resolved.Matched, []jetstream.QualifiedName{name("sel_1", "orders")})
	})
	a := r.CreateTask(task)
	if !slices.Equal(a.Resolved.Missing, []jetstream.QualifiedName{name("default", "sel_named")}) ||
		!slices.Equal(a.Resolved.Empty, []jetstream.QualifiedName{name("default", "sel_none_*")}) {
		r.Errorf("create says %+v", a.Resolved)
	}
	r.Until("what is waited for is shown", func() bool {
		v := r.View("selected")
		return slices.Equal(v.WaitingFor, a.Resolved.Missing) && slices.Equal(v.Empty, a.Resolved.Empty)
	})
	second, named := r.Table("sel_2", plain("orders"), 2), r.Table("default", plain("sel_named"), 1)
	index, err := entity.NewIndexFlat(entity.L2)
	if err != nil {
		r.Fatal(err)
	}
	if err := src.CreateIndex(r.Context(), "sel_named", "vec", index, false); err != nil {
		r.Fatal(err)
	}
	if err := src.LoadCollection(r.Context(), "sel_named", false); err != nil {
		r.Fatal(err)
	}
	for _, tb := range []*rig.Table{first, second, named} {
		tb.Upsert("", rows(0, 100, 1)...)
	}
	r.Until("the list has what came", func() bool {
		v := r.View("selected")
		return len(v.WaitingFor) == 0 && slices.Equal(sorted(v.Resolved), []string{"default.sel_named", "sel_1.orders", "sel_2.orders"})
	})
	r.Wait("selected")
	target := r.Client(dst, "")
	r.Until("the index is on the target", func() bool {
		ix, err := target.DescribeIndex(r.Context(), "sel_named", "vec")
		return err == nil && len(ix) == 1
	})
	if state, err := target.GetLoadState(r.Context(), "sel_named", nil); err != nil || state == entity.LoadStateLoaded {
		r.Errorf("the collection, whose load is left alone, is %v on the target, %v", state, err)
	}
	for _, tb := range []*rig.Table{first, second, named} {
		tb.Check(dst)
	}
	if has := collections(r, dst, "sel_1"); !slices.Equal(has, []string{"orders"}) {
		r.Errorf("database sel_1 of the target has %v", has)
	}
	second.Drop()
	named.Drop()
	r.Until("the list has not what went, and waits for it again", func() bool {
		v := r.View("selected")
		return slices.Equal(v.WaitingFor, a.Resolved.Missing) && slices.Equal(sorted(v.Resolved), []string{"sel_1.orders"})
	})
	r.CheckStream("selected")
}

func sorted(names []jetstream.QualifiedName) []string {
	var out []string
	for _, n := range names {
		out = append(out, n.String())
	}
	slices.Sort(out)
	return out
}

// collections are the collections of a database.
func collections(r *rig.Rig, m *servers.Milvus, database string) (names []string) {
	r.Helper()
	list, err := r.Client(m, database).ListCollections(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for _, c := range list {
		names = append(names, c.Name)
	}
	return names
}
