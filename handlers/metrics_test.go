package handlers_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		metrics, err := handlers.NewMetrics(reg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := handlers.NewMetrics(reg); err == nil {
			t.Error("NewMetrics of a registry that has them = nil")
		}
		fail := failing(2, refused(handlers.Transient, "KS-T-X"), func() error { return nil })
		target := &fake{UpsertFunc: func(_ context.Context, ref handlers.Ref, _ string, _ *rows.Rows) error {
			if ref.Collection == "bad" {
				return refused(handlers.Permanent, "KS-P-X")
			}
			return fail()
		}}
		b := eventsOf(t, "c", 1)
		apply(t, newHandlers(t, target, handlers.Options{Metrics: metrics}),
			b.define(jetstream.CreateCollection, ""), b.insert("a", row{1, "v"}, row{2, "v"}), b.insert("a", row{1, "w"}),
			b.remove("", 5, 6, 7), eventsOf(t, "bad", 2).insert("a", row{1, "v"}))
		want := `
# HELP kitestream_applied_events_total Events that a target has applied.
# TYPE kitestream_applied_events_total counter
kitestream_applied_events_total{kind="create_collection",target="target",task="task"} 1
kitestream_applied_events_total{kind="delete",target="target",task="task"} 1
kitestream_applied_events_total{kind="insert",target="target",task="task"} 2
# HELP kitestream_applied_rows_total Rows (insert) and keys (delete) in events that a target has applied, before folding.
# TYPE kitestream_applied_rows_total counter
kitestream_applied_rows_total{kind="delete",target="target",task="task"} 3
kitestream_applied_rows_total{kind="insert",target="target",task="task"} 3
# HELP kitestream_target_errors_total Calls that a target refused or did not answer in time.
# TYPE kitestream_target_errors_total counter
kitestream_target_errors_total{class="permanent",target="target",task="task"} 1
kitestream_target_errors_total{class="transient",target="target",task="task"} 2
# HELP kitestream_target_retries_total Calls made again after an error of this class.
# TYPE kitestream_target_retries_total counter
kitestream_target_retries_total{class="transient",target="target",task="task"} 2
# HELP kitestream_target_stops_total Collections that stopped on a target by an error that stays.
# TYPE kitestream_target_stops_total counter
kitestream_target_stops_total{target="target",task="task"} 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "kitestream_applied_events_total",
			"kitestream_applied_rows_total", "kitestream_target_errors_total", "kitestream_target_retries_total",
			"kitestream_target_stops_total"); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
			t.Errorf("promlint: %v %v", problems, err)
		}
		metrics.Forget("task", "target")
		if left, err := reg.Gather(); err != nil || len(left) > 0 {
			t.Errorf("%d metrics are left of a target that is no more (%v)", len(left), err)
		}
	})
}
