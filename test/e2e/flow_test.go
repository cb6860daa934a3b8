//go:build servers

package e2e_test

import (
	"strings"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"kitestream/test/rig"
	"kitestream/test/servers"
)

// mainFlow has a busy source followed: partitions and collections come and go, rows are written, changed and deleted.
func mainFlow(r *rig.Rig) {
	dst := servers.Target(r)
	r.Clean("flow_", dst)
	l := r.Load("flow_", rig.Seed(r), 0)
	r.Create("flow", 4, rig.Prefix("default", "flow_"), dst)
	l.Calls(300)
	l.Stop()
	r.Wait("flow")
	if d := r.Equal(dst, "default", "flow_"); d.Collections < 5 || d.Rows == 0 {
		r.Errorf("only %d collections and %d rows were compared", d.Collections, d.Rows)
	}
	if err := r.Client(r.Source, "").Flush(r.Context(), "flow_tenants", false); err != nil {
		r.Fatal(err)
	}
	var h *rig.History
	r.Until("a flush of the source is on the stream", func() bool {
		h = r.CheckStream("flow")
		return h.Kinds["flush"] > 0
	})
	r.Wait("flow")
	contract(r, h)
}

// contract reads the stream as a program would that knows NATS and CloudEvents but not Kitestream.
func contract(r *rig.Rig, h *rig.History) {
	stream, err := r.JS.Stream(r.Context(), "KS_flow")
	if err != nil {
		r.Fatal(err)
	}
	cons, err := stream.OrderedConsumer(r.Context(), natsjs.OrderedConsumerConfig{FilterSubjects: []string{"ks.flow.>"}})
	if err != nil {
		r.Fatal(err)
	}
	msgs, err := cons.Messages()
	if err != nil {
		r.Fatal(err)
	}
	defer msgs.Stop()
	ids, kinds := map[string]bool{}, map[string]int{}
	for range h.Events {
		m, err := msgs.Next(natsjs.NextContext(r.Context()))
		if err != nil {
			r.Fatal(err)
		}
		id := m.Headers().Get("ce-id")
		if id == "" || ids[id] || id != m.Headers().Get("Nats-Msg-Id") {
			r.Errorf("message on %s has the id %q, seen before: %v", m.Subject(), id, ids[id])
		}
		ids[id] = true
		kinds[checkEvent(r, m)]++
	}
	for _, kind := range []string{"insert", "delete", "create_collection", "drop_collection", "create_partition", "create_index", "load_collection"} {
		if kinds[kind] == 0 {
			r.Errorf("no event of kind %s: %v", kind, kinds)
		}
	}
}

// checkEvent checks one message against what is promised to everybody, and gives its kind.
func checkEvent(r *rig.Rig, m natsjs.Msg) string {
	h := m.Headers()
	subject := strings.Split(m.Subject(), ".")
	if len(subject) != 7 {
		r.Fatalf("subject %s does not have 7 tokens", m.Subject())
	}
	kind := subject[6]
	for name, want := range map[string]string{
		"ce-specversion": "1.0", "ce-source": "milvus/default", "ce-type": "io.milvus." + kind, "ce-kitestreamversion": "1",
	} {
		if kind == "fence" && name == "ce-source" {
			continue
		}
		if got := h.Get(name); got != want {
			r.Errorf("message on %s: %s is %q, want %q", m.Subject(), name, got, want)
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, h.Get("ce-time")); err != nil {
		r.Errorf("message on %s: %v", m.Subject(), err)
	}
	if kind == "fence" {
		return kind
	}
	body, schema := message(kind)
	if body == nil {
		r.Fatalf("message on %s is of an unknown kind", m.Subject())
	}
	if err := proto.Unmarshal(m.Data(), body); err != nil {
		r.Errorf("message on %s: %v", m.Subject(), err)
	}
	if h.Get("content-type") != "application/protobuf" || h.Get("ce-dataschema") != schema {
		r.Errorf("message on %s is %q of %q, want protobuf of %q", m.Subject(), h.Get("content-type"), h.Get("ce-dataschema"), schema)
	}
	checkRows(r, h, body)
	return kind
}

// message is what a kind's body holds, and its name.
func message(kind string) (proto.Message, string) {
	switch kind {
	case "insert":
		return &msgpb.InsertRequest{}, "milvus.proto.msg.InsertRequest"
	case "delete":
		return &msgpb.DeleteRequest{}, "milvus.proto.msg.DeleteRequest"
	case "create_collection":
		return &milvuspb.CreateCollectionRequest{}, "milvus.proto.milvus.CreateCollectionRequest"
	case "drop_collection":
		return &milvuspb.DropCollectionRequest{}, "milvus.proto.milvus.DropCollectionRequest"
	case "create_index":
		return &milvuspb.CreateIndexRequest{}, "milvus.proto.milvus.CreateIndexRequest"
	case "load_collection":
		return &milvuspb.LoadCollectionRequest{}, "milvus.proto.milvus.LoadCollectionRequest"
	case "release_collection":
		return &milvuspb.ReleaseCollectionRequest{}, "milvus.proto.milvus.ReleaseCollectionRequest"
	case "flush":
		return &milvuspb.FlushRequest{}, "milvus.proto.milvus.FlushRequest"
	case "create_partition":
		return &milvuspb.CreatePartitionRequest{}, "milvus.proto.milvus.CreatePartitionRequest"
	case "drop_partition":
		return &milvuspb.DropPartitionRequest{}, "milvus.proto.milvus.DropPartitionRequest"
	}
	return nil, ""
}

// checkRows compares the number of rows that the headers tell with those in the body.
func checkRows(r *rig.Rig, h nats.Header, body proto.Message) {
	var n int64
	switch b := body.(type) {
	case *msgpb.InsertRequest:
		n = int64(b.GetNumRows())
		if len(b.GetTimestamps()) != int(n) || len(b.GetFieldsData()) == 0 {
			r.Errorf("insert %s has %d rows, %d timestamps, %d fields", h.Get("ce-id"), n, len(b.GetTimestamps()), len(b.GetFieldsData()))
		}
	case *msgpb.DeleteRequest:
		n = int64(len(b.GetPrimaryKeys().GetIntId().GetData()) + len(b.GetPrimaryKeys().GetStrId().GetData()))
		if n == 0 {
			n = int64(len(b.GetInt64PrimaryKeys()))
		}
	default:
		return
	}
	if got := h.Get("ce-rows"); n == 0 || got != itoa(n) {
		r.Errorf("event %s: ce-rows is %s, the body has %d", h.Get("ce-id"), got, n)
	}
}
