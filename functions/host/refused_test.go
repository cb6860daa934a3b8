package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"kitestream/functions/host"
	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// refusal is a task of two lanes whose events a test makes, applied by two workers to a target that refuses.
type refusal struct {
	t       *testing.T
	js      natsjs.JetStream
	buckets *jetstream.Buckets
	task    *jetstream.Task
	target  *model
	pub     *jetstream.Publisher
	n       int
	only    string // the target that what is said is for; empty: all
}

func newRefusal(t *testing.T) *refusal {
	t.Helper()
	r := &refusal{t: t, js: jetstreamtest.Run(t).JetStream(), target: newModel()}
	r.must(jetstream.Setup(t.Context(), r.js, 1))
	var err error
	r.buckets, err = jetstream.OpenBuckets(t.Context(), r.js)
	r.must(err)
	tasks := jetstream.NewTasks(r.js, r.buckets.Tasks, nil)
	r.task, err = tasks.Create(t.Context(), jetstream.TaskSpec{Name: "t", Source: "default", Lanes: 2,
		Select: []jetstream.Selection{{Database: "default", Collections: []string{"*"}}}, Targets: []jetstream.TargetSpec{{Name: "b", URI: "localhost:1"}}})
	r.must(err)
	r.must(jetstream.EnsureStream(t.Context(), r.js, "t", jetstream.StreamConfig{Replicas: 1}))
	ctx, cancel := context.WithCancel(context.Background())
	r.pub, err = jetstream.OpenPublisher(ctx, r.js, jetstream.PublisherConfig{Task: "t", Holder: "bridge", Epoch: 1})
	r.must(err)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = r.pub.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	for _, w := range []string{"w1", "w2"} {
		r.work(w)
	}
	return r
}

// work runs a worker until the test ends or it is told to stop.
func (r *refusal) work(name string) (stop func()) {
	r.t.Helper()
	leases, err := jetstream.NewLeases(r.js, r.buckets.Leases, jetstream.LeaseConfig{TTL: time.Second})
	r.must(err)
	apply, err := handlers.NewMetrics(prometheus.NewRegistry())
	r.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	lanes := host.NewLanes(host.LanesConfig{
		NC: r.js.Conn(), JS: r.js, Buckets: r.buckets, Leases: leases, Tasks: jetstream.NewTasks(r.js, r.buckets.Tasks, nil), Holder: name,
		Log: slog.New(slog.NewTextHandler(r.t.Output(), nil)), Metrics: host.NewMetrics(nil), Apply: apply,
		Connect: func(context.Context, jetstream.TargetSpec) (host.Target, error) {
			return &connection{model: r.target, known: map[handlers.Ref]int{}}, nil
		},
	})
	ended := make(chan struct{})
	go func() { defer close(ended); _ = lanes.Run(ctx) }()
	stop = func() { cancel(); <-ended }
	r.t.Cleanup(stop)
	return stop
}

func (r *refusal) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *refusal) until(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain: %s\nstops %+v\na %v\nb %v\nc %v", what, r.stops().List(), r.target.logs("a"), r.target.logs("b"), r.target.logs("c"))
		}
	}
}

func (r *refusal) id() jetstream.TargetID { return r.task.Ref().Target("b") }

func (r *refusal) stops() *jetstream.Stops {
	r.t.Helper()
	s, err := jetstream.OpenStops(context.Background(), r.js, r.buckets.Lanes, r.id())
	r.must(err)
	return s
}

func (r *refusal) stopOf(id int64) (jetstream.Stop, bool) { return r.stops().Lookup(id) }

func (r *refusal) unmets() *jetstream.Unmets {
	r.t.Helper()
	u, err := jetstream.OpenUnmets(context.Background(), r.js, r.buckets.Lanes, r.id())
	r.must(err)
	return u
}

// say publishes an event of a collection, as a bridge would.
func (r *refusal) say(kind jetstream.Kind, lane int, name string, id int64, body proto.Message) {
	r.t.Helper()
	raw, err := proto.Marshal(body)
	r.must(err)
	r.n++
	e := &jetstream.Event{ID: fmt.Sprint("e", r.n), Kind: kind, Channel: jetstream.CatalogChannel, Lane: lane, Database: "default", Collection: name,
		DatabaseID: 1, CollectionID: id, TS: uint64(r.n) << 18, Body: raw, Target: r.only}
	if d, ok := body.(*msgpb.DeleteRequest); ok {
		e.Rows, e.RowSum, e.PartitionID = int(d.GetNumRows()), uint64(r.n), -1
	}
	if _, ok := body.(*milvuspb.DropPartitionRequest); ok {
		e.Partition, e.PartitionID = "p", 5
	}
	r.must(r.pub.Publish(r.t.Context(), e))
}

