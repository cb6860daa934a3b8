//go:build servers

package e2e_test

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/oracle"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// mapped brings two databases of the source into one of the target, and of their collections some rows, two fields and
// some partitions.
func mapped(r *rig.Rig) {
	const first, second, merged = "e2e_map_1", "e2e_map_2", "e2e_map"
	dst := servers.Target(r)
	source := r.Client(r.Source, "")
	var tables []*rig.Table
	for _, db := range []string{first, second} {
		if err := source.CreateDatabase(r.Context(), db); err != nil {
			r.Fatal(err)
		}
		tables = append(tables, r.Table(db, plain("orders"), 2))
	}
	spec := jetstream.TaskSpec{
		Name: "mapped", Lanes: 3, Targets: []jetstream.TargetSpec{{Name: "t1", URI: dst.URI}},
		Select: []jetstream.Selection{{Database: "e2e_map_*", Collections: []string{"*"}}},
		Map:    []jetstream.Mapping{{Database: "e2e_map_*", ToDatabase: merged}},
		Rules:  []jetstream.Rule{{Where: "n % 2 == 1", DropFields: []string{"n"}, Partitions: []string{"_default", "keep_*"}}},
	}
	var refused *control.Error
	r.Until("the bridge knows both collections", func() bool {
		_, err := r.Tasks.Create(r.Context(), spec)
		if err == nil {
			_, err = r.Tasks.Delete(r.Context(), spec.Name)
		}
		return errors.As(err, &refused) && refused.Code == control.CodeInvalid
	})
	if refused.Field != "map[0]" || !strings.Contains(refused.Message, "e2e_map_1.orders and e2e_map_2.orders would both land on e2e_map.orders") {
		r.Errorf("create of two in one place: %+v", refused)
	}
	spec.Map[0].ToCollection = "{db}_{collection}"
	r.CreateTask(spec)

	for i, tb := range tables {
		tb.Upsert("", rows(0, 200, 1)...)
		tb.CreatePartition("keep_a")
		tb.CreatePartition("other")
		tb.Upsert("keep_a", rows(0, 50, 3)...)
		tb.Upsert("other", rows(0, 50, 3)...)
		tb.Upsert("", rows(50, 100, 2)...) // these cease to match
		tb.Upsert("", rows(60, 70, 5)...)  // and these come to again
		tb.Delete("", ids(int64(i), 20))
		tb.Delete("other", ids(20, 40))
		r.Wait(spec.Name)
		checkMapped(r, tb, r.Oracle(dst), merged, tb.Database+"_orders")
	}
	drop := func(i int) {
		tables[i].Drop()
		if err := source.DropDatabase(r.Context(), tables[i].Database); err != nil {
			r.Fatal(err)
		}
		r.Wait(spec.Name)
	}
	drop(0)
	if has := databases(r, dst); !has[merged] || has[first] {
		r.Errorf("with one of two databases gone, the target has %v", has)
	}
	checkMapped(r, tables[1], r.Oracle(dst), merged, second+"_orders")
	drop(1)
	if has := databases(r, dst); has[merged] {
		r.Errorf("with both gone, the target has %v", has)
	}
	r.CheckStream(spec.Name)
}

// checkMapped compares a collection of the target with those of the source's rows that it is to have.
func checkMapped(r *rig.Rig, tb *rig.Table, dst *oracle.Cluster, database, name string) {
	r.Helper()
	got, err := dst.Read(r.Context(), database, name)
	if err != nil {
		r.Fatalf("read %s.%s: %v", database, name, err)
	}
	whole := tb.Read(r.Source)
	n := slices.Index(whole.Fields, "n")
	want := map[oracle.Key]string{}
	for k, row := range whole.Rows {
		version, err := strconv.ParseInt(row[n], 10, 64)
		if err != nil {
			r.Fatalf("n is %q", row[n])
		}
		if version%2 == 1 && k.Partition != "other" {
			want[k] = strings.Join(slices.Delete(slices.Clone(row), n, n+1), " ")
		}
	}
	have := map[oracle.Key]string{}
	for k, row := range got.Rows {
		have[k] = strings.Join(row, " ")
	}
	if len(want) == 0 || !maps.Equal(have, want) || got.Total() != int64(len(want)) {
		r.Fatalf("%s.%s has %d rows (%d stored), %v; want %d", database, name, len(have), got.Total(), got.Fields, len(want))
	}
	if _, ok := got.Counts["other"]; ok {
		r.Errorf("%s.%s has a partition that it is not to have", database, name)
	}
}
