package host

import (
	"github.com/prometheus/client_golang/prometheus"

	"kitestream/functions/verify"
	"kitestream/jetstream"
)

// Metrics are those of lanes, beside what the handlers count.
type Metrics struct {
	passedOver *prometheus.CounterVec // task, target
	parked     *prometheus.CounterVec // task, target
	stopped    *prometheus.CounterVec // task, target
	unmet      *prometheus.GaugeVec   // task, target
	held       prometheus.Gauge
	verified   *prometheus.GaugeVec // task, target
	verifiedAt *prometheus.GaugeVec // task, target
}

// NewMetrics registers the metrics of lanes. A nil registry keeps them to themselves.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "kitestream_worker", Name: name, Help: help}, []string{"task", "target"})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "kitestream_worker", Name: name, Help: help}, []string{"task", "target"})
	}
	m := &Metrics{
		passedOver: vec("rows_passed_over_total", "Rows and keys passed over because their collection has stopped on the target."),
		parked:     vec("events_parked_total", "Events that could not be read and were put into the dead-letter stream."),
		stopped:    vec("collections_stopped_total", "Collections that stopped on a target."),
		unmet:      gauge("settings_unmet", "Settings that the target refused and goes on without. Every process that applies lanes of the target says the same."),
		verified: gauge("verified",
			"How the last verification of the whole target ended: 1 equal, 0 different, -1 it could not be told. Every process that has the source's API says the same."),
		verifiedAt: gauge("verified_timestamp_seconds", "When that was."),
		held:       prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "kitestream_worker", Name: "lanes_held", Help: "Lanes that this process holds."}),
	}
	if reg != nil {
		reg.MustRegister(m.passedOver, m.parked, m.stopped, m.unmet, m.held, m.verified, m.verifiedAt)
	}
	return m
}

// verdict shows the last verdict about a target.
func (m *Metrics) verdict(task, target string, v jetstream.Verdict) {
	value := map[string]float64{string(verify.Equal): 1, string(verify.Different): 0}
	n, ok := value[v.Verdict]
	if !ok {
		n = -1
	}
	m.verified.WithLabelValues(task, target).Set(n)
	m.verifiedAt.WithLabelValues(task, target).Set(float64(v.At.Unix()))
}
