package catalog

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the catalogue's. They have no labels: what tells catalogues apart is in the registerer.
type metrics struct {
	reg             prometheus.Registerer // nil: nowhere
	registered      []prometheus.Collector
	relists         prometheus.Counter
	watchErrors     prometheus.Counter
	revision        prometheus.Gauge
	unreadable      prometheus.Gauge
	unreadableTotal prometheus.Counter
	syncSeconds     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const prefix = "kitestream_catalog_"
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
	}
	m := &metrics{
		reg:             reg,
		relists:         counter("relists_total", "Times the source's meta was listed anew because a watch could not go on."),
		watchErrors:     counter("watch_errors_total", "Watches of the source's etcd that ended."),
		revision:        gauge("revision", "Revision of the source's etcd up to which its meta is known."),
		unreadable:      gauge("unreadable_keys", "Keys of the source's meta that do not decode now and whose objects are left out."),
		unreadableTotal: counter("unreadable_keys_total", "Keys of the source's meta that were found not to decode."),
		syncSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "sync_seconds", Help: "Time until the source's meta was known to be up to date, failures included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.relists, m.watchErrors, m.revision, m.unreadable, m.unreadableTotal, m.syncSeconds} {
		if err := reg.Register(c); err != nil {
			m.unregister()
			return nil, err
		}
		m.registered = append(m.registered, c)
	}
	return m, nil
}

// unregister takes back only what was registered: another catalogue's metrics of the same names are not ours.
func (m *metrics) unregister() {
	for _, c := range m.registered {
		m.reg.Unregister(c)
	}
}

// timeSync measures until the function it returns is called.
func (m *metrics) timeSync() func() {
	began := time.Now()
	return func() { m.syncSeconds.Observe(time.Since(began).Seconds()) }
}
