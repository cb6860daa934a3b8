package jetstream_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
)

func TestStatuses(t *testing.T) {
	r := newRig(t)
	at := time.Unix(5000, 0).UTC()
	bridge := jetstream.BridgeStatus{
		Worker: "w1", At: at, State: "running", Since: at, WatermarkTS: 5, Seq: 6,
		Channels:    map[string]jetstream.ChannelStatus{"dml_0": {Resume: "1:2", TS: 3}},
		Collections: []jetstream.CollectionStatus{{ID: 7, Database: "default", Collection: "c", State: "running", Rows: map[int]uint64{0: 10, 3: 4}}},
		Waiting:     []jetstream.QualifiedName{{Database: "default", Collection: "later"}},
	}
	if _, err := jetstream.BridgeStatusOf(r.ctx, r.status, ref()); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("status of a bridge that never was = %v, want ErrNotFound", err)
	}
	must(t, jetstream.PutBridgeStatus(r.ctx, r.status, ref(), bridge))
	got, err := jetstream.BridgeStatusOf(r.ctx, r.status, ref())
	must(t, err)
	if !reflect.DeepEqual(got, bridge) {
		t.Errorf("got %+v, want %+v", got, bridge)
	}
	if _, err := jetstream.BridgeStatusOf(r.ctx, r.status, jetstream.TaskRef{Name: ref().Name, ID: "life2"}); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("a second life has its predecessor's status: %v", err)
	}

	target := ref().Target("standby_1")
	lane := jetstream.LaneStatusRecord{Worker: "w2", At: at, Seq: 9, TS: 8, State: "running", Since: at, Rows: map[int64]uint64{7: 10}}
	for _, n := range []int{0, 12} {
		must(t, jetstream.PutLaneStatus(r.ctx, r.status, target.Lane(n), lane))
	}
	must(t, jetstream.PutLaneStatus(r.ctx, r.status, ref().Target("other").Lane(1), lane))
	all, err := jetstream.LaneStatusesOf(r.ctx, r.status, target)
	must(t, err)
	if want := map[int]jetstream.LaneStatusRecord{0: lane, 12: lane}; !reflect.DeepEqual(all, want) {
		t.Errorf("got %+v, want %+v", all, want)
	}
	if _, err := jetstream.VerdictOf(r.ctx, r.status, target); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("verdict about a target that never was verified = %v, want ErrNotFound", err)
	}
	verdict := jetstream.Verdict{At: at, Verdict: "equal", Rows: 7, Collections: 1, Seconds: 0.5, Worker: "w2"}
	must(t, jetstream.PutVerdict(r.ctx, r.status, target, verdict))
	if got, err := jetstream.VerdictOf(r.ctx, r.status, target); err != nil || got != verdict {
		t.Errorf("verdict %+v, %v", got, err)
	}
	must(t, jetstream.ForgetTask(r.ctx, r.js, r.status, ref().Name))
	if keys, err := r.status.Keys(r.ctx); !errors.Is(err, natsjs.ErrNoKeysFound) {
		t.Errorf("statuses that stay: %v, %v", keys, err)
	}
}
