package jetstream_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kitestream/jetstream"
)

func TestPublisherMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := jetstream.NewPublisherMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jetstream.NewPublisherMetrics(reg); err == nil {
		t.Error("the same registry took the metrics twice")
	}
	r := newPubRig(t, jetstream.StreamConfig{})
	u := r.open(r.srv.JetStream(), func(c *jetstream.PublisherConfig) { c.Metrics = m })
	r.publish(u, 0, 10, 100)
	r.flush(u)
	r.publish(u, 0, 1, 100) // known
	r.flush(u)
	r.srv.Cut()
	r.publish(u, 10, 20, 100)
	r.flush(u)

	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("metric %s: %s", p.Metric, p.Text)
	}
	want := `
# HELP kitestream_publish_in_flight_events Events sent and not acknowledged.
# TYPE kitestream_publish_in_flight_events gauge
kitestream_publish_in_flight_events{task="orders"} 0
# HELP kitestream_publish_known_events_total Events given to the publisher that the stream held already.
# TYPE kitestream_publish_known_events_total counter
kitestream_publish_known_events_total{task="orders"} 1
# HELP kitestream_publish_waiting 1 while the stream takes no events, say because it is full; else 0.
# TYPE kitestream_publish_waiting gauge
kitestream_publish_waiting{task="orders"} 0
# HELP kitestream_published_events_total Events that the stream has acknowledged, each once.
# TYPE kitestream_published_events_total counter
kitestream_published_events_total{kind="insert",task="orders"} 20
`
	names := []string{"kitestream_published_events_total", "kitestream_publish_known_events_total", "kitestream_publish_in_flight_events", "kitestream_publish_waiting"}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	u.cancel()
	_ = r.end(u)
	if n, err := testutil.GatherAndCount(reg, "kitestream_publish_in_flight_events", "kitestream_publish_waiting"); err != nil || n != 0 {
		t.Errorf("%d gauges of a publisher that has ended, %v", n, err)
	}
	r.wantExactly(20)
}
