package handlers_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

// testRule lets rows of two partitions pass whose value begins with "y".
func testRule() jetstream.Rule {
	return jetstream.Rule{Where: `v startsWith "y"`, Partitions: []string{"a", "_def*"}}
}

// matches is testRule in Go. In a collection with a partition key all partitions are one, "".
func matches(partition, value string) bool {
	return strings.HasPrefix(value, "y") && (partition == "" || takes(partition))
}

func takes(partition string) bool { return partition == "a" || partition == "_default" }

// naiveFiltered applies the changes one by one, less what testRule leaves out of each.
func naiveFiltered(state map[cell]string, changes []change, partitionKey bool) {
	for _, c := range changes {
		if !partitionKey && c.partition != "" && !takes(c.partition) {
			continue
		}
		if c.remove {
			naive(state, []change{c}, partitionKey)
			continue
		}
		left := c
		left.rows = nil
		for _, r := range c.rows {
			if strings.HasPrefix(r.value, "y") {
				left.rows = append(left.rows, r)
			}
		}
		naive(state, []change{left}, partitionKey)
	}
}

// randomChanges are of few keys, so that they meet. As upserts, each insert comes behind the delete of its keys.
func randomChanges(r *rand.Rand, upserts bool) []change {
	partitions := []string{"a", "b", "_default"}
	var out []change
	for i := range r.IntN(40) {
		c := change{partition: partitions[r.IntN(3)], remove: r.IntN(3) == 0}
		if c.remove && r.IntN(3) == 0 {
			c.partition = ""
		}
		used := map[int64]bool{}
		for range r.IntN(8) {
			k := r.Int64N(12)
			if upserts && used[k] {
				continue // the source's proxy takes only the last of one request
			}
			used[k] = true
			c.rows = append(c.rows, row{k, fmt.Sprintf("%s%d", []string{"y", "n"}[r.IntN(2)], i)})
		}
		if upserts && !c.remove {
			out = append(out, change{partition: c.partition, rows: c.rows, remove: true})
		}
		out = append(out, c)
	}
	return out
}

// checkRule applies the changes in batches, and compares with them one by one.
func checkRule(t *testing.T, r *rand.Rand, changes []change, partitionKey bool, o handlers.Options) map[cell]string {
	t.Helper()
	want := map[cell]string{}
	naiveFiltered(want, changes, partitionKey)
	m := newMemory(t)
	target := m.fake()
	target.ShapeFunc = func(context.Context, handlers.Ref) (handlers.Shape, error) {
		return handlers.Shape{Key: "id", PartitionKey: partitionKey}, nil
	}
	o.Spec = jetstream.TaskSpec{Rules: []jetstream.Rule{{Collections: []string{"other*"}, Where: "false"}, testRule()}}
	if partitionKey {
		o.Spec.Rules[1].Partitions = nil
	}
	h := newHandlers(t, target, o)
	b := eventsOf(t, "c", 1)
	var batch []*jetstream.Event
	for _, c := range changes {
		batch = append(batch, eventOf(b, c))
	}
	for len(batch) > 0 {
		n := 1 + r.IntN(len(batch))
		mustApply(t, h, batch[:n]...)
		if r.IntN(3) == 0 {
			mustApply(t, h, batch[:n]...) // a redelivery
		}
		batch = batch[n:]
	}
	if got := m.at(testRef); !maps.Equal(got, want) {
		t.Fatalf("changes %+v\ngive %v\nwant %v", changes, got, want)
	}
	return want
}

// TestRulesFoldedAndOneByOne: however a run of changes is cut into batches, the target comes to what it would come to with
// each change by itself.
func TestRulesFoldedAndOneByOne(t *testing.T) {
	metrics := sharedMetrics(t)
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 2))
		partitionKey := r.IntN(3) == 0
		checkRule(t, r, randomChanges(r, false), partitionKey, handlers.Options{MaxRows: 1 + r.IntN(6), Metrics: metrics})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestUpsertsComeAndGo: when the source changes rows by upserts, the target has those of the source that match.
func TestUpsertsComeAndGo(t *testing.T) {
	metrics := sharedMetrics(t)
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 3))
		partitionKey := r.IntN(3) == 0
		changes := randomChanges(r, true)
		source := map[cell]string{}
		naive(source, changes, partitionKey)
		maps.DeleteFunc(source, func(c cell, v string) bool { return !matches(c.partition, v) })
		got := checkRule(t, r, changes, partitionKey, handlers.Options{Metrics: metrics})
		if !maps.Equal(got, source) {
			t.Fatalf("seed %d: the target has %v, the source's rows that match are %v", seed, got, source)
		}
	}
}

