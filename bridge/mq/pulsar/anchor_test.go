//go:build servers

package pulsar_test

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kitestream/bridge/mq/mqtest"
	"kitestream/bridge/mq/pulsar"
)

// TestAnchor has a Pulsar as it is without any settings: what nobody is subscribed to is gone.
func TestAnchor(t *testing.T) {
	p := start(t, map[string]string{"defaultRetentionTimeInMinutes": "0", "defaultRetentionSizeInMB": "0"})
	w := newWriter(t, p)
	mqtest.Must(t, errorUnless(w.namespace(t, "/backlogQuota?backlogQuotaType=destination_storage", `{"limitSize":1000000,"limitTime":-1,"policy":"producer_exception"}`)))
	reg := prometheus.NewRegistry()
	var out mqtest.Log
	cfg := pulsar.DefaultConfig()
	cfg.URL, cfg.AdminURL = p.URL, p.AdminURL
	cfg.Anchor, cfg.AnchorName, cfg.Registerer = true, "ks", reg
	connect := func() *pulsar.Queue {
		q, err := pulsar.Connect(cfg, out.Logger(slog.LevelInfo))
		mqtest.Must(t, err)
		t.Cleanup(func() { mqtest.Must(t, q.Close()) })
		return q
	}
	q := connect()

	mqtest.Must(t, q.Release(t.Context(), "task", "nowhere", "1:1")) // no topic, none is made
	at := w.append(t, "anchored", mqtest.Numbered(0, 10, 100)...)
	w.append(t, "loose", mqtest.Numbered(0, 10, 100)...)
	mqtest.Must(t, q.Release(t.Context(), "task", "anchored", at[4]))
	for _, channel := range []string{"anchored", "loose"} {
		w.roll(t, channel)
		w.append(t, channel, mqtest.Numbered(10, 10, 100)...)
		w.trimmed(t, channel)
	}
	mqtest.Expect(t, mqtest.Open(t, q, "anchored", at[4]), 4, 20) // over the end of a ledger that is kept
	if loose := w.ledgers(t, "loose"); len(loose) != 1 {
		t.Errorf("without an anchor there are still ledgers %v", loose)
	}
	if status, answer := w.call(t, http.MethodGet, "nowhere/stats", ""); status != http.StatusNotFound {
		t.Errorf("topic of a release: %d %s", status, answer)
	}

	q2 := connect() // a second process, while the first is still there
	last := w.last["anchored"]
	mqtest.Must(t, q2.Release(t.Context(), "task", "anchored", last))
	old, _ := place(t, at[0])
	for deadline := time.Now().Add(mqtest.Patience); slices.Contains(w.ledgers(t, "anchored"), old); time.Sleep(100 * time.Millisecond) {
		w.trimmed(t, "anchored")
		if time.Now().After(deadline) {
			t.Fatal("what was released is kept")
		}
	}
	mqtest.Expect(t, mqtest.Open(t, q, "anchored", last), 19, 20)

	w.append(t, "anchored", mqtest.Numbered(20, 800, 1000)...)
	mqtest.Eventually(t, "a warning before the quota", func() bool { return strings.Contains(out.String(), "soon refuse") })
	if n, err := testutil.GatherAndCount(reg, "kitestream_bridge_anchor_backlog_bytes"); err != nil || n != 1 {
		t.Errorf("%d series of the backlog, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metric: %v, %v", problems, err)
	}

	if err := q2.Abandon(t.Context(), "task", "anchored"); err == nil {
		t.Error("the subscription could be given up while another process has it, and would make it again")
	}
	q.Leave("task")
	mqtest.Must(t, q2.Abandon(t.Context(), "task", "anchored"))
	if stats := w.do(t, http.MethodGet, "anchored/stats"); strings.Contains(stats, `"ks-task":{`) {
		t.Errorf("the subscription is still there: %s", stats)
	}
}

// TestNoAnchor: without the setting, nothing is asked of the broker.
func TestNoAnchor(t *testing.T) {
	q := unconnected(t)
	mqtest.Must(t, q.Release(t.Context(), "task", "anchored", "1:1"))
	mqtest.Must(t, q.Abandon(t.Context(), "task", "anchored"))
}

// trimmed lets the broker remove what it need not keep.
func (w *writer) trimmed(t testing.TB, channel string) {
	t.Helper()
	mqtest.Must(t, errorUnless(w.post(t, channel+"/trim", "")))
	time.Sleep(300 * time.Millisecond)
}
