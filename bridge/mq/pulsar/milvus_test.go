//go:build servers

package pulsar_test

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

// TestMilvus reads what Milvus itself writes, from the position that Milvus itself keeps, over a crash of its Pulsar.
func TestMilvus(t *testing.T) {
	p := start(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	m, err := servers.StartMilvus(ctx, servers.MilvusConfig{Dir: t.TempDir(), Broker: p})
	must(t, err)
	defer func() { must(t, m.Close()) }()
	sdk, err := client.NewClient(t.Context(), client.Config{Address: m.Addr})
	must(t, err)
	schema := entity.NewSchema().WithName("pulsar_test").
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName("v").WithDataType(entity.FieldTypeFloatVector).WithDim(4))
	must(t, sdk.CreateCollection(t.Context(), schema, 1))
	_, err = sdk.Insert(t.Context(), "pulsar_test", "", entity.NewColumnInt64("id", []int64{1, 2}),
		entity.NewColumnFloatVector("v", 4, [][]float32{{1, 2, 3, 4}, {5, 6, 7, 8}}))
	must(t, err)
	must(t, sdk.Close())

	channel, at := startPosition(t, m.EtcdEndpoint)
	q := connect(t, p.URL)
	from, err := q.FromMilvus(at)
	must(t, err)
	r := open(t, q, channel, from)
	first, kind := nextFromMilvus(t, r)
	if kind != commonpb.MsgType_CreateCollection {
		t.Errorf("a collection starts at %s with %v, want its creation", first.Position, kind)
	}
	if c, err := q.Compare(first.Position, from); err != nil || c != 0 {
		t.Errorf("first message stands at %s, opened at %s (compare: %d, %v)", first.Position, from, c, err)
	}
	last := first
	for kind != commonpb.MsgType_Insert {
		last, kind = nextFromMilvus(t, r)
	}
	var insert msgpb.InsertRequest
	must(t, proto.Unmarshal(last.Payload, &insert))
	if insert.NumRows != 2 {
		t.Errorf("insert has %d rows, want 2", insert.NumRows)
	}
	crash(t, p)
	for ticks := 0; ticks < 25; { // five seconds of Milvus's life after the crash
		next, kind := nextFromMilvus(t, r)
		if c, err := q.Compare(last.Position, next.Position); err != nil || c >= 0 {
			t.Fatalf("message at %s after the one at %s (%v)", next.Position, last.Position, err)
		}
		if last = next; kind == commonpb.MsgType_TimeTick {
			ticks++
		}
	}
}

func nextFromMilvus(t *testing.T, r mq.Reader) (mq.Message, commonpb.MsgType) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := r.Next(ctx)
	must(t, err)
	var h commonpb.MsgHeader
	must(t, proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(m.Payload, &h))
	return m, h.Base.GetMsgType()
}

// startPosition is the only collection's channel and its start position there, as Milvus keeps them in etcd:
// etcdpb.CollectionInfo's field 11, a KeyDataPair of 1 key and 2 data.
func startPosition(t *testing.T, endpoint string) (channel string, position []byte) {
	t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	must(t, err)
	defer func() { must(t, etcd.Close()) }()
	got, err := etcd.Get(t.Context(), "by-dev/meta/root-coord/database/collection-info/", clientv3.WithPrefix())
	must(t, err)
	if len(got.Kvs) != 1 {
		t.Fatalf("%d collections in etcd, want 1", len(got.Kvs))
	}
	pair := fields(t, fields(t, got.Kvs[0].Value)[11])
	return string(pair[1]), pair[2]
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
