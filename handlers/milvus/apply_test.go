//go:build servers

package milvus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/jetstream"
	"kitestream/test/servers"
)

// stream makes events of one collection as a bridge does.
type stream struct {
	w   *world
	ref handlers.Ref
	id  int64
	n   int
}

func (s *stream) event(kind jetstream.Kind, partition string, body proto.Message) *jetstream.Event {
	s.w.t.Helper()
	b, err := proto.Marshal(body)
	s.w.must(err)
	s.n++
	return &jetstream.Event{
		ID: fmt.Sprint(s.ref, s.n), Kind: kind, Database: s.ref.Database, Collection: s.ref.Collection, CollectionID: s.id,
		Partition: partition, PartitionID: 5, Body: b,
	}
}

func (s *stream) insert(partition string, columns ...*schemapb.FieldData) *jetstream.Event {
	n := pack(s.w.t, columns...).Len()
	return s.event(jetstream.Insert, partition, &msgpb.InsertRequest{
		Base: &commonpb.MsgBase{MsgType: commonpb.MsgType_Insert}, NumRows: uint64(n), Timestamps: make([]uint64, n),
		Version: msgpb.InsertDataVersion_ColumnBased, FieldsData: columns,
	})
}

func (s *stream) remove(partition string, ids *schemapb.IDs, n int) *jetstream.Event {
	e := s.event(jetstream.Delete, partition, &msgpb.DeleteRequest{
		Base: &commonpb.MsgBase{MsgType: commonpb.MsgType_Delete}, NumRows: int64(n), Timestamps: make([]uint64, n), PrimaryKeys: ids,
	})
	if partition == "" {
		e.PartitionID = -1
	}
	return e
}

func textIDs(v ...string) *schemapb.IDs {
	return &schemapb.IDs{IdField: &schemapb.IDs_StrId{StrId: &schemapb.StringArray{Data: v}}}
}

func applied(t testing.TB, res handlers.Result) {
	t.Helper()
	if res.Err != nil || len(res.Stopped) > 0 {
		t.Fatalf("Apply = %+v", res)
	}
}

