package handlers_test

import (
	"fmt"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream"
)

// row is a row of the tests' collections: an integer key, and a value that is a string.
type row struct {
	key   int64
	value string
}

// events makes events of one collection, as a bridge would.
type events struct {
	t        testing.TB
	database string
	name     string
	id       int64
	n        int
}

func eventsOf(t testing.TB, name string, id int64) *events {
	return &events{t: t, database: "db", name: name, id: id}
}

func (b *events) event(kind jetstream.Kind, partition string, body proto.Message) *jetstream.Event {
	b.t.Helper()
	data, err := proto.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.n++
	return &jetstream.Event{
		ID: fmt.Sprintf("%s-%d", b.name, b.n), Kind: kind, Database: b.database, Collection: b.name, CollectionID: b.id,
		Partition: partition, PartitionID: 1, Body: data,
	}
}

func (b *events) insert(partition string, rows ...row) *jetstream.Event {
	b.t.Helper()
	keys, values, ts := make([]int64, len(rows)), make([]string, len(rows)), make([]uint64, len(rows))
	for i, r := range rows {
		keys[i], values[i], ts[i] = r.key, r.value, 1
	}
	e := b.event(jetstream.Insert, partition, &msgpb.InsertRequest{
		Base:   &commonpb.MsgBase{MsgType: commonpb.MsgType_Insert},
		DbName: b.database, CollectionName: b.name, PartitionName: partition, CollectionID: b.id, PartitionID: 1,
		Timestamps: ts, NumRows: uint64(len(rows)), Version: msgpb.InsertDataVersion_ColumnBased,
		FieldsData: []*schemapb.FieldData{longs("id", keys...), texts("v", values...)},
	})
	e.Rows = len(rows)
	return e
}

// remove deletes keys in one partition, or in all if it is empty.
func (b *events) remove(partition string, keys ...int64) *jetstream.Event {
	b.t.Helper()
	id := int64(1)
	if partition == "" {
		id = -1
	}
	e := b.event(jetstream.Delete, partition, &msgpb.DeleteRequest{
		Base:   &commonpb.MsgBase{MsgType: commonpb.MsgType_Delete},
		DbName: b.database, CollectionName: b.name, PartitionName: partition, CollectionID: b.id, PartitionID: id,
		NumRows: int64(len(keys)), Timestamps: make([]uint64, len(keys)),
		PrimaryKeys: &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: keys}}},
	})
	e.PartitionID, e.Rows = id, len(keys)
	return e
}

func (b *events) define(kind jetstream.Kind, partition string) *jetstream.Event {
	return b.event(kind, partition, &milvuspb.CreateCollectionRequest{})
}

// ofDatabase is an event about the collection's database.
func (b *events) ofDatabase(kind jetstream.Kind) *jetstream.Event {
	e := b.define(kind, "")
	e.Collection, e.CollectionID = "", 0
	return e
}

func longs(name string, v ...int64) *schemapb.FieldData {
	return scalars(name, schemapb.DataType_Int64, &schemapb.ScalarField{
		Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: v}},
	})
}

func texts(name string, v ...string) *schemapb.FieldData {
	return scalars(name, schemapb.DataType_VarChar, &schemapb.ScalarField{
		Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{Data: v}},
	})
}

func scalars(name string, typ schemapb.DataType, f *schemapb.ScalarField) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: name, Type: typ, Field: &schemapb.FieldData_Scalars{Scalars: f}}
}
