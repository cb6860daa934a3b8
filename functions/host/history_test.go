package host_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// history is what happens to a source, at random: each step is done to a world, and told as a bridge would.
type history struct {
	rand  *rand.Rand
	tell  func(e *jetstream.Event)
	lanes int
	has   *world
	ids   map[string]int64 // of databases, collections
	next  int64
	parts map[string]int64
	n     int
}

func newHistory(seed uint64, lanes int, tell func(*jetstream.Event)) *history {
	return &history{rand: rand.New(rand.NewPCG(seed, 1)), tell: tell, lanes: lanes, has: newWorld(), ids: map[string]int64{"default": 1}, next: 1,
		parts: map[string]int64{}}
}

func (h *history) id() int64 { h.next++; return h.next }

// event is one about a collection that is there, or is to be.
func (h *history) event(kind jetstream.Kind, lane int, ref handlers.Ref, partition string, body proto.Message) *jetstream.Event {
	raw, err := proto.Marshal(body)
	if err != nil {
		panic(err)
	}
	h.n++
	e := &jetstream.Event{ID: fmt.Sprint("e", h.n), Kind: kind, Channel: jetstream.CatalogChannel, Lane: lane, Database: ref.Database, Collection: ref.Collection,
		DatabaseID: h.ids[ref.Database], Partition: partition, TS: uint64(h.n) << 18, Body: raw}
	if ref.Collection != "" {
		e.CollectionID = h.ids[ref.String()]
	}
	if partition != "" {
		e.PartitionID = h.parts[ref.String()+"/"+partition]
	}
	return e
}

func (h *history) all(kind jetstream.Kind, ref handlers.Ref, partition string, body proto.Message) {
	lane := jetstream.AllLanes
	if kind.Setting() {
		lane = jetstream.SettingsLane
	}
	h.tell(h.event(kind, lane, ref, partition, body))
}

// pick is one of them, or false if there is none.
func pick[T any](h *history, of []T) (one T, ok bool) {
	if len(of) == 0 {
		return one, false
	}
	return of[h.rand.IntN(len(of))], true
}

func refOf(name string) handlers.Ref {
	for _, db := range []string{"default", "x"} {
		if in(db, name) {
			return handlers.Ref{Database: db, Collection: name[len(db)+1:]}
		}
	}
	return handlers.Ref{}
}

func (h *history) table() (handlers.Ref, *table, bool) {
	name, ok := pick(h, slices.Sorted(maps.Keys(h.has.Tables)))
	return refOf(name), h.has.Tables[name], ok
}

// free is a name that is none yet, of few.
func (h *history) free() (handlers.Ref, bool) {
	var all []handlers.Ref
	for _, db := range slices.Sorted(maps.Keys(h.has.Databases)) {
		for _, c := range []string{"a", "b", "c"} {
			ref := handlers.Ref{Database: db, Collection: c}
			if _, alias := h.has.Aliases[ref.String()]; !alias && h.has.Tables[ref.String()] == nil {
				all = append(all, ref)
			}
		}
	}
	return pick(h, all)
}

// step is one thing that happens.
func (h *history) step() {
	ref, t, any := h.table()
	if n := h.rand.IntN(100); n < 60 && any {
		h.rows(ref, t)
	} else if n < 78 || !any {
		h.collection(ref, any)
	} else if n < 88 {
		h.partition(ref, t)
	} else {
		h.setting(ref, t)
	}
}

func (h *history) rows(ref handlers.Ref, t *table) {
	partition, _ := pick(h, slices.Sorted(maps.Keys(t.Parts)))
	var keys []int64
	for k := range int64(12) {
		if h.rand.IntN(3) == 0 {
			keys = append(keys, k)
		}
	}
	remove := h.rand.IntN(3) == 0
	if remove && h.rand.IntN(2) == 0 {
		partition = ""
	}
	for lane := range h.lanes {
		var mine, values []int64
		for _, k := range keys {
			if int(k)%h.lanes == lane {
				mine, values = append(mine, k), append(values, int64(h.n)+1)
			}
		}
		if len(mine) == 0 {
			continue
		}
		if remove {
			_ = t.remove(partition, mine)
			h.tell(h.deletion(lane, ref, partition, mine))
		} else {
			_ = t.upsert(partition, mine, values)
			h.tell(h.insertion(lane, ref, partition, t.Schema, mine, values))
		}
	}
}

