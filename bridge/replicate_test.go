package bridge_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// TestFlushOnce has flushes on the source's replicate channel, among what does not decode there. Each is published once, as one
// bridge after the other is killed, but none that was older than the task.
func TestFlushOnce(t *testing.T) {
	srv := jetstreamtest.Run(t)
	js := srv.JetStream()
	h := newHistory(5, 300)
	for i := uint64(6); h.live["default.a"] == nil; i++ {
		h = newHistory(i, 300)
	}
	h.queue[simSide], h.written[simSide] = nil, nil
	a := h.live["default.a"]
	meta := newSimMeta(h, h.ts, 0)
	h.append(simSide, stamped{ts: h.ts, raw: []byte("\xff\xff no protobuf")})
	h.flush(a)
	old := h.ts
	var want []uint64
	for range 5 {
		h.ts += 50 << 18
		h.append(simSide, stamped{ts: h.ts, raw: []byte("\xff\xff no protobuf")})
		h.flush(a)
		want = append(want, h.ts)
		h.tick(h.ts)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := jetstream.Setup(ctx, js, 1); err != nil {
		t.Fatal(err)
	}
	sim := simulation{srv: srv, meta: meta, spec: jetstream.TaskSpec{Name: "flush", Source: "default", Lanes: 2,
		Select: []jetstream.Selection{{Database: "*", Collections: []string{"*"}}}, Targets: []jetstream.TargetSpec{{Name: "t", URI: "http://127.0.0.1:1"}}}}
	sim.killAt(ctx, t, 1, 1<<40) // it gets as far as it can: the meta shows no more
	for i, ts := range want[:4] {
		meta.shown(ts)
		sim.killAt(ctx, t, uint64(i+2), 1<<40)
	}
	meta.shown(h.ts)
	sim.finish(ctx, t, 9)
	sim.killAt(ctx, t, 10, 1<<40)
	var got []uint64
	err := jetstream.Scan(ctx, js, "flush", nil, 0, func(e *jetstream.Event) error {
		if e.Kind == jetstream.Flush {
			var body milvuspb.FlushRequest
			if err := proto.Unmarshal(e.Body, &body); err != nil || !slices.Equal(body.GetCollectionNames(), []string{e.Collection}) || e.CollectionID != a.id {
				t.Errorf("flush of %s.%s: %v, %v", e.Database, e.Collection, &body, err)
			}
			got = append(got, e.TS)
		}
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("flushes at %v, want %v (and not %d), %v", got, want, old, err)
	}
}
