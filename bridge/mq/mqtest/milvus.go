//go:build servers

package mqtest

import (
	"testing"

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

// Source is a Milvus without collections, and a queue on its broker.
type Source struct {
	Milvus *servers.Milvus
	Queue  mq.Queue
	// Crash kills the broker and starts it again.
	Crash func(t *testing.T)
	// Follows reports whether a position is surely that of the message right after the last. Where a position does not
	// tell, it is nil, and then it must be one behind the last.
	Follows func(last, next mq.Position) bool
	// Starts, unless it is nil, looks at where the first collection (0) and the second (1) start.
	Starts func(collection int, at mq.Position)
}

// Milvus reads what Milvus itself writes, from the positions that Milvus itself keeps, over a crash of the broker.
func Milvus(t *testing.T, s Source) {
	var r mq.Reader
	var last milvusMessage
	var channel string
	for i, collection := range []string{"first", "second"} {
		s.insertTwoRows(t, collection)
		var start []byte
		channel, start = s.startPosition(t, collection, i+1)
		from, err := s.Queue.FromMilvus(start)
		Must(t, err)
		t.Logf("%s starts at %x, %s, of %s", collection, start, from, channel)
		if s.Starts != nil {
			s.Starts(i, from)
		}
		r = Open(t, s.Queue, channel, from)
		last = s.expectCollection(t, r, from)
	}
	last = s.ticks(t, r, last, 10)
	s.Crash(t)
	last = s.ticks(t, r, last, 50) // ten seconds of Milvus's life after the crash
	end, err := s.Queue.Last(t.Context(), channel)
	Must(t, err)
	if c, err := s.Queue.Compare(end, last.Position); err != nil || c < 0 {
		t.Errorf("last = %s, but %s was read (compare: %d, %v)", end, last.Position, c, err)
	}
}

// insertTwoRows makes a collection and inserts into it.
func (s Source) insertTwoRows(t *testing.T, name string) {
	t.Helper()
	sdk, err := client.NewClient(t.Context(), client.Config{Address: s.Milvus.Addr})
	Must(t, err)
	schema := entity.NewSchema().WithName(name).
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName("v").WithDataType(entity.FieldTypeFloatVector).WithDim(4))
	Must(t, sdk.CreateCollection(t.Context(), schema, 1))
	_, err = sdk.Insert(t.Context(), name, "", entity.NewColumnInt64("id", []int64{1, 2}),
		entity.NewColumnFloatVector("v", 4, [][]float32{{1, 2, 3, 4}, {5, 6, 7, 8}}))
	Must(t, err)
	Must(t, sdk.Close())
}

// expectCollection reads until the insert of two rows; first must come the creation of the collection.
func (s Source) expectCollection(t *testing.T, r mq.Reader, from mq.Position) milvusMessage {
	t.Helper()
	last := nextFromMilvus(t, r)
	if last.kind != commonpb.MsgType_CreateCollection {
		t.Errorf("a collection starts at %s with %v, want its creation", last.Position, last.kind)
	}
	if c, err := s.Queue.Compare(last.Position, from); err != nil || c != 0 {
		t.Errorf("first message stands at %s, opened at %s (compare: %d, %v)", last.Position, from, c, err)
	}
	for last.kind != commonpb.MsgType_Insert {
		last = s.follow(t, r, last)
	}
	var insert msgpb.InsertRequest
	Must(t, proto.Unmarshal(last.Payload, &insert))
	if insert.NumRows != 2 {
		t.Errorf("insert has %d rows, want 2", insert.NumRows)
	}
	return last
}

// ticks reads on until Milvus has said the time so often, which it does five times a second.
func (s Source) ticks(t *testing.T, r mq.Reader, last milvusMessage, n int) milvusMessage {
	t.Helper()
	for n > 0 {
		if last = s.follow(t, r, last); last.kind == commonpb.MsgType_TimeTick {
			n--
		}
	}
	return last
}

// follow reads the message that stands right after the last.
func (s Source) follow(t *testing.T, r mq.Reader, last milvusMessage) milvusMessage {
	t.Helper()
	next := nextFromMilvus(t, r)
	if c, err := s.Queue.Compare(last.Position, next.Position); err != nil || c >= 0 ||
		s.Follows != nil && !s.Follows(last.Position, next.Position) {
		t.Fatalf("message at %s after the one at %s (compare: %d, %v)", next.Position, last.Position, c, err)
	}
	return next
}

// milvusMessage is a message with its kind.
type milvusMessage struct {
	mq.Message
	kind commonpb.MsgType
}

func nextFromMilvus(t *testing.T, r mq.Reader) milvusMessage {
	t.Helper()
	m := Next(t, r)
	var h commonpb.MsgHeader
	Must(t, proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(m.Payload, &h))
	return milvusMessage{m, h.Base.GetMsgType()}
}

// startPosition is a collection's channel and its start position there, as Milvus keeps them in etcd among all its
// collections: etcdpb.CollectionInfo's field 2, the schema with its name in 1, and 11, a KeyDataPair of 1 key and 2 data.
func (s Source) startPosition(t *testing.T, name string, all int) (channel string, position []byte) {
	t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Milvus.EtcdEndpoint}})
	Must(t, err)
	defer func() { Must(t, etcd.Close()) }()
	got, err := etcd.Get(t.Context(), "by-dev/meta/root-coord/database/collection-info/", clientv3.WithPrefix())
	Must(t, err)
	if len(got.Kvs) != all {
		t.Errorf("%d collections in etcd, want %d", len(got.Kvs), all)
	}
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
		Must(t, protowire.ParseError(min(n, 0)))
		b = b[n:]
		n = protowire.ConsumeFieldValue(number, kind, b)
		Must(t, protowire.ParseError(min(n, 0)))
		if kind == protowire.BytesType {
			all[number], _ = protowire.ConsumeBytes(b)
		}
		b = b[n:]
	}
	return all
}
