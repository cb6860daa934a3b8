package jetstream

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// PublisherMetrics counts what the publishers of one process do, by task.
type PublisherMetrics struct {
	events, bytes, known, resyncs *prometheus.CounterVec
	ackSeconds                    *prometheus.HistogramVec
	inFlight, waiting             *prometheus.GaugeVec
}

// NewPublisherMetrics registers the metrics. A process has one of it, for all its publishers.
func NewPublisherMetrics(reg prometheus.Registerer) (*PublisherMetrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"task"})
	}
	m := &PublisherMetrics{
		events:  counter("kitestream_published_events_total", "Events that the stream has acknowledged, each once.", "task", "kind"),
		bytes:   counter("kitestream_published_bytes_total", "Headers and bodies of the events that the stream has acknowledged.", "task", "kind"),
		known:   counter("kitestream_publish_known_events_total", "Events given to the publisher that the stream held already.", "task"),
		resyncs: counter("kitestream_publish_resyncs_total", "Times the publisher looked into the stream for what it holds, after an answer was missing or bad.", "task"),
		ackSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kitestream_publish_ack_seconds", Help: "Time from an event's first sending to its acknowledgement.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"task"}),
		inFlight: gauge("kitestream_publish_in_flight_events", "Events sent and not acknowledged."),
		waiting:  gauge("kitestream_publish_waiting", "1 while the stream takes no events, say because it is full; else 0."),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.events, m.bytes, m.known, m.resyncs, m.ackSeconds, m.inFlight, m.waiting} {
		if err := reg.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("register publisher metrics: %w", err))
		}
	}
	return m, errors.Join(errs...)
}

// taskMetrics are the metrics of one publisher, with the labels looked up.
type taskMetrics struct {
	task              string
	all               *PublisherMetrics
	kinds             map[Kind]kindMetrics
	known, resyncs    prometheus.Counter
	ackSeconds        prometheus.Observer
	inFlight, waiting prometheus.Gauge
}

type kindMetrics struct{ events, bytes prometheus.Counter }

func (m *PublisherMetrics) forTask(task string) *taskMetrics {
	return &taskMetrics{
		task: task, all: m, kinds: make(map[Kind]kindMetrics),
		known: m.known.WithLabelValues(task), resyncs: m.resyncs.WithLabelValues(task),
		ackSeconds: m.ackSeconds.WithLabelValues(task),
		inFlight:   m.inFlight.WithLabelValues(task), waiting: m.waiting.WithLabelValues(task),
	}
}

func (m *taskMetrics) published(k Kind, bytes int, seconds float64) {
	km, ok := m.kinds[k]
	if !ok {
		km = kindMetrics{m.all.events.WithLabelValues(m.task, string(k)), m.all.bytes.WithLabelValues(m.task, string(k))}
		m.kinds[k] = km
	}
	km.events.Inc()
	km.bytes.Add(float64(bytes))
	m.ackSeconds.Observe(seconds)
}

// stopped takes back what is true of a running publisher only.
func (m *taskMetrics) stopped() {
	m.all.inFlight.DeleteLabelValues(m.task)
	m.all.waiting.DeleteLabelValues(m.task)
}
