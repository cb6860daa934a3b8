package bridge_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge"
	"kitestream/bridge/mq"
	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// TestOddMessages puts messages among a history's that no bridge can make events of. None stops its channel: what nobody
// knows is counted and warned of once, what does not decode is parked with its bytes and its place.
func TestOddMessages(t *testing.T) {
	srv := jetstreamtest.Run(t)
	h := newHistory(5, 300)
	for i := uint64(6); h.live["default.a"] == nil; i++ {
		h = newHistory(i, 300)
	}
	garbage, unknown := []byte("\xff\xff\xff no protobuf"), 0
	broken := map[string]mq.Position{}
	for _, ch := range h.live["default.a"].channels {
		for range 3 {
			h.append(ch, stamped{ts: h.ts, raw: must(proto.Marshal(&msgpb.TimeTickMsg{Base: base(commonpb.MsgType(7777), 1, h.ts+1)}))})
			unknown++
		}
		h.append(ch, stamped{ts: h.ts, raw: garbage})
		broken[ch] = h.queue[ch][len(h.queue[ch])-1].Position
	}
	h.ts += 50 << 18
	h.tick(h.ts)

	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	got := oddRun(t, srv, h, &log, reg)
	if diff := cmp.Diff(h.expected(), got); diff != "" {
		t.Errorf("target differs from source (-source +target):\n%s", diff)
	}
	if n := strings.Count(log.String(), "messages of this type are skipped"); n != 1 {
		t.Errorf("%d warnings for one unknown type in:\n%s", n, log.String())
	}
	want := fmt.Sprintf("# HELP kitestream_bridge_messages_skipped_total Messages of a type that is not replicated, by Milvus message type.\n"+
		"# TYPE kitestream_bridge_messages_skipped_total counter\n"+
		"kitestream_bridge_messages_skipped_total{task=\"odd\",type=\"7777\"} %d\n", unknown)
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "kitestream_bridge_messages_skipped_total"); err != nil {
		t.Error(err)
	}
	parked := parkedMessages(t, srv.JetStream())
	if diff := cmp.Diff(broken, parked.at); diff != "" {
		t.Errorf("parked (-want +got):\n%s", diff)
	}
	for _, body := range parked.bodies {
		if !bytes.Equal(body, garbage) {
			t.Errorf("parked body = %q, want %q", body, garbage)
		}
	}
}

// TestImport has rows imported in bulk, which the queue does not hold: their collection stops and says so, others go on.
func TestImport(t *testing.T) {
	srv := jetstreamtest.Run(t)
	h := newHistory(5, 300)
	for i := uint64(6); h.live["default.a"] == nil; i++ {
		h = newHistory(i, 300)
	}
	a := h.live["default.a"]
	h.send(a.channels[0], &msgpb.ImportMsg{Base: base(commonpb.MsgType_Import, 1, h.ts+1), CollectionID: a.id, JobID: 77})
	h.ts += 50 << 18
	h.tick(h.ts)
	oddRun(t, srv, h, &bytes.Buffer{}, prometheus.NewRegistry())
	kv := must(srv.JetStream().KeyValue(t.Context(), jetstream.BucketStatus))
	st := must(jetstream.BridgeStatusOf(t.Context(), kv, jetstream.TaskRef{Name: "odd", ID: "1"}))
	for _, c := range st.Collections {
		if stopped := strings.Contains(c.Error, "imported in bulk into default.a (job 77)"); stopped != (c.ID == a.id) {
			t.Errorf("collection %s.%s: %q", c.Database, c.Collection, c.Error)
		}
	}
	if len(st.Collections) < 2 {
		t.Errorf("%d collections in the status", len(st.Collections))
	}
}

// TestForeignRowsAreNotLookedInto has a source whose messages carry properties: rows of a collection that the task does
// not follow are left alone by these, so that even garbage among them is nobody's business.
func TestForeignRowsAreNotLookedInto(t *testing.T) {
	srv := jetstreamtest.Run(t)
	h := newHistory(7, 300)
	for i := uint64(8); !h.newer || h.live["default.x1"] == nil || h.live["default.a"] == nil; i++ {
		h = newHistory(i, 300)
	}
	x := h.live["default.x1"]
	read := 0
	for _, ch := range x.channels {
		if slices.Contains(h.live["default.a"].channels, ch) {
			read++
		}
	}
	if read == 0 {
		t.Fatal("the history has no channel that both kinds of collections share")
	}
	foreign := map[string]string{"msg_type": "Insert", "collection_id": fmt.Sprint(x.id)}
	for _, ch := range x.channels {
		h.append(ch, stamped{ts: h.ts, raw: []byte("\xff\xff\xff no protobuf"), properties: foreign})
	}
	h.ts += 50 << 18
	h.tick(h.ts)
	reg := prometheus.NewRegistry()
	got := oddRun(t, srv, h, &bytes.Buffer{}, reg)
	if diff := cmp.Diff(h.expected(), got); diff != "" {
		t.Errorf("target differs from source (-source +target):\n%s", diff)
	}
	if parked := parkedMessages(t, srv.JetStream()); len(parked.at) != 0 {
		t.Errorf("parked: %v", parked.at)
	}
}

