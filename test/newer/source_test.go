//go:build servers

// Package newer_test shows that what no server at hand can produce flows: meta and messages of a Milvus 2.5, as
// milvus-wire.md has them, on a real etcd and a real NATS, through `kitestream up` into a real Milvus Lite, bit for bit.
package newer_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog/catalogtest"
	"kitestream/jetstream/jetstreamtest"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m, servers.RoleSource, servers.RoleLite)) }

// source is a Milvus 2.5 of the test's own making: keys below a root of its own in the shared source's etcd, and a NATS server
// with one channel that is ticked from time to time.
type source struct {
	t       testing.TB
	etcd    *clientv3.Client
	root    string
	js      natsjs.JetStream
	url     string
	channel string

	mu   sync.Mutex // held from the taking of a timestamp until its message is sent
	ids  int64
	last uint64 // the newest timestamp
}

// databaseID is the one of "default".
const databaseID = 1

func newSource(t testing.TB) *source {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{servers.Source(t).EtcdEndpoint}, Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	srv := jetstreamtest.Run(t, func(o *server.Options) { o.MaxPayload = 8 << 20 })
	s := &source{t: t, etcd: c, root: fmt.Sprintf("newer-%d", time.Now().UnixNano()), js: srv.JetStream(), url: srv.URL(), ids: 460000000000000000}
	s.channel = s.root + "-rootcoord-dml_0"
	t.Cleanup(func() {
		if _, err := c.Delete(context.WithoutCancel(t.Context()), s.root, clientv3.WithPrefix()); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = s.js.CreateStream(t.Context(), natsjs.StreamConfig{
		Name: s.channel, Subjects: []string{s.channel}, Storage: natsjs.FileStorage, MaxAge: 72 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.put(map[string][]byte{catalogtest.DatabaseKey(databaseID): catalogtest.Database(databaseID, "default", catalogtest.Created, 1)})
	return s
}

// env makes a process read from this source.
func (s *source) env() []string {
	return []string{
		"KITESTREAM_SOURCE_ETCD_ROOT=" + s.root, "KITESTREAM_SOURCE_MQ=natsmq", "KITESTREAM_SOURCE_MQ_URL=" + s.url, "KITESTREAM_SOURCE_MILVUS_URI=",
	}
}

// put writes keys at once.
func (s *source) put(keys map[string][]byte) {
	s.t.Helper()
	var ops []clientv3.Op
	for k, v := range keys {
		ops = append(ops, clientv3.OpPut(s.root+"/meta/"+k, string(v)))
	}
	if _, err := s.etcd.Txn(s.t.Context()).Then(ops...).Commit(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *source) id() int64 { s.ids++; return s.ids }

// now is a timestamp as Milvus gives them: milliseconds, and a counter.
func (s *source) now() uint64 {
	s.last = max(s.last+1, uint64(time.Now().UnixMilli())<<18)
	return s.last
}

// base begins a message.
func (s *source) base(typ commonpb.MsgType, ts uint64) *commonpb.MsgBase {
	return &commonpb.MsgBase{MsgType: typ, MsgID: s.id(), Timestamp: ts, SourceID: 1}
}

// send writes a message with the properties of a late 2.5, and gives its position.
func (s *source) send(base *commonpb.MsgBase, collection int64, m proto.Message) uint64 {
	s.t.Helper()
	msg := nats.NewMsg(s.channel)
	msg.Data = catalogtest.Message(m)
	for k, v := range map[string]string{
		"msg_type": base.GetMsgType().String(), "msg_id": strconv.FormatInt(base.GetMsgID(), 10),
		"timestamp": strconv.FormatUint(base.GetTimestamp(), 10), "collection_id": strconv.FormatInt(collection, 10),
	} {
		msg.Header[k] = []string{v}
	}
	ack, err := s.js.PublishMsg(s.t.Context(), msg)
	if err != nil {
		s.t.Fatal(err)
	}
	return ack.Sequence
}

// tick says that all up to now is in the queue.
func (s *source) tick() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.base(commonpb.MsgType_TimeTick, s.now())
	s.send(b, 0, &msgpb.TimeTickMsg{Base: b})
}

// run ticks until the test ends, as a Milvus does.
func (s *source) run() {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for t := time.NewTicker(200 * time.Millisecond); ; {
			select {
			case <-t.C:
				s.tick()
			case <-ctx.Done():
				return
			}
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
}

// collection is one that the source has.
type collection struct {
	s       *source
	id      int64
	part    int64
	name    string
	fields  []*schemapb.FieldSchema
	columns []column
}

// create makes the collection of these columns, and functions over them.
func (s *source) create(name string, columns []column, functions ...*schemapb.FunctionSchema) *collection {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &collection{s: s, id: s.id(), part: s.id(), name: name, columns: columns}
	schema := &schemapb.CollectionSchema{Name: name}
	for _, col := range columns {
		c.fields = append(c.fields, col.field)
		schema.EnableDynamicField = schema.EnableDynamicField || col.field.GetIsDynamic()
	}
	keys := map[string][]byte{catalogtest.PartitionKey(c.id, c.part): catalogtest.Partition(c.part, c.id, "_default", catalogtest.Created)}
	for id, b := range catalogtest.Fields(c.fields...) {
		keys[catalogtest.FieldKey(c.id, id)] = b
	}
	for i, f := range functions {
		f.Id = 100 + int64(i)
		keys[catalogtest.FunctionKey(c.id, f.Id)] = catalogtest.Message(f)
	}
	ts := s.now()
	b := s.base(commonpb.MsgType_CreateCollection, ts)
	whole := proto.CloneOf(schema)
	whole.Fields, whole.Functions = c.fields, functions
	at := s.send(b, c.id, &msgpb.CreateCollectionRequest{
		Base: b, DbName: "default", CollectionName: name, PartitionName: "_default", DbID: databaseID, CollectionID: c.id,
		PartitionID: c.part, Schema: catalogtest.Message(whole), PhysicalChannelNames: []string{s.channel},
		VirtualChannelNames: []string{c.shard()}, PartitionIDs: []int64{c.part},
	})
	in := catalogtest.Collection{
		ID: c.id, Database: databaseID, Schema: schema, Created: ts, Channels: []string{s.channel},
		Starts: map[string][]byte{s.channel: binary.LittleEndian.AppendUint64(nil, at)},
	}
	keys[catalogtest.CollectionKey(databaseID, c.id)] = in.Value()
	s.put(keys)
	return c
}

func (c *collection) shard() string { return fmt.Sprintf("%s_%dv0", c.s.channel, c.id) }

// insert writes the rows of all columns, as the source's proxy puts them on the queue: in full form, outputs of functions not
// among them.
func (c *collection) insert() {
	c.s.t.Helper()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	ts := c.s.now()
	b := c.s.base(commonpb.MsgType_Insert, ts)
	n := len(c.columns[0].rows.GetScalars().GetLongData().GetData())
	m := &msgpb.InsertRequest{
		Base: b, ShardName: c.shard(), DbName: "default", CollectionName: c.name, PartitionName: "_default", CollectionID: c.id,
		PartitionID: c.part, NumRows: uint64(n), Version: msgpb.InsertDataVersion_ColumnBased,
	}
	for range n {
		m.RowIDs, m.Timestamps = append(m.RowIDs, c.s.id()), append(m.Timestamps, ts)
	}
	for i, col := range c.columns {
		if col.field.GetIsFunctionOutput() {
			continue
		}
		f := proto.CloneOf(col.rows)
		f.FieldName, f.FieldId, f.Type, f.IsDynamic = col.field.GetName(), int64(100+i), col.field.GetDataType(), col.field.GetIsDynamic()
		m.FieldsData = append(m.FieldsData, f)
	}
	c.s.send(b, c.id, m)
}

// remove deletes keys.
func (c *collection) remove(keys ...int64) {
	c.s.t.Helper()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	ts := c.s.now()
	b := c.s.base(commonpb.MsgType_Delete, ts)
	m := &msgpb.DeleteRequest{
		Base: b, ShardName: c.shard(), DbName: "default", CollectionName: c.name, CollectionID: c.id, PartitionID: -1, NumRows: int64(len(keys)),
		PrimaryKeys: &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: keys}}},
	}
	for range keys {
		m.Timestamps = append(m.Timestamps, ts)
	}
	c.s.send(b, c.id, m)
}