func (r *refusal) create(name string, id int64) {
	r.say(jetstream.CreateCollection, jetstream.AllLanes, name, id, &milvuspb.CreateCollectionRequest{})
}

func (r *refusal) drop(name string, id int64) {
	r.say(jetstream.DropCollection, jetstream.AllLanes, name, id, &milvuspb.DropCollectionRequest{})
}

func (r *refusal) rename(from, to string, id int64) {
	r.say(jetstream.RenameCollection, jetstream.AllLanes, from, id, &milvuspb.RenameCollectionRequest{NewName: to, NewDBName: "default"})
}

// rows says that a row of each lane is deleted; model's log has "row <key>".
func (r *refusal) rows(name string, id int64, keys ...int64) {
	for lane, key := range keys {
		r.say(jetstream.Delete, lane, name, id, &msgpb.DeleteRequest{CollectionName: name, NumRows: 1, Timestamps: []uint64{1}, PartitionID: -1,
			PrimaryKeys: &schemapb.IDs{IdField: &schemapb.IDs_IntId{IntId: &schemapb.LongArray{Data: []int64{key}}}}})
	}
}

// A target refuses a rename for good. All lanes stop there, also those that have nothing else of the collection; what
// follows is passed over under all the names that the collection gets, and other collections go on. When the target is willing, all
// of it is made good, in order and under the last name, although it refuses a row once more on the way and a worker goes.
func TestARefusedRenameStopsAllLanesAndIsMadeGood(t *testing.T) {
	r := newRefusal(t)
	r.target.refuse(func(call string) bool { return strings.HasPrefix(call, "rename") })
	r.create("a", 7)
	r.create("other", 9)
	r.rows("a", 7, 1, 2)
	r.rename("a", "b", 7)
	r.rows("b", 7, 3)
	r.say(jetstream.DropPartition, jetstream.AllLanes, "b", 7, &milvuspb.DropPartitionRequest{})
	r.rename("b", "c", 7)
	r.rows("c", 7, 4, 5)
	r.say(jetstream.Flush, jetstream.AllLanes, "c", 7, &milvuspb.FlushRequest{})
	r.rename("c", "b", 7)
	r.rows("b", 7, 6, 7)
	r.rows("other", 9, 1, 2)
	r.until("the other collection goes on", func() bool { return len(r.target.logs("other")) == 3 })
	stop, ok := r.stopOf(7)
	if !ok || len(stop.Lanes) != 2 || stop.Lanes[0] != stop.Lanes[1] || stop.Name().Collection != "b" || stop.OnTarget().Collection != "a" || len(stop.Names()) != 3 {
		t.Fatalf("stopped as %+v", stop)
	}
	// It goes as far as a row behind the rename, and stops again.
	r.target.refuse(func(call string) bool { return call == "row 3" })
	again := func() { r.must(r.stops().MarkRetry(t.Context(), 7)) }
	again()
	r.until("it has stopped again", func() bool {
		s, _ := r.stopOf(7)
		return strings.Contains(s.Reason, "row 3") && !s.Retry
	})
	if s, _ := r.stopOf(7); s.OnTarget().Collection != "b" {
		t.Errorf("stopped again as %+v", s)
	}
	r.work("w3")() // lanes move, and move back
	r.target.refuse(nil)
	again()
	r.until("all is made good", func() bool { _, stopped := r.stopOf(7); return !stopped })
	want := [][]string{{"create"}, {"row 1", "row 2"}, {"rename to b"}, {"row 3"}, {"drop partition p"}, {"row 4", "row 5", "row 6", "row 7"}}
	got := r.target.logs("b")
	for _, step := range want {
		n := min(len(step), len(got))
		have := slices.Sorted(slices.Values(got[:n]))
		if !slices.Equal(have, step) {
			t.Fatalf("done: %v, want %v", r.target.logs("b"), want)
		}
		got = got[n:]
	}
	if len(got) > 0 {
		t.Errorf("done: %v, want %v", r.target.logs("b"), want)
	}
}

// The target was not told of a rename, and the source makes another collection of the old name. It is not taken for the
// one that is there; made good are both.
func TestAnOldNameIsTakenUntilItsRenameIsMadeGood(t *testing.T) {
	r := newRefusal(t)
	r.target.refuse(func(call string) bool { return call == "rename to b" })
	r.create("a", 7)
	r.rows("a", 7, 1, 2)
	r.rename("a", "b", 7)
	r.create("a", 8)
	r.rows("a", 8, 3, 4)
	r.create("other", 9)
	r.rows("other", 9, 1, 2)
	r.until("the other collection goes on", func() bool { return len(r.target.logs("other")) == 3 })
	if s, _ := r.stopOf(8); s.Code != handlers.CodeOccupied || len(r.target.logs("a")) != 3 {
		t.Fatalf("the younger one: %+v, done to the older one: %v", s, r.target.logs("a"))
	}
	r.target.refuse(nil)
	if n, err := r.stops().MarkRetries(t.Context()); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	r.until("both are made good", func() bool { return len(r.stops().List()) == 0 })
	if a, b := r.target.logs("a"), r.target.logs("b"); len(a) != 3 || len(b) != 4 || b[3] != "rename to b" {
		t.Errorf("done to a: %v, to b: %v", a, b)
	}
}

