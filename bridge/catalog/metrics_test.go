package catalog

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := newMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	m.timeSync()()
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n != 6 {
		t.Errorf("%d metrics, %v", n, err)
	}
	if _, err := newMetrics(reg); err == nil {
		t.Error("registered twice on one registerer")
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n != 6 {
		t.Errorf("the refused one took %d metrics of the other with it, %v", 6-n, err)
	}
	m.unregister()
	if _, err := newMetrics(reg); err != nil {
		t.Errorf("register again after unregister: %v", err)
	}
	if _, err := newMetrics(nil); err != nil {
		t.Error(err)
	}
}