// counted sums a counter of events or rows over its labels, by kind.
func counted(t *testing.T, reg *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			kind := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == "kind" {
					kind = l.GetValue()
				}
			}
			out[kind] += m.GetCounter().GetValue()
		}
	}
	return out
}

func TestWhatIsLeftOutIsCountedAndTold(t *testing.T) {
	reg := prometheus.NewRegistry()
	metrics, err := handlers.NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	m := newMemory(t)
	h := newHandlers(t, m.fake(), handlers.Options{
		Metrics: metrics, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Spec: jetstream.TaskSpec{Rules: []jetstream.Rule{{Where: `int(v) > 3`, Partitions: []string{"a", "b"}}}},
	})
	b := eventsOf(t, "c", 1)
	batch := []*jetstream.Event{
		b.insert("a", row{1, "5"}, row{2, "1"}, row{3, "x"}, row{4, "y"}), // of four rows one; two fail
		b.insert("a", row{5, "2"}),                                        // nothing
		b.insert("c", row{6, "9"}, row{7, "9"}),                           // nothing
		b.insert("b"),                                                     // no rows at all
		b.remove("c", 1, 2, 3), b.remove("a", 9), b.remove("", 8),
		b.define(jetstream.CreatePartition, "c"), b.define(jetstream.CreatePartition, "a"), b.define(jetstream.DropPartition, "c"),
	}
	mustApply(t, h, batch...)
	mustApply(t, h, b.insert("a", row{9, "z"}))
	if want := map[cell]string{{"a", 1}: "5"}; !maps.Equal(m.at(testRef), want) {
		t.Errorf("the target has %v, want %v", m.at(testRef), want)
	}
	for name, want := range map[string]string{
		"kitestream_applied_events_total":  "map[create_partition:1 delete:2 insert:2]",
		"kitestream_filtered_events_total": "map[create_partition:1 delete:1 drop_partition:1 insert:3]",
		"kitestream_applied_rows_total":    "map[delete:2 insert:1]",
		"kitestream_filtered_rows_total":   "map[delete:3 insert:7]",
		"kitestream_rule_failures_total":   "map[:3]",
	} {
		if got := fmt.Sprint(counted(t, reg, name)); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if n := strings.Count(log.String(), "a rule's expression fails"); n != 1 {
		t.Errorf("told %d times, want once:\n%s", n, &log)
	}
}

// heard notes what a target is asked for, with the names it is given.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) say(format string, args ...any) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, fmt.Sprintf(format, args...))
	return nil
}

func (h *heard) fake() *fake {
	return &fake{
		ShapeFunc: func(_ context.Context, ref handlers.Ref) (handlers.Shape, error) {
			return handlers.Shape{Key: "id"}, h.say("shape %s", ref)
		},
		UpsertFunc: func(_ context.Context, ref handlers.Ref, p string, r *rows.Rows) error {
			return h.say("upsert %s/%s %v", ref, p, r.Fields())
		},
		DeleteFunc: func(_ context.Context, ref handlers.Ref, p string, _ rows.Keys) error {
			return h.say("delete %s/%s", ref, p)
		},
		CreateDatabaseFunc: func(_ context.Context, name string) error { return h.say("create database %s", name) },
		DropDatabaseFunc:   func(_ context.Context, name string) error { return h.say("drop database %s", name) },
		CreateCollectionFunc: func(_ context.Context, req *milvuspb.CreateCollectionRequest) error {
			s := &schemapb.CollectionSchema{}
			if err := proto.Unmarshal(req.GetSchema(), s); err != nil {
				return err
			}
			var names []string
			for _, f := range s.GetFields() {
				names = append(names, f.GetName())
			}
			return h.say("create %s.%s %v", req.GetDbName(), req.GetCollectionName(), names)
		},
		DropCollectionFunc: func(_ context.Context, ref handlers.Ref) error { return h.say("drop %s", ref) },
		CreatePartitionFunc: func(_ context.Context, ref handlers.Ref, p string) error {
			return h.say("create partition %s/%s", ref, p)
		},
		DropPartitionFunc: func(_ context.Context, ref handlers.Ref, p string) error {
			return h.say("drop partition %s/%s", ref, p)
		},
	}
}

