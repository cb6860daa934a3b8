package bridge

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what becomes of every message of the source's queue (Guarantee 5), for all tasks of one process.
type Metrics struct {
	read       *prometheus.CounterVec // task, type
	rows       *prometheus.CounterVec // task, kind
	parked     *prometheus.CounterVec // task, code
	unknown    *prometheus.CounterVec // task, type
	foreign    prometheus.Counter
	repeats    prometheus.Counter
	passedOver prometheus.Counter
	outlived   prometheus.Counter
	covered    prometheus.Counter
	stopped    prometheus.Counter
	behind     *prometheus.GaugeVec   // task
	copied     *prometheus.CounterVec // task
	copying    *prometheus.GaugeVec   // task
	trimmed    *prometheus.CounterVec // task
}

// NewMetrics registers the bridge's metrics. A nil registry keeps them to themselves.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	const ns = "kitestream_bridge"
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: name, Help: help}, labels)
	}
	m := &Metrics{
		read:       vec("messages_read_total", "Messages of selected and of foreign collections read from the source's queue, by Milvus message type.", "task", "type"),
		rows:       vec("rows_published_total", "Rows and keys handed to the stream, by kind of event.", "task", "kind"),
		parked:     vec("messages_parked_total", "Messages that could not be made events and were put into the dead-letter stream, by error code.", "task", "code"),
		unknown:    vec("messages_skipped_total", "Messages of a type that is not replicated, by Milvus message type.", "task", "type"),
		foreign:    counter("messages_foreign_total", "Messages of collections that the task does not select."),
		repeats:    counter("messages_repeated_total", "Messages that a producer sent twice and that were left out the second time."),
		passedOver: counter("messages_stopped_total", "Messages of collections that are stopped on the source side."),
		outlived:   counter("messages_outlived_total", "Messages of partitions that had been dropped on the source."),
		covered:    counter("messages_covered_total", "Messages from before a copy of their collection's rows, which has what they say."),
		stopped:    counter("collections_stopped_total", "Collections that were stopped on the source side."),
		trimmed:    vec("trimmed_events_total", "Events that were removed from the stream: every target had applied them, and they were older than the task's history.", "task"),
		copied:     vec("snapshot_rows_total", "Existing rows that were read through the source's API and handed to the stream.", "task"),
		copying: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Name: "snapshots_running",
			Help: "Collections whose existing rows are still being copied."}, []string{"task"}),
		behind: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Name: "behind_seconds",
			Help: "How old the newest source time is up to which everything is on the stream."}, []string{"task"}),
	}
	if reg != nil {
		reg.MustRegister(m.read, m.rows, m.parked, m.unknown, m.foreign, m.repeats, m.passedOver, m.outlived, m.covered, m.stopped, m.behind, m.copied, m.copying, m.trimmed)
	}
	return m
}