func longs(name string, v []int64) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: name, Type: schemapb.DataType_Int64, Field: &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{
		Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}}}}}
}

func (h *history) insertion(lane int, ref handlers.Ref, partition, field string, keys, values []int64) *jetstream.Event { //nolint:revive // a row has as many parts
	e := h.event(jetstream.Insert, lane, ref, partition, &msgpb.InsertRequest{
		Base: &commonpb.MsgBase{MsgType: commonpb.MsgType_Insert}, DbName: ref.Database, CollectionName: ref.Collection, PartitionName: partition,
		Timestamps: make([]uint64, len(keys)), NumRows: uint64(len(keys)), Version: msgpb.InsertDataVersion_ColumnBased,
		FieldsData: []*schemapb.FieldData{longs("id", keys), longs(field, values)},
	})
	e.Rows, e.RowSum = len(keys), uint64(h.n)
	return e
}

func (h *history) deletion(lane int, ref handlers.Ref, partition string, keys []int64) *jetstream.Event {
	id := int64(-1)
	if partition != "" {
		id = h.parts[ref.String()+"/"+partition]
	}
	e := h.event(jetstream.Delete, lane, ref, partition, &msgpb.DeleteRequest{
		Base: &commonpb.MsgBase{MsgType: commonpb.MsgType_Delete}, DbName: ref.Database, CollectionName: ref.Collection, PartitionName: partition,
		PartitionID: id, NumRows: int64(len(keys)), Timestamps: make([]uint64, len(keys)),
		PrimaryKeys: &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: keys}}},
	})
	e.PartitionID, e.Rows, e.RowSum = id, len(keys), uint64(h.n)
	return e
}

// collection has a collection or a database come or go, or get another name.
func (h *history) collection(ref handlers.Ref, any bool) {
	ctx := context.Background()
	free, ok := h.free()
	switch n := h.rand.IntN(9); {
	case n < 4 && ok || !any:
		h.ids[free.String()] = h.id()
		h.parts[free.String()+"/_default"] = h.id()
		req := &milvuspb.CreateCollectionRequest{DbName: free.Database, CollectionName: free.Collection, Schema: []byte([]string{"v", "w"}[h.rand.IntN(2)])}
		_ = h.has.CreateCollection(ctx, req)
		h.all(jetstream.CreateCollection, free, "", req)
	case n < 6:
		_ = h.has.DropCollection(ctx, ref)
		h.all(jetstream.DropCollection, ref, "", &milvuspb.DropCollectionRequest{})
	case n < 8 && ok:
		if free.Database != ref.Database && slices.Contains(slices.Collect(maps.Values(h.has.Aliases)), ref.String()) {
			return // a Milvus does not
		}
		_ = h.has.RenameCollection(ctx, ref, free)
		h.all(jetstream.RenameCollection, ref, "", &milvuspb.RenameCollectionRequest{NewDBName: free.Database, NewName: free.Collection})
		h.ids[free.String()] = h.ids[ref.String()]
		for _, p := range []string{"_default", "p", "q"} {
			h.parts[free.String()+"/"+p] = h.parts[ref.String()+"/"+p]
		}
	case !h.has.Databases["x"]:
		h.ids["x"] = h.id()
		_ = h.has.CreateDatabase(ctx, "x")
		h.all(jetstream.CreateDatabase, handlers.Ref{Database: "x"}, "", &milvuspb.CreateDatabaseRequest{})
	case h.has.DropDatabase(ctx, "x") == nil:
		h.all(jetstream.DropDatabase, handlers.Ref{Database: "x"}, "", &milvuspb.DropDatabaseRequest{})
	}
}