// oddRun runs a bridge over the whole history and gives what a target makes of the stream.
func oddRun(t *testing.T, srv *jetstreamtest.Server, h *history, log *bytes.Buffer, reg prometheus.Registerer) map[string]map[string]map[int64]int64 {
	t.Helper()
	js := srv.JetStream()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := jetstream.Setup(ctx, js, 1); err != nil {
		t.Fatal(err)
	}
	spec := jetstream.TaskSpec{Name: "odd", Source: "default", Lanes: 2, Select: []jetstream.Selection{
		{Database: "default", Collections: []string{"*"}, Exclude: []string{"x*"}}, {Database: "other", Collections: []string{"*"}, Exclude: []string{"x*"}}},
		Targets: []jetstream.TargetSpec{{Name: "t", URI: "http://127.0.0.1:1"}}}
	meta := newSimMeta(h, h.begin(), 0)
	b := bridge.New(bridge.Config{JS: js, KV: must(js.KeyValue(ctx, jetstream.BucketLedger)), Status: must(js.KeyValue(ctx, jetstream.BucketStatus)),
		Meta: meta, Queue: &simQueue{h, meta}, Task: &jetstream.Task{Spec: spec, ID: "1"}, Holder: "odd", Epoch: 1,
		Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: bridge.NewMetrics(reg)})
	ended := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { ended <- b.Run(running) }()
	for range 2 { // the channels of the beginning, and then all
		if err := b.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		meta.shown(h.ts)
	}
	stop()
	<-ended
	return replay(ctx, t, js, spec).rows()
}

type parkedAll struct {
	at     map[string]mq.Position // by channel
	bodies [][]byte
}

func parkedMessages(t *testing.T, js natsjs.JetStream) parkedAll {
	t.Helper()
	ctx := t.Context()
	s := must(js.Stream(ctx, jetstream.StreamParked))
	all := parkedAll{at: map[string]mq.Position{}}
	last := must(s.Info(ctx)).State.LastSeq
	for seq := uint64(1); seq <= last; seq++ {
		m := must(s.GetMsg(ctx, seq))
		all.at[m.Header.Get("kitestream-channel")] = mq.Position(m.Header.Get("kitestream-position"))
		all.bodies = append(all.bodies, m.Data)
	}
	return all
}

// TestEndOfADeadChannel has a channel end with what a tick has not let out: nothing live stands there, so that no tick comes any more,
// and nobody waits for one.
func TestEndOfADeadChannel(t *testing.T) {
	srv := jetstreamtest.Run(t)
	h, ch := newHistory(1, 60), ""
	for i := uint64(2); ch == ""; i++ {
		h = newHistory(i, 60)
		ch = h.deadChannel()
	}
	h.append(ch, stamped{ts: h.ts, raw: must(proto.Marshal(&msgpb.TimeTickMsg{Base: base(commonpb.MsgType(7777), 1, h.ts+1<<18)}))})
	h.append(ch, stamped{ts: h.ts, raw: must(proto.Marshal(&msgpb.TimeTickMsg{Base: base(commonpb.MsgType_TimeTick, 0, h.ts)}))})
	got := oddRun(t, srv, h, &bytes.Buffer{}, prometheus.NewRegistry())
	if diff := cmp.Diff(h.expected(), got); diff != "" {
		t.Errorf("target differs from source (-source +target):\n%s", diff)
	}
}

// deadChannel is a channel that is read for what has been dropped by now.
func (h *history) deadChannel() string {
	stands := map[string]bool{}
	for _, c := range h.live {
		for _, ch := range c.channels {
			stands[ch] = true
		}
	}
	for _, c := range h.cols {
		for _, ch := range c.channels {
			if c.name != "x1" && !stands[ch] {
				return ch
			}
		}
	}
	return ""
}