// TestApply takes a collection's life through the handlers, all of it twice, as after a crash before the ack.
func TestApply(t *testing.T) {
	w := newWorld(t)
	h, err := handlers.New(w.target, handlers.Options{MaxRows: 3})
	w.must(err)
	s := &stream{w: w, ref: w.ref("c"), id: 1}
	create := s.event(jetstream.CreateCollection, "", w.request("c", textID(), vectorField(4), metaField()))
	database := s.event(jetstream.CreateDatabase, "", empty())
	database.Collection, database.CollectionID = "", 0
	first := []*jetstream.Event{database, create, s.event(jetstream.CreatePartition, "p", empty())}
	applied(t, h.Apply(t.Context(), first))
	applied(t, h.Apply(t.Context(), first))
	w.load(s.ref, "v", "L2")

	rows := []*jetstream.Event{
		s.insert("_default", texts("id", "a", "b", `q"\`, "d", "e"), vectors("v", 4, 5, 0), metas(`{"x":1}`, "{}", "{}", "{}", "{}")),
		s.insert("p", texts("id", "a", "z"), vectors("v", 4, 2, 10), metas("{}", "{}")),
		s.remove("_default", textIDs("a", "e"), 2),
		s.insert("_default", texts("id", "b"), vectors("v", 4, 1, 20), metas(`{"x":2}`)), // changed
		s.remove("", textIDs(`q"\`, "z"), 2),
		s.insert("p", texts("id", "z"), vectors("v", 4, 1, 30), metas(`{"x":3}`)), // back again
	}
	for range 2 {
		applied(t, h.Apply(t.Context(), rows))
		if got := w.strings(s.ref, []string{"_default"}, "id"); !slices.Equal(got, []string{"b", "d"}) {
			t.Errorf("_default holds %q", got)
		}
		if got := w.strings(s.ref, []string{"p"}, "id"); !slices.Equal(got, []string{"a", "z"}) {
			t.Errorf("p holds %q", got)
		}
		if n := w.count(s.ref); n != 4 {
			t.Errorf("%d rows, duplicates counted", n)
		}
	}
	got := w.query(s.ref, nil, `id in ["b"]`, "v", "$meta")
	if v := got["v"].GetVectors().GetFloatVector().GetData(); len(v) != 4 || v[0] != 20 {
		t.Errorf("vector %v", v)
	}
	if m := got["$meta"].GetScalars().GetJsonData().GetData(); len(m) != 1 || string(m[0]) != `{"x":2}` {
		t.Errorf("dynamic fields %q", m)
	}

	for range 2 {
		applied(t, h.Apply(t.Context(), []*jetstream.Event{s.event(jetstream.DropPartition, "p", empty())}))
	}
	if n := w.count(s.ref); n != 2 {
		t.Errorf("%d rows after a partition was dropped, want 2", n)
	}
	next := &stream{w: w, ref: s.ref, id: 2}
	for range 2 { // dropped, and another made under the name
		applied(t, h.Apply(t.Context(), []*jetstream.Event{
			s.event(jetstream.DropCollection, "", empty()),
			next.event(jetstream.CreateCollection, "", w.request("c", idField(), vectorField(8))),
			next.insert("_default", longs("id", 1), vectors("v", 8, 1, 0)),
		}))
	}
	w.load(s.ref, "v", "L2")
	if got := w.ints(s.ref, nil, "id"); !slices.Equal(got, []int64{1}) {
		t.Errorf("the new collection holds %v", got)
	}
}

func empty() proto.Message { return &schemapb.CollectionSchema{} }

// TestTargetIsKilled kills the target while rows are applied, and starts it again.
func TestTargetIsKilled(t *testing.T) {
	server, err := servers.StartMilvus(t.Context(), servers.MilvusConfig{Dir: t.TempDir(), QuickRestart: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, addr: server.Addr, db: "default", target: open(t, milvus.Config{URI: server.URI}), look: service(t, server.Addr, "")}
	ref := w.create("c", idField(), vectorField(4))
	s := &stream{w: w, ref: ref, id: 1}
	var mu sync.Mutex
	codes := map[string]bool{}
	resumed := false
	h, err := handlers.New(w.target, handlers.Options{
		MaxRows: 50, CallTimeout: 2 * time.Second,
		OnWait:   func(err *handlers.Error, _ time.Time) { mu.Lock(); codes[err.Code] = true; mu.Unlock() },
		OnResume: func() { mu.Lock(); resumed = true; mu.Unlock() },
	})
	w.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	const batches, perBatch = 60, 500
	restarted := make(chan error, 1)
	for i := range int64(batches) {
		if i == 20 { // by progress, not by time
			go func() {
				if err := server.Kill(); err != nil {
					restarted <- err
					return
				}
				restarted <- server.Restart(ctx)
			}()
		}
		keys := make([]int64, perBatch)
		for k := range keys {
			keys[k] = i*perBatch + int64(k)
		}
		applied(t, h.Apply(ctx, []*jetstream.Event{
			s.insert("_default", longs("id", keys...), vectors("v", 4, perBatch, 0)),
			s.remove("", &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: keys[:5]}}}, 5),
		}))
	}
	w.must(<-restarted)
	if !codes[milvus.CodeUnavailable] || !resumed {
		t.Errorf("waited for %v, resumed: %v", codes, resumed)
	}
	t.Logf("waited for %v", codes)
	w.load(ref, "v", "L2")
	if n := w.count(ref); n != batches*(perBatch-5) {
		t.Errorf("%d rows, duplicates counted; want %d", n, batches*(perBatch-5))
	}
	var want []int64
	for i := range int64(batches * perBatch) {
		if i%perBatch >= 5 {
			want = append(want, i)
		}
	}
	if got := w.ints(ref, nil, "id"); !slices.Equal(got, want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
}