// A collection that stopped and was renamed is dropped: on the target it has its old name.
func TestAStoppedCollectionIsDroppedByItsOldName(t *testing.T) {
	r := newRefusal(t)
	r.target.refuse(func(call string) bool { return call == "rename to b" })
	r.create("a", 7)
	r.rename("a", "b", 7)
	r.say(jetstream.DropCollection, jetstream.AllLanes, "b", 7, &milvuspb.DropCollectionRequest{})
	r.create("b", 8)
	r.rows("b", 8, 1, 2)
	r.until("the next one of its name goes on", func() bool { return len(r.target.logs("b")) == 3 })
	if r.target.logs("a") != nil || len(r.stops().List()) != 0 {
		t.Errorf("left: a %v, stops %+v", r.target.logs("a"), r.stops().List())
	}
}

// A setting that is refused stops nothing. It is kept, follows a rename, is tried again, and forgotten when it is met, or
// when what it is about is gone.
func TestARefusedSettingIsKept(t *testing.T) {
	r := newRefusal(t)
	r.target.refuse(func(call string) bool { return strings.HasPrefix(call, "index") })
	index := func(kind jetstream.Kind, of string, id int64, body proto.Message) {
		r.say(kind, jetstream.SettingsLane, of, id, body)
	}
	r.create("a", 7)
	r.create("c", 8)
	index(jetstream.CreateIndex, "a", 7, &milvuspb.CreateIndexRequest{IndexName: "i"})
	index(jetstream.CreateIndex, "a", 7, &milvuspb.CreateIndexRequest{IndexName: "j"})
	index(jetstream.CreateIndex, "c", 8, &milvuspb.CreateIndexRequest{IndexName: "i"})
	r.rows("a", 7, 1, 2)
	r.rename("a", "b", 7)
	r.until("rows go on, and what is unmet has the new name", func() bool {
		u := r.unmets().List()
		return len(r.target.logs("b")) == 4 && len(u) == 3 && !slices.ContainsFunc(u, func(u jetstream.Unmet) bool { return u.Name.Collection == "a" })
	})
	var names []string
	for _, u := range r.unmets().List() {
		names = append(names, fmt.Sprint(u.Name, " ", u.Setting, " ", u.Code))
	}
	if want := []string{`default.b "index" "7" "i" KS-P-REFUSED`, `default.b "index" "7" "j" KS-P-REFUSED`, `default.c "index" "8" "i" KS-P-REFUSED`}; !slices.Equal(names, want) {
		t.Fatalf("unmet: %q, want %q", names, want)
	}
	index(jetstream.DropIndex, "b", 7, &milvuspb.DropIndexRequest{IndexName: "j"})
	r.say(jetstream.DropCollection, jetstream.AllLanes, "c", 8, &milvuspb.DropCollectionRequest{})
	r.until("what is pointless is forgotten", func() bool { return len(r.unmets().List()) == 1 })

	retry := func() { r.must(r.unmets().MarkRetry(t.Context(), `"index" "7" "i"`)) }
	r.target.refuse(func(call string) bool { return call == "index i" })
	retry()
	r.until("it is refused again", func() bool { u := r.unmets().List(); return len(u) == 1 && !u[0].Retry })
	r.target.refuse(nil)
	retry()
	r.until("it is met", func() bool { return len(r.unmets().List()) == 0 })
	if got := r.target.logs("b"); got[len(got)-1] != "index i" {
		t.Errorf("done: %v", got)
	}
}

// A user's role comes before its password does, which the user is made with. When that has come, the role is tried again.
func TestARoleWaitsForItsUser(t *testing.T) {
	r := newRefusal(t)
	r.say(jetstream.OperateUserRole, jetstream.SettingsLane, "", 0, &milvuspb.OperateUserRoleRequest{Username: "ann", RoleName: "writer"})
	r.until("the role is unmet", func() bool { return len(r.unmets().List()) == 1 })
	r.say(jetstream.UpdateCredential, jetstream.SettingsLane, "", 0, &milvuspb.UpdateCredentialRequest{Username: "ann"})
	r.until("the role is given", func() bool { return len(r.unmets().List()) == 0 })
	if got := r.target.logs("ann"); !slices.Equal(got, []string{"password", "role writer"}) {
		t.Errorf("done: %v", got)
	}
}
