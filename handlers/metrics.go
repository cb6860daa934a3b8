package handlers

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of all the Handlers in a process. Their labels are bounded: tasks and targets by what is
// configured, the rest by this program.
type Metrics struct {
	events         *prometheus.CounterVec   // task, target, kind
	rows           *prometheus.CounterVec   // task, target, kind
	filteredEvents *prometheus.CounterVec   // task, target, kind
	filteredRows   *prometheus.CounterVec   // task, target, kind
	ruleFailures   *prometheus.CounterVec   // task, target
	errors         *prometheus.CounterVec   // task, target, class
	retries        *prometheus.CounterVec   // task, target, class
	stops          *prometheus.CounterVec   // task, target
	unmet          *prometheus.CounterVec   // task, target, kind
	seconds        *prometheus.HistogramVec // task, target, op
	callRows       *prometheus.HistogramVec // task, target, op
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := newMetrics()
	for _, c := range m.all() {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of handlers: %w", err)
		}
	}
	return m, nil
}

func newMetrics() *Metrics {
	counter := func(name, help, label string) *prometheus.CounterVec {
		labels := []string{"task", "target"}
		if label != "" {
			labels = append(labels, label)
		}
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets},
			[]string{"task", "target", "op"})
	}
	return &Metrics{
		events: counter("kitestream_applied_events_total", "Events that a target has applied.", "kind"),
		rows: counter("kitestream_applied_rows_total",
			"Rows (insert) and keys (delete) in events that a target has applied, before folding.", "kind"),
		filteredEvents: counter("kitestream_filtered_events_total", "Events of which a task's rules leave nothing to apply.", "kind"),
		filteredRows: counter("kitestream_filtered_rows_total",
			"Rows (insert) and keys (delete) that a task's rules leave out. With the applied ones they are all.", "kind"),
		ruleFailures: counter("kitestream_rule_failures_total",
			"Rows for which a rule's expression could not be evaluated. They are among the filtered ones.", ""),
		errors:  counter("kitestream_target_errors_total", "Calls that a target refused or did not answer in time.", "class"),
		retries: counter("kitestream_target_retries_total", "Calls made again after an error of this class.", "class"),
		stops:   counter("kitestream_target_stops_total", "Collections that stopped on a target by an error that stays.", ""),
		unmet: counter("kitestream_target_refused_settings_total",
			"Settings and flushes that a target refused for good, and that it goes on without.", "kind"),
		seconds: histogram("kitestream_target_call_seconds", "How long one call to a target took.",
			prometheus.ExponentialBuckets(0.001, 2, 16)),
		callRows: histogram("kitestream_target_call_rows", "Rows or keys in one call to a target.",
			prometheus.ExponentialBuckets(1, 4, 8)),
	}
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.events, m.rows, m.filteredEvents, m.filteredRows, m.ruleFailures, m.errors, m.retries, m.stops, m.unmet, m.seconds, m.callRows}
}

// Forget removes what was counted for a target of a task that is no more.
func (m *Metrics) Forget(task, target string) {
	labels := prometheus.Labels{"task": task, "target": target}
	for _, v := range []*prometheus.CounterVec{m.events, m.rows, m.filteredEvents, m.filteredRows, m.ruleFailures, m.errors, m.retries, m.stops, m.unmet} {
		v.DeletePartialMatch(labels)
	}
	m.seconds.DeletePartialMatch(labels)
	m.callRows.DeletePartialMatch(labels)
}