func (h *history) partition(ref handlers.Ref, t *table) {
	name := []string{"p", "q"}[h.rand.IntN(2)]
	if t.Parts[name] != nil {
		_ = h.has.DropPartition(context.Background(), ref, name)
		h.all(jetstream.DropPartition, ref, name, &milvuspb.DropPartitionRequest{})
		return
	}
	h.parts[ref.String()+"/"+name] = h.id()
	_ = h.has.CreatePartition(context.Background(), ref, name)
	h.all(jetstream.CreatePartition, ref, name, &milvuspb.CreatePartitionRequest{})
}

func (h *history) setting(ref handlers.Ref, t *table) {
	ctx := context.Background()
	alias := handlers.Ref{Database: ref.Database, Collection: []string{"a", "k"}[h.rand.IntN(2)]} // a may be a collection's name, too
	partition, _ := pick(h, slices.Sorted(maps.Keys(t.Parts)))
	index := []string{"i", "j"}[h.rand.IntN(2)]
	switch n := h.rand.IntN(10); {
	case n < 2:
		if h.has.SetAlias(ctx, alias, ref) == nil {
			h.all(jetstream.AlterAlias, ref, "", &milvuspb.AlterAliasRequest{Alias: alias.Collection})
		}
	case n < 4:
		if of, ok := h.has.Aliases[alias.String()]; ok {
			_ = h.has.DropAlias(ctx, alias)
			h.all(jetstream.DropAlias, refOf(of), "", &milvuspb.DropAliasRequest{Alias: alias.Collection})
		}
	case n == 4:
		req := &milvuspb.CreateIndexRequest{DbName: ref.Database, CollectionName: ref.Collection, IndexName: index, FieldName: fmt.Sprint(h.n)}
		_ = h.has.CreateIndex(ctx, req)
		h.all(jetstream.CreateIndex, ref, "", req)
	case n == 5:
		req := &milvuspb.DropIndexRequest{DbName: ref.Database, CollectionName: ref.Collection, IndexName: index}
		_ = h.has.DropIndex(ctx, req)
		h.all(jetstream.DropIndex, ref, "", req)
	case n == 6:
		req := &milvuspb.AlterCollectionRequest{DbName: ref.Database, CollectionName: ref.Collection, Properties: []*commonpb.KeyValuePair{{Key: "ttl", Value: fmt.Sprint(h.n)}}}
		_ = h.has.AlterCollection(ctx, req)
		h.all(jetstream.AlterCollection, ref, "", req)
	case n == 7:
		h.all(jetstream.Flush, ref, "", &milvuspb.FlushRequest{})
	default:
		h.load(ref, t, partition)
	}
}

func (h *history) load(ref handlers.Ref, t *table, partition string) {
	ctx := context.Background()
	switch {
	case t.Whole || h.rand.IntN(4) == 0:
		_ = h.has.ReleaseCollection(ctx, ref)
		h.all(jetstream.ReleaseCollection, ref, "", &milvuspb.ReleaseCollectionRequest{})
	case h.rand.IntN(3) == 0:
		req := &milvuspb.LoadCollectionRequest{DbName: ref.Database, CollectionName: ref.Collection}
		_ = h.has.LoadCollection(ctx, req)
		h.all(jetstream.LoadCollection, ref, "", req)
	case t.Loaded[partition]:
		_ = h.has.ReleasePartitions(ctx, ref, []string{partition})
		h.all(jetstream.ReleasePartitions, ref, "", &milvuspb.ReleasePartitionsRequest{PartitionNames: []string{partition}})
	default:
		req := &milvuspb.LoadPartitionsRequest{DbName: ref.Database, CollectionName: ref.Collection, PartitionNames: []string{partition}}
		_ = h.has.LoadPartitions(ctx, req)
		h.all(jetstream.LoadPartitions, ref, "", req)
	}
}
