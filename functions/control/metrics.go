package control

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kitestream/jetstream"
)

// measureEvery is how old the lag metrics may be.
const measureEvery = 15 * time.Second

// Metrics are what control exports: its own requests, and the lag of every task as task.get computes it.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	lag      *lagGauges
}

// NewMetrics registers control's metrics. A nil registry keeps them to themselves.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kitestream_control_requests_total",
			Help: "Requests answered, by endpoint and error code; the code is \"ok\" where there was no error."}, []string{"endpoint", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kitestream_control_request_seconds",
			Help: "How long requests took.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 9)}, []string{"endpoint"}),
		lag: newLagGauges(),
	}
	if reg == nil {
		return m, nil
	}
	if err := errors.Join(reg.Register(m.requests), reg.Register(m.seconds), reg.Register(m.lag)); err != nil {
		return nil, fmt.Errorf("register control's metrics: %w", err)
	}
	return m, nil
}

func (m *Metrics) request(endpoint string, refusal *Error, took time.Duration) {
	code := "ok"
	if refusal != nil {
		code = string(refusal.Code)
	}
	m.requests.WithLabelValues(endpoint, code).Inc()
	m.seconds.WithLabelValues(endpoint).Observe(took.Seconds())
}

// lagGauges exports the last views. Series of what is not in them any more are gone with them.
type lagGauges struct {
	seconds, rows, pending, stopped, age *prometheus.Desc
	copied, toCopy, copyRate, copyLeft   *prometheus.Desc

	mu    sync.Mutex
	views []*View
	at    time.Time
}

func newLagGauges() *lagGauges {
	collection := []string{"task", "target", "collection"}
	return &lagGauges{
		seconds: prometheus.NewDesc("kitestream_lag_seconds",
			"How far a collection on a target is behind the source: now, less the source time up to which everything is applied. Absent when paused or unknown.", collection, nil),
		rows: prometheus.NewDesc("kitestream_lag_rows",
			"Rows and keys of a collection that are on the stream and not applied to a target. Absent when paused or stopped.", collection, nil),
		stopped: prometheus.NewDesc("kitestream_collection_stopped",
			"1 for a collection that is stopped on a target until somebody sees to it, else 0.", collection, nil),
		pending: prometheus.NewDesc("kitestream_lane_pending_events",
			"Events on the stream that a lane of a target has not applied.", []string{"task", "target", "lane"}, nil),
		age: prometheus.NewDesc("kitestream_lag_age_seconds",
			"How old the lag metrics are; they are taken every 15 seconds while NATS answers.", nil, nil),
		copied: prometheus.NewDesc("kitestream_snapshot_rows",
			"Existing rows of a collection that its last copy has read from the source and put on the stream.", collection, nil),
		toCopy: prometheus.NewDesc("kitestream_snapshot_rows_expected",
			"Rows that there were when the bridge began with the copy. Absent when not known.", collection, nil),
		copyRate: prometheus.NewDesc("kitestream_snapshot_rows_per_second",
			"How fast the copy goes. Absent when none is under way.", collection, nil),
		copyLeft: prometheus.NewDesc("kitestream_snapshot_seconds_left",
			"How long the copy takes still, at that rate. Absent when none is under way.", collection, nil),
	}
}

// set replaces what is exported.
func (g *lagGauges) set(at time.Time, views []*View) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.views, g.at = views, at
}

// Describe is part of prometheus.Collector.
func (g *lagGauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.seconds, g.rows, g.stopped, g.pending, g.age, g.copied, g.toCopy, g.copyRate, g.copyLeft} {
		out <- d
	}
}

// Collect is part of prometheus.Collector.
func (g *lagGauges) Collect(out chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at.IsZero() {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(g.age, time.Since(g.at).Seconds())
	for _, v := range g.views {
		for _, t := range v.Targets {
			seen := map[string]bool{} // a name twice, while one is dropped and made again, would void the whole scrape
			for _, c := range t.Collections {
				if name := c.Database + "." + c.Collection; !seen[name] {
					seen[name] = true
					g.collection(gauge, []string{v.Name, t.Name, name}, c)
				}
			}
			for _, l := range t.Lanes {
				gauge(g.pending, float64(l.Pending), v.Name, t.Name, strconv.Itoa(l.Lane))
			}
		}
	}
}

func (g *lagGauges) collection(gauge func(*prometheus.Desc, float64, ...string), labels []string, c CollectionView) {
	var stopped float64
	if c.State == Stopped {
		stopped = 1
	}
	gauge(g.stopped, stopped, labels...)
	if c.Seconds != nil {
		gauge(g.seconds, *c.Seconds, labels...)
	}
	if c.Rows != nil {
		gauge(g.rows, float64(*c.Rows), labels...)
	}
	s := c.Snapshot
	if s == nil {
		return
	}
	gauge(g.copied, float64(s.Rows), labels...)
	if s.Total > 0 {
		gauge(g.toCopy, float64(s.Total), labels...)
	}
	if !s.Done && s.Rate > 0 {
		gauge(g.copyRate, s.Rate, labels...)
		gauge(g.copyLeft, s.Seconds, labels...)
	}
}

// measure takes the lag of all tasks again and again.
func (s *Service) measure(ctx context.Context) error {
	t := time.NewTicker(measureEvery)
	defer t.Stop()
	for {
		if err := s.measureOnce(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Debug("lag not measured", "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Service) measureOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shortTimeout)
	defer cancel()
	tasks, all := s.cfg.Tasks.List(ctx)
	if all != nil && len(tasks) == 0 {
		return all
	}
	var views []*View
	for i := range tasks {
		if tasks[i].State == jetstream.TaskDeleting {
			continue
		}
		f, err := s.look(ctx, &tasks[i])
		if err != nil { // Guarantee 6: the others are measured
			all = errors.Join(all, err)
			continue
		}
		views = append(views, f.view())
	}
	s.metrics.lag.set(time.Now(), views)
	return all
}
