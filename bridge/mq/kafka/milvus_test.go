//go:build servers

package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/mq"
	"kitestream/test/servers"
)

// milvusUp is how long Milvus may take to start.
const milvusUp = 3 * time.Minute

// TestMilvus reads what Milvus itself writes, from the position that Milvus itself keeps, over a crash of the broker.
func TestMilvus(t *testing.T) {
	k := startKafka(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), milvusUp)
	defer cancel()
	m, err := servers.StartMilvus(ctx, servers.MilvusConfig{
		Dir: t.TempDir(), Broker: k, Set: map[string]string{"rootCoord.dmlChannelNum": "1"},
	})
	must(t, err)
	defer func() { must(t, m.Close()) }()
	q := connect(t, k.Addr)
	var r mq.Reader
	var last milvusMessage
	var channel string
	for _, collection := range []string{"first", "second"} { // of one channel, so the second starts behind the first
		insertTwoRows(t, m, collection)
		var start []byte
		channel, start = startPosition(t, m.EtcdEndpoint, collection)
		from, err := q.FromMilvus(start)
		must(t, err)
		t.Logf("%s starts at %x, %s, of %s", collection, start, from, channel)
		if (offset(t, from) == 0) != (collection == "first") {
			t.Errorf("the %s collection starts at %s", collection, from)
		}
		r = open(t, q, channel, from)
		last = expectCollection(t, q, r, from)
	}
	for ticks := 0; ticks < 10; {
		if last = follow(t, r, last); last.kind == commonpb.MsgType_TimeTick {
			ticks++
		}
	}
	crash(t, k)
	for ticks := 0; ticks < 50; { // ten seconds of Milvus's life after the crash
		if last = follow(t, r, last); last.kind == commonpb.MsgType_TimeTick {
			ticks++
		}
	}
	end, err := q.Last(t.Context(), channel)
	must(t, err)
	if c, err := q.Compare(end, last.Position); err != nil || c < 0 {
		t.Errorf("last = %s, but %s was read (compare: %d, %v)", end, last.Position, c, err)
	}
}

// expectCollection reads until the insert of two rows; first must come the creation of the collection.
func expectCollection(t *testing.T, q mq.Queue, r mq.Reader, from mq.Position) milvusMessage {
	t.Helper()
	last := nextFromMilvus(t, r)
	if last.kind != commonpb.MsgType_CreateCollection {
		t.Errorf("a collection starts at %s with %v, want its creation", last.Position, last.kind)
	}
	if c, err := q.Compare(last.Position, from); err != nil || c != 0 {
		t.Errorf("first message stands at %s, opened at %s (compare: %d, %v)", last.Position, from, c, err)
	}
	for last.kind != commonpb.MsgType_Insert {
		last = follow(t, r, last)
	}
	var insert msgpb.InsertRequest
	must(t, proto.Unmarshal(last.Payload, &insert))
	if insert.NumRows != 2 {
		t.Errorf("insert has %d rows, want 2", insert.NumRows)
	}
	return last
}

// insertTwoRows makes a collection and inserts into it.
func insertTwoRows(t *testing.T, m *servers.Milvus, name string) {
	t.Helper()
	sdk, err := client.NewClient(t.Context(), client.Config{Address: m.Addr})
	must(t, err)
	schema := entity.NewSchema().WithName(name).
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName("v").WithDataType(entity.FieldTypeFloatVector).WithDim(4))
	must(t, sdk.CreateCollection(t.Context(), schema, 1))
	_, err = sdk.Insert(t.Context(), name, "", entity.NewColumnInt64("id", []int64{1, 2}),
		entity.NewColumnFloatVector("v", 4, [][]float32{{1, 2, 3, 4}, {5, 6, 7, 8}}))
	must(t, err)
	must(t, sdk.Close())
}

// milvusMessage is a message with its kind.
type milvusMessage struct {
	mq.Message
	kind commonpb.MsgType
}

func nextFromMilvus(t *testing.T, r mq.Reader) milvusMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := r.Next(ctx)
	must(t, err)
	var h commonpb.MsgHeader
	must(t, proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(m.Payload, &h))
	return milvusMessage{m, h.Base.GetMsgType()}
}

// follow reads the message that stands right after the last.
func follow(t *testing.T, r mq.Reader, last milvusMessage) milvusMessage {
	t.Helper()
	m := nextFromMilvus(t, r)
	if got, want := offset(t, m.Position), offset(t, last.Position)+1; got != want {
		t.Fatalf("message %d after message %d", got, want-1)
	}
	return m
}

// startPosition is a collection's channel and its start position there, as Milvus keeps them in etcd:
// etcdpb.CollectionInfo's field 2, the schema with its name in 1, and 11, a KeyDataPair of 1 key and 2 data.
func startPosition(t *testing.T, endpoint, name string) (channel string, position []byte) {
	t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	must(t, err)
	defer func() { must(t, etcd.Close()) }()
	got, err := etcd.Get(t.Context(), "by-dev/meta/root-coord/database/collection-info/", clientv3.WithPrefix())
	must(t, err)
	for _, kv := range got.Kvs {
		collection := fields(t, kv.Value)
		if schema := fields(t, collection[2]); string(schema[1]) == name {
			pair := fields(t, collection[11])
			return string(pair[1]), pair[2]
		}
	}
	t.Fatalf("%d collections in etcd, none is %s", len(got.Kvs), name)
	return "", nil
}

// fields are the length-delimited fields of a protobuf message; of repeated ones the last.
func fields(t *testing.T, b []byte) map[protowire.Number][]byte {
	t.Helper()
	all := map[protowire.Number][]byte{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		must(t, protowire.ParseError(min(n, 0)))
		b = b[n:]
		n = protowire.ConsumeFieldValue(number, kind, b)
		must(t, protowire.ParseError(min(n, 0)))
		if kind == protowire.BytesType {
			all[number], _ = protowire.ConsumeBytes(b)
		}
		b = b[n:]
	}
	return all
}
