package handlers

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kitestream/jetstream"
)

// TestEveryKindHasADefinition also shows that an event of one that has none is not passed over.
func TestEveryKindHasADefinition(t *testing.T) {
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(nil, Options{Task: "t", Target: "a", Until: func() (never time.Time) { return never }, Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	const later jetstream.Kind = "of_a_later_version"
	for _, k := range append(jetstream.Kinds(), later) {
		if _, ok := h.table[k]; ok || k.Rows() {
			continue
		}
		r := h.Apply(t.Context(), []*jetstream.Event{{ID: "1", Kind: k, Database: "db", Collection: "c", CollectionID: 7}})
		passed := r.Err == nil && len(r.Stopped) == 0
		if passed != k.ForBridges() {
			t.Errorf("an event of kind %s, which has no definition, ends in %+v", k, r)
		}
		if !k.ForBridges() && k != later {
			t.Errorf("kind %s has no definition", k)
		}
	}
}
