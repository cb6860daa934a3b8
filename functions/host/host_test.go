//go:build servers

package host_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"kitestream/bridge"
	"kitestream/bridge/catalog"
	"kitestream/bridge/mq/natsmq"
	"kitestream/functions/control"
	"kitestream/functions/host"
	"kitestream/handlers/milvus"
	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
	"kitestream/test/load"
	"kitestream/test/oracle"
	"kitestream/test/servers"
)

func TestMain(m *testing.M) { os.Exit(servers.Main(m, servers.RoleSource, servers.RoleTarget)) }

// TestHostsMoveRows runs every part in this process: what a source holds comes to be on the target.
func TestHostsMoveRows(t *testing.T) {
	src, dst := servers.Source(t), servers.Target(t)
	srv := jetstreamtest.Run(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	js := srv.JetStream()
	if err := jetstream.Setup(ctx, js, 1); err != nil {
		t.Fatal(err)
	}
	startHosts(ctx, t, js, src)

	c, err := client.NewClient(ctx, client.Config{Address: src.Addr})
	if err != nil {
		t.Fatal(err)
	}
	w := load.New(c, 1, "host_")
	if err := w.Setup(ctx); err != nil {
		t.Fatal(err)
	}
	tasks := control.NewClient(js.Conn())
	spec := jetstream.TaskSpec{Name: "host", Select: []jetstream.Selection{{Collections: []string{"host_*"}}},
		Targets: []jetstream.TargetSpec{{Name: "standby", URI: dst.URI}}}
	if _, err := tasks.Create(ctx, spec); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 300 {
		if err := w.Step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	t.Log("written in", time.Since(began), "rows", w.Rows())
	began = time.Now()
	wctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	if _, err := tasks.Wait(wctx, "host", control.WaitOptions{}); err != nil {
		v, _ := tasks.Get(ctx, "host")
		raw, _ := json.MarshalIndent(v, "", " ")
		t.Fatalf("%v\n%s", err, raw)
	}
	t.Log("caught up in", time.Since(began))
	a, err := oracle.Dial(src.Addr, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := oracle.Dial(dst.Addr, "")
	if err != nil {
		t.Fatal(err)
	}
	diff, err := oracle.CompareClusters(ctx, a, b, func(db, col string) bool { return db == "default" && (col == "" || strings.HasPrefix(col, "host_")) })
	if err != nil {
		t.Fatal(err)
	}
	if !diff.Equal() {
		t.Fatal(diff)
	}
}

func startHosts(ctx context.Context, t *testing.T, js natsjs.JetStream, src *servers.Milvus) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	buckets, err := jetstream.OpenBuckets(ctx, js)
	if err != nil {
		t.Fatal(err)
	}
	leases, err := jetstream.NewLeases(js, buckets.Leases, jetstream.LeaseConfig{})
	if err != nil {
		t.Fatal(err)
	}
	tasks := jetstream.NewTasks(js, buckets.Tasks, log)
	cat, err := catalog.Open(ctx, catalog.Config{Endpoints: []string{src.EtcdEndpoint}, Root: "by-dev", Meta: "meta"}, log)
	if err != nil {
		t.Fatal(err)
	}
	conf := natsmq.DefaultConfig()
	conf.URL = src.MQURL
	queue, err := natsmq.Connect(conf, log)
	if err != nil {
		t.Fatal(err)
	}
	bridges := host.NewBridges(host.BridgesConfig{NC: js.Conn(), JS: js, Buckets: buckets, Leases: leases, Tasks: tasks, Source: "default",
		Catalog: cat, Queue: queue, Holder: "b1", Log: log, Metrics: bridge.NewMetrics(nil)})
	lanes := host.NewLanes(host.LanesConfig{NC: js.Conn(), JS: js, Buckets: buckets, Leases: leases, Tasks: tasks, Holder: "w1", Log: log,
		Metrics: host.NewMetrics(nil), Connect: func(ctx context.Context, s jetstream.TargetSpec) (host.Target, error) {
			return milvus.Open(ctx, milvus.Config{URI: s.URI})
		}})
	metrics, err := control.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	svc := control.New(control.Config{NC: js.Conn(), JS: js, Buckets: buckets, Tasks: tasks, Leases: leases, Holder: "c1", TTL: 3 * time.Second, Log: log, Metrics: metrics})
	var all sync.WaitGroup
	for _, run := range []func(context.Context) error{cat.Run, bridges.Run, lanes.Run, svc.Run} {
		all.Go(func() { _ = run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		all.Wait()
		_ = queue.Close()
		_ = cat.Close()
	})
}