// create is the event of a new collection with the fields id, v and vec.
func (b *events) create() *jetstream.Event {
	b.t.Helper()
	schema, err := proto.Marshal(&schemapb.CollectionSchema{Name: b.name, Fields: []*schemapb.FieldSchema{
		{Name: "id", DataType: schemapb.DataType_Int64, IsPrimaryKey: true}, {Name: "v", DataType: schemapb.DataType_VarChar},
		{Name: "vec", DataType: schemapb.DataType_FloatVector},
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.event(jetstream.CreateCollection, "", &milvuspb.CreateCollectionRequest{DbName: b.database, CollectionName: b.name, Schema: schema})
}

func TestMappingAndFields(t *testing.T) {
	var h heard
	spec := jetstream.TaskSpec{
		Map: []jetstream.Mapping{
			{Database: "db", Collection: "c", ToDatabase: "default", ToCollection: "{db}_{collection}"}, {Database: "db", ToDatabase: "other"},
		},
		Rules: []jetstream.Rule{{Database: "db", Collections: []string{"c"}, DropFields: []string{"v"}}},
	}
	b, d := eventsOf(t, "c", 1), eventsOf(t, "d", 2)
	mustApply(t, newHandlers(t, h.fake(), handlers.Options{Spec: spec, Concurrency: 1}),
		b.ofDatabase(jetstream.CreateDatabase), b.create(), b.define(jetstream.CreatePartition, "p"), b.insert("p", row{1, "x"}), b.remove("", 2),
		b.define(jetstream.DropPartition, "p"), b.define(jetstream.DropCollection, ""),
		d.create(), d.insert("", row{1, "x"}), d.define(jetstream.DropCollection, ""), d.ofDatabase(jetstream.DropDatabase))
	want := []string{
		"create database other", "create default.db_c [id vec]", "create partition default.db_c/p",
		"shape default.db_c", "delete default.db_c/", "upsert default.db_c/p [id]", "drop partition default.db_c/p", "drop default.db_c",
		"create other.d [id v vec]", "shape other.d", "upsert other.d/_default [id v]", "drop other.d", "drop database other",
	}
	if !slices.Equal(h.all, want) {
		t.Errorf("the target heard\n%s\nwant\n%s", strings.Join(h.all, "\n"), strings.Join(want, "\n"))
	}
}

// TestDatabasesThatShareOne: the target's database goes with the last of its collections, and "default" never.
func TestDatabasesThatShareOne(t *testing.T) {
	var h heard
	target := h.fake()
	target.DropDatabaseFunc = func(_ context.Context, name string) error {
		_ = h.say("drop database %s", name)
		return refused(handlers.Permanent, handlers.CodeNotEmpty)
	}
	for _, tc := range []struct {
		to   string
		stop bool
		want string
	}{{"all", false, "[drop database all]"}, {"default", false, "[]"}, {"", true, "[drop database db]"}} {
		h.all = nil
		var spec jetstream.TaskSpec
		if tc.to != "" {
			spec.Map = []jetstream.Mapping{{ToDatabase: tc.to}}
		}
		res := apply(t, newHandlers(t, target, handlers.Options{Spec: spec}), eventsOf(t, "c", 1).ofDatabase(jetstream.DropDatabase))
		if fmt.Sprint(h.all) != tc.want || (len(res.Stopped) > 0) != tc.stop || res.Err != nil {
			t.Errorf("to %q: heard %v, result %+v", tc.to, h.all, res)
		}
	}
}

// TestStoppedKeepsTheSourcesNames: what stopped is replayed by them.
func TestStoppedKeepsTheSourcesNames(t *testing.T) {
	target := &fake{UpsertFunc: func(context.Context, handlers.Ref, string, *rows.Rows) error {
		return refused(handlers.Permanent, "KS-P-X")
	}}
	h := newHandlers(t, target, handlers.Options{Spec: jetstream.TaskSpec{
		Map:   []jetstream.Mapping{{ToDatabase: "x", ToCollection: "y_{collection}"}},
		Rules: []jetstream.Rule{{Collections: []string{"new"}, Where: "price > 3"}},
	}})
	res := apply(t, h, eventsOf(t, "c", 7).insert("a", row{1, "v"}), eventsOf(t, "new", 8).create())
	if res.Err != nil || len(res.Stopped) != 2 {
		t.Fatalf("Apply = %+v", res)
	}
	slices.SortFunc(res.Stopped, func(a, b handlers.Stopped) int { return int(a.CollectionID - b.CollectionID) })
	for i, want := range []handlers.Stopped{{Database: "db", Collection: "c", CollectionID: 7, Code: "KS-P-X"}, {Database: "db", Collection: "new", CollectionID: 8, Code: handlers.CodeRule}} {
		got := res.Stopped[i]
		if i == 1 && !strings.Contains(got.Err.Error(), `1:1: there is no field "price"`) {
			t.Errorf("stopped for %v", got.Err)
		}
		got.Err = nil
		if got != want {
			t.Errorf("stopped %+v, want %+v", got, want)
		}
	}
}

func TestRulesThatDoNotParseAreRefused(t *testing.T) {
	_, err := handlers.New(&fake{}, handlers.Options{Spec: jetstream.TaskSpec{Rules: []jetstream.Rule{{Where: "true"}, {Where: "a >"}}}})
	if err == nil || !strings.Contains(err.Error(), "rules[1].where: 1:") {
		t.Errorf("New = %v", err)
	}
}
