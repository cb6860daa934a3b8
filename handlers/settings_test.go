package handlers_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

// TestDefinitions has each kind arrive at its method, with the event's names and the body's further ones.
func TestDefinitions(t *testing.T) {
	pair := []*commonpb.KeyValuePair{{Key: "k", Value: "v"}}
	// The bodies name something else: the event's names count.
	for kind, tc := range map[jetstream.Kind]struct {
		body   proto.Message
		method string
		ref    handlers.Ref
		what   any
	}{
		jetstream.Flush: {&milvuspb.FlushRequest{CollectionNames: []string{"x"}}, "Flush", testRef, nil},
		jetstream.AlterCollection: {&milvuspb.AlterCollectionRequest{DbName: "x", CollectionName: "x", Properties: pair, DeleteKeys: []string{"d"}}, "AlterCollection", testRef,
			&milvuspb.AlterCollectionRequest{DbName: "db", CollectionName: "c", Properties: pair, DeleteKeys: []string{"d"}}},
		jetstream.AlterField: {&milvuspb.AlterCollectionFieldRequest{CollectionName: "x", FieldName: "f", Properties: pair}, "AlterField", testRef,
			&milvuspb.AlterCollectionFieldRequest{DbName: "db", CollectionName: "c", FieldName: "f", Properties: pair}},
		jetstream.CreateAlias: {&milvuspb.CreateAliasRequest{CollectionName: "x", Alias: "a"}, "SetAlias", handlers.Ref{Database: "db", Collection: "a"}, testRef},
		jetstream.AlterAlias:  {&milvuspb.AlterAliasRequest{CollectionName: "x", Alias: "a"}, "SetAlias", handlers.Ref{Database: "db", Collection: "a"}, testRef},
		jetstream.DropAlias:   {&milvuspb.DropAliasRequest{Alias: "a"}, "DropAlias", handlers.Ref{Database: "db", Collection: "a"}, nil},
		jetstream.CreateIndex: {&milvuspb.CreateIndexRequest{CollectionName: "x", FieldName: "f", IndexName: "i", ExtraParams: pair}, "CreateIndex", testRef,
			&milvuspb.CreateIndexRequest{DbName: "db", CollectionName: "c", FieldName: "f", IndexName: "i", ExtraParams: pair}},
		jetstream.AlterIndex: {&milvuspb.AlterIndexRequest{CollectionName: "x", IndexName: "i", ExtraParams: pair}, "AlterIndex", testRef,
			&milvuspb.AlterIndexRequest{DbName: "db", CollectionName: "c", IndexName: "i", ExtraParams: pair}},
		jetstream.DropIndex: {&milvuspb.DropIndexRequest{CollectionName: "x", FieldName: "f", IndexName: "i"}, "DropIndex", testRef,
			&milvuspb.DropIndexRequest{DbName: "db", CollectionName: "c", FieldName: "f", IndexName: "i"}},
		jetstream.LoadCollection: {&milvuspb.LoadCollectionRequest{CollectionName: "x", ReplicaNumber: 2}, "LoadCollection", testRef,
			&milvuspb.LoadCollectionRequest{DbName: "db", CollectionName: "c", ReplicaNumber: 2}},
		jetstream.ReleaseCollection: {&milvuspb.ReleaseCollectionRequest{CollectionName: "x"}, "ReleaseCollection", testRef, nil},
		jetstream.LoadPartitions: {&milvuspb.LoadPartitionsRequest{CollectionName: "x", PartitionNames: []string{"p"}, ReplicaNumber: 2}, "LoadPartitions", testRef,
			&milvuspb.LoadPartitionsRequest{DbName: "db", CollectionName: "c", PartitionNames: []string{"p"}, ReplicaNumber: 2}},
		jetstream.ReleasePartitions: {&milvuspb.ReleasePartitionsRequest{CollectionName: "x", PartitionNames: []string{"p"}}, "ReleasePartitions", testRef, []string{"p"}},
		jetstream.AlterDatabase: {&milvuspb.AlterDatabaseRequest{DbName: "x", Properties: pair}, "AlterDatabase", handlers.Ref{Database: "db"},
			&milvuspb.AlterDatabaseRequest{DbName: "db", Properties: pair}},
	} {
		t.Run(string(kind), func(t *testing.T) {
			calls := 0
			target := &fake{SettingFunc: func(_ context.Context, method string, ref handlers.Ref, what any) error {
				calls++
				if method != tc.method || ref != tc.ref || !same(what, tc.what) {
					t.Errorf("%s of %s with %v, want %s of %s with %v", method, ref, what, tc.method, tc.ref, tc.what)
				}
				return nil
			}}
			b := eventsOf(t, "c", 1)
			e := b.event(kind, "", tc.body)
			if kind == jetstream.AlterDatabase {
				e.Collection, e.CollectionID = "", 0
			}
			mustApply(t, newHandlers(t, target, handlers.Options{}), e)
			if calls != 1 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}

func same(got, want any) bool {
	if m, ok := got.(proto.Message); ok {
		return proto.Equal(m, want.(proto.Message))
	}
	if s, ok := got.([]string); ok {
		return strings.Join(s, ",") == strings.Join(want.([]string), ",")
	}
	return got == want
}

func TestRenameNamesItsPlace(t *testing.T) {
	var got [][2]handlers.Ref
	target := &fake{RenameCollectionFunc: func(_ context.Context, from, to handlers.Ref) error {
		got = append(got, [2]handlers.Ref{from, to})
		return nil
	}}
	b := eventsOf(t, "c", 1)
	mustApply(t, newHandlers(t, target, handlers.Options{}),
		b.event(jetstream.RenameCollection, "", &milvuspb.RenameCollectionRequest{DbName: "x", OldName: "x", NewName: "d"}),
		b.event(jetstream.RenameCollection, "", &milvuspb.RenameCollectionRequest{NewName: "d", NewDBName: "db2"}))
	if len(got) != 2 || got[0] != [2]handlers.Ref{testRef, {Database: "db", Collection: "d"}} ||
		got[1] != [2]handlers.Ref{testRef, {Database: "db2", Collection: "d"}} {
		t.Errorf("renames %v", got)
	}
	res := apply(t, newHandlers(t, target, handlers.Options{}), b.event(jetstream.RenameCollection, "", &milvuspb.RenameCollectionRequest{}))
	if len(res.Stopped) != 1 || res.Stopped[0].Code != handlers.CodeEvent || len(got) != 2 {
		t.Errorf("a rename without a name: %+v", res)
	}
}

// TestRowsAreSentBeforeARename has rows before and after it.
func TestRowsAreSentBeforeARename(t *testing.T) {
	m := newMemory(t)
	target := m.fake()
	renamed := false
	target.RenameCollectionFunc = func(_ context.Context, from, to handlers.Ref) error {
		if len(m.at(from)) != 1 {
			t.Errorf("rows %v at the rename", m.at(from))
		}
		m.rows[to], renamed = m.rows[from], true
		delete(m.rows, from)
		return nil
	}
	old, next := eventsOf(t, "c", 1), eventsOf(t, "d", 1)
	mustApply(t, newHandlers(t, target, handlers.Options{}), old.insert("a", row{1, "v"}),
		old.event(jetstream.RenameCollection, "", &milvuspb.RenameCollectionRequest{NewName: "d"}), next.insert("a", row{2, "v"}))
	if got := m.at(handlers.Ref{Database: "db", Collection: "d"}); !renamed || len(got) != 2 || len(m.at(testRef)) != 0 {
		t.Errorf("rows %v", m.rows)
	}
}

func TestAddFieldStopsTheCollectionIfTheTargetCannot(t *testing.T) {
	field, err := proto.Marshal(&schemapb.FieldSchema{Name: "f", DataType: schemapb.DataType_Int64})
	if err != nil {
		t.Fatal(err)
	}
	var got string
	m := newMemory(t)
	target := m.fake()
	target.AddFieldFunc = func(_ context.Context, ref handlers.Ref, f *schemapb.FieldSchema) error {
		got = ref.String() + "." + f.GetName()
		return refused(handlers.Permanent, "KS-P-X")
	}
	b := eventsOf(t, "c", 1)
	res := apply(t, newHandlers(t, target, handlers.Options{}),
		b.event(jetstream.AddField, "", &milvuspb.AddCollectionFieldRequest{Schema: field}), b.insert("a", row{1, "v"}))
	if res.Err != nil || len(res.Stopped) != 1 || len(res.Unmet) != 0 || got != "db.c.f" || len(m.at(testRef)) != 0 {
		t.Errorf("Apply = %+v of %s, rows %v", res, got, m.at(testRef))
	}
}

// TestRefusedSettingStopsNothing has rows go on past it, and events of the same collection.
func TestRefusedSettingStopsNothing(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	metrics, err := handlers.NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	m := newMemory(t)
	target := m.fake()
	target.SettingFunc = func(_ context.Context, method string, _ handlers.Ref, _ any) error {
		if method == "ReleaseCollection" {
			return nil
		}
		return refused(handlers.Permanent, "KS-P-X")
	}
	b := eventsOf(t, "c", 1)
	index := b.event(jetstream.CreateIndex, "", &milvuspb.CreateIndexRequest{})
	unreadable := b.event(jetstream.LoadCollection, "", &milvuspb.LoadCollectionRequest{})
	unreadable.Body = []byte{0xff}
	database := b.ofDatabase(jetstream.AlterDatabase)
	database.Body = nil
	res := apply(t, newHandlers(t, target, handlers.Options{Metrics: metrics}), b.insert("a", row{1, "v"}), index,
		b.insert("a", row{2, "v"}), unreadable, b.event(jetstream.Flush, "", &milvuspb.FlushRequest{}), database,
		b.event(jetstream.ReleaseCollection, "", &milvuspb.ReleaseCollectionRequest{}), b.insert("a", row{3, "v"}))
	if res.Err != nil || len(res.Stopped) != 0 || len(m.at(testRef)) != 3 {
		t.Fatalf("Apply = %+v, rows %v", res, m.at(testRef))
	}
	want := []handlers.Unmet{{Event: index, Code: "KS-P-X"}, {Event: unreadable, Code: handlers.CodeEvent}, {Event: database, Code: "KS-P-X"}}
	if len(res.Unmet) != len(want) {
		t.Fatalf("unmet %+v", res.Unmet)
	}
	for i, u := range res.Unmet {
		if u.Event != want[i].Event || u.Code != want[i].Code || u.Err == nil {
			t.Errorf("unmet %+v, want %+v", u, want[i])
		}
	}
	counted := `
# HELP kitestream_target_refused_settings_total Settings and flushes that a target refused for good, and that it goes on without.
# TYPE kitestream_target_refused_settings_total counter
kitestream_target_refused_settings_total{kind="alter_database",target="target",task="task"} 1
kitestream_target_refused_settings_total{kind="create_index",target="target",task="task"} 1
kitestream_target_refused_settings_total{kind="flush",target="target",task="task"} 1
kitestream_target_refused_settings_total{kind="load_collection",target="target",task="task"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(counted), "kitestream_target_refused_settings_total"); err != nil {
		t.Error(err)
	}
}

// TestSettingsOfAStoppedCollectionArePassedOver leaves them to the replay.
func TestSettingsOfAStoppedCollectionArePassedOver(t *testing.T) {
	calls := 0
	target := &fake{
		UpsertFunc: func(context.Context, handlers.Ref, string, *rows.Rows) error {
			return refused(handlers.Permanent, "KS-P-X")
		},
		SettingFunc: func(context.Context, string, handlers.Ref, any) error {
			calls++
			return refused(handlers.Permanent, "KS-P-X")
		},
	}
	b := eventsOf(t, "c", 1)
	res := apply(t, newHandlers(t, target, handlers.Options{}), b.insert("a", row{1, "v"}),
		b.event(jetstream.CreateIndex, "", &milvuspb.CreateIndexRequest{}))
	if res.Err != nil || len(res.Stopped) != 1 || len(res.Unmet) != 0 || calls != 0 {
		t.Errorf("Apply = %+v, %d calls", res, calls)
	}
}

// TestUnclearSettingIsUnmetSoon waits less than rows do, as the rows behind it wait too.
func TestUnclearSettingIsUnmetSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &fake{SettingFunc: func(context.Context, string, handlers.Ref, any) error { return errors.New("what?") }}
		b := eventsOf(t, "c", 1)
		began := time.Now()
		res := apply(t, newHandlers(t, target, handlers.Options{}), b.event(jetstream.CreateIndex, "", &milvuspb.CreateIndexRequest{}),
			b.event(jetstream.Flush, "", &milvuspb.FlushRequest{}))
		if took := time.Since(began); res.Err != nil || len(res.Unmet) != 1 || res.Unmet[0].Code != handlers.CodeUnknown ||
			took < 20*time.Second || took > 35*time.Second {
			t.Errorf("Apply = %+v after %s, want two waits of 10 s and little more", res, took)
		}
	})
}

// TestSettingWaitsForATargetThatStarts is patient with what passes.
func TestSettingWaitsForATargetThatStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := failing(50, refused(handlers.Transient, "KS-T-X"), func() error { return nil })
		target := &fake{SettingFunc: func(context.Context, string, handlers.Ref, any) error { return fail() }}
		b := eventsOf(t, "c", 1)
		began := time.Now()
		mustApply(t, newHandlers(t, target, handlers.Options{}), b.event(jetstream.CreateIndex, "", &milvuspb.CreateIndexRequest{}))
		if took := time.Since(began); took < 2*time.Minute {
			t.Errorf("it took %s, want all of the errors waited for", took)
		}
	})
}

// TestSettingEndsWithTheLease keeps nothing as unmet that may yet be carried out.
func TestSettingEndsWithTheLease(t *testing.T) {
	target := &fake{SettingFunc: func(context.Context, string, handlers.Ref, any) error { return nil }}
	b := eventsOf(t, "c", 1)
	h := newHandlers(t, target, handlers.Options{Until: func() time.Time { return time.Now().Add(-time.Second) }})
	res := apply(t, h, b.event(jetstream.CreateIndex, "", &milvuspb.CreateIndexRequest{}))
	if !errors.Is(res.Err, jetstream.ErrFenced) || len(res.Unmet) != 0 {
		t.Errorf("Apply = %+v", res)
	}
}
