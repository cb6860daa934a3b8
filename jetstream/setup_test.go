package jetstream_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

func TestSetupByManyAtOnce(t *testing.T) {
	srv := jetstreamtest.Run(t)
	js := srv.JetStream()
	var wg sync.WaitGroup
	for range 4 {
		js := srv.JetStream()
		wg.Go(func() {
			if err := jetstream.Setup(t.Context(), js, 1); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, b := range []string{jetstream.BucketTasks, jetstream.BucketLeases, jetstream.BucketLanes, jetstream.BucketStatus} {
		kv, err := js.KeyValue(t.Context(), b)
		if err != nil {
			t.Fatalf("bucket %s: %v", b, err)
		}
		st, err := kv.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b == jetstream.BucketLeases && st.LimitMarkerTTL() == 0 {
			t.Error("the leases' bucket keeps no per-key TTLs")
		}
	}
	if _, err := js.Stream(t.Context(), jetstream.StreamParked); err != nil {
		t.Error(err)
	}
}

func TestSetupReconciles(t *testing.T) {
	js := jetstreamtest.Run(t).JetStream()
	if _, err := js.CreateKeyValue(t.Context(), natsjs.KeyValueConfig{Bucket: jetstream.BucketLeases, History: 5}); err != nil {
		t.Fatal(err)
	}
	if err := jetstream.Setup(t.Context(), js, 0); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), jetstream.BucketLeases)
	if err != nil {
		t.Fatal(err)
	}
	st, err := kv.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.History() != 1 || st.LimitMarkerTTL() == 0 {
		t.Errorf("history %d, marker TTL %v", st.History(), st.LimitMarkerTTL())
	}
}

func TestSetupRefusesServers(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*server.Options)
		want   string
	}{
		"small_payload": {func(o *server.Options) { o.MaxPayload = 10_000 }, "max_payload 10000"},
		"no_jetstream":  {func(o *server.Options) { o.JetStream = false }, "without JetStream"},
	} {
		t.Run(name, func(t *testing.T) {
			err := jetstream.Setup(t.Context(), jetstreamtest.Run(t, tc.change).JetStream(), 1)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Setup = %v, want %q", err, tc.want)
			}
		})
	}
}

// TestSetupRefusesOldServers plays a server of before 2.11, which says nothing of an API level.
func TestSetupRefusesOldServers(t *testing.T) {
	srv := jetstreamtest.Run(t, func(o *server.Options) { o.JetStream = false })
	nc := srv.Conn()
	sub, err := nc.Subscribe("$JS.API.INFO", func(m *nats.Msg) {
		answer, err := json.Marshal(map[string]any{"type": "io.nats.jetstream.api.v1.account_info_response", "api": map[string]int{"total": 3}})
		if err != nil {
			t.Error(err)
		}
		if err := m.Respond(answer); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	err = jetstream.Setup(t.Context(), srv.JetStream(), 1)
	if err == nil || !strings.Contains(err.Error(), "2.11") {
		t.Errorf("Setup = %v, want that version 2.11 is needed", err)
	}
}
