package host

import "github.com/prometheus/client_golang/prometheus"

// Metrics are those of lanes, beside what the handlers count.
type Metrics struct {
	passedOver *prometheus.CounterVec // task, target
	parked     *prometheus.CounterVec // task, target
	stopped    *prometheus.CounterVec // task, target
	unmet      *prometheus.GaugeVec   // task, target
	held       prometheus.Gauge
}

// NewMetrics registers the metrics of lanes. A nil registry keeps them to themselves.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "kitestream_worker", Name: name, Help: help}, []string{"task", "target"})
	}
	m := &Metrics{
		passedOver: vec("rows_passed_over_total", "Rows and keys passed over because their collection has stopped on the target."),
		parked:     vec("events_parked_total", "Events that could not be read and were put into the dead-letter stream."),
		stopped:    vec("collections_stopped_total", "Collections that stopped on a target."),
		unmet: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "kitestream_worker", Name: "settings_unmet",
			Help: "Settings that the target refused and goes on without. Every process that applies lanes of the target says the same."}, []string{"task", "target"}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "kitestream_worker", Name: "lanes_held", Help: "Lanes that this process holds."}),
	}
	if reg != nil {
		reg.MustRegister(m.passedOver, m.parked, m.stopped, m.unmet, m.held)
	}
	return m
}
