//go:build servers

package oracle_test

import (
	"strings"
	"testing"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/test/oracle"
	"kitestream/test/servers"
)

// TestCompareSettings sets two Milvus alike, then one of them differently in one way after the other.
func TestCompareSettings(t *testing.T) {
	ctx := timeout(t)
	a, b := connect(t, servers.Target(t), ""), connect(t, servers.Target2(t), "")
	both := func(do func(side)) { do(a); do(b) }
	expect := func(parts ...string) {
		t.Helper()
		d, err := oracle.CompareSettings(ctx, a.Cluster, b.Cluster, func(database, collection string) bool {
			return strings.HasPrefix(database, "setcmp") || strings.HasPrefix(collection, "setcmp")
		})
		must(t, err)
		for _, p := range parts {
			if !strings.Contains(d.String(), p) {
				t.Errorf("verdict lacks %q:\n%s", p, d)
			}
		}
		if d.Equal() != (len(parts) == 0) {
			t.Errorf("equal is %v:\n%s", d.Equal(), d)
		}
	}
	flat, err := entity.NewIndexFlat(entity.L2)
	must(t, err)
	graph, err := entity.NewIndexHNSW(entity.L2, 8, 32)
	must(t, err)
	other, err := entity.NewIndexHNSW(entity.L2, 8, 48)
	must(t, err)
	both(func(s side) {
		must(t, s.CreateDatabase(ctx, "setcmp"))
		must(t, s.CreateCollection(ctx, everything("setcmp_a"), 1))
		must(t, s.CreateCollection(ctx, everything("setcmp_b"), 1))
		must(t, s.CreatePartition(ctx, "setcmp_a", "p"))
	})
	expect()
	must(t, b.CreateDatabase(ctx, "setcmp2"))
	expect("database setcmp2: source has nothing, target has it")
	must(t, b.DropDatabase(ctx, "setcmp2"))

	must(t, a.CreateAlias(ctx, "setcmp_a", "name"))
	expect("default.setcmp_a, alias name: source has its name, target has nothing")
	must(t, b.CreateAlias(ctx, "setcmp_b", "name"))
	expect("default.setcmp_a, alias name: source has its name, target has nothing", "default.setcmp_b, alias name: source has nothing")
	must(t, b.AlterAlias(ctx, "setcmp_a", "name"))
	expect()

	both(func(s side) { must(t, s.CreateIndex(ctx, "setcmp_a", "vec", graph, false, client.WithIndexName("v"))) })
	must(t, b.DropIndex(ctx, "setcmp_a", "vec", client.WithIndexName("v")))
	expect("default.setcmp_a, index v: source has on vec:")
	must(t, b.CreateIndex(ctx, "setcmp_a", "vec", other, false, client.WithIndexName("v")))
	expect("efConstruction=32", "efConstruction=48")
	must(t, b.DropIndex(ctx, "setcmp_a", "vec", client.WithIndexName("v")))
	must(t, b.CreateIndex(ctx, "setcmp_a", "vec", graph, false, client.WithIndexName("v")))
	expect()

	must(t, a.AlterCollection(ctx, "setcmp_a", entity.CollectionTTL(86400)))
	expect("default.setcmp_a, property collection.ttl.seconds: source has 86400, target has nothing")
	must(t, b.AlterCollection(ctx, "setcmp_a", entity.CollectionTTL(86400)))
	expect()

	must(t, a.LoadCollection(ctx, "setcmp_a", false))
	expect("default.setcmp_a, load: source has partitions _default p, target has nothing", "default.setcmp_a, replicas: source has 1")
	must(t, b.LoadPartitions(ctx, "setcmp_a", []string{"p"}, false))
	expect("default.setcmp_a, load: source has partitions _default p, target has partitions p")
	must(t, b.LoadPartitions(ctx, "setcmp_a", []string{"_default"}, false))
	expect()
	both(func(s side) { must(t, s.CreateIndex(ctx, "setcmp_b", "vec", flat, false)) })
	must(t, b.CreatePartition(ctx, "setcmp_b", "q"))
	expect("default.setcmp_b, partition q: source has nothing, target has it")
}
