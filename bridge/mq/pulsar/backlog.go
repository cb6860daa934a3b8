package pulsar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	backlogEvery = 15 * time.Second
	nearQuota    = 0.7 // of the quota: time to warn
)

// backlog asks the admin API, now and then, how much the broker keeps for the anchors. The client protocol has no word for
// it. Nothing depends on the answers but a metric and a warning.
type backlog struct {
	cfg      Config
	log      *slog.Logger
	http     *http.Client
	anchored func() []*anchor
	bytes    *prometheus.GaugeVec
	cancel   context.CancelFunc
	ended    sync.WaitGroup

	near   map[anchorKey]bool // that were warned of
	failed bool               // the last round, in the log already
}

// watchBacklog begins to ask. Several queues may share a registerer.
func watchBacklog(cfg Config, log *slog.Logger, anchored func() []*anchor) (*backlog, error) {
	b := &backlog{
		cfg: cfg, log: log, anchored: anchored, near: map[anchorKey]bool{},
		http: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{TLSClientConfig: cfg.tlsConfig(), DisableKeepAlives: true}},
		bytes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "kitestream_bridge", Name: "anchor_backlog_bytes",
			Help: "What the source's Pulsar keeps for the bridge in a durable subscription.",
		}, []string{"anchor", "channel"}),
	}
	if cfg.Registerer != nil {
		err := cfg.Registerer.Register(b.bytes)
		var shared prometheus.AlreadyRegisteredError
		if errors.As(err, &shared) {
			if vec, ok := shared.ExistingCollector.(*prometheus.GaugeVec); ok {
				b.bytes, err = vec, nil
			}
		}
		if err != nil {
			return nil, fmt.Errorf("register the backlog metric: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background()) // until stop
	b.cancel = cancel
	b.ended.Go(func() { b.run(ctx) })
	return b, nil
}

func (b *backlog) run(ctx context.Context) {
	t := time.NewTicker(backlogEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			b.round(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// round asks for every channel.
func (b *backlog) round(ctx context.Context) {
	var failed error
	for _, a := range b.anchored() {
		if a.consumer.Load() == nil {
			continue
		}
		s, err := b.stats(ctx, a.anchorKey)
		if err != nil {
			failed = err
			continue
		}
		b.bytes.WithLabelValues(a.subscription(b.cfg), a.channel).Set(float64(s.kept))
		b.warn(a.anchorKey, s)
	}
	if failed != nil && !b.failed && ctx.Err() == nil {
		b.log.Warn("backlog of the anchor subscription is not known", keyError, failed)
	}
	b.failed = failed != nil
}

// warn says once that an anchor comes near its channel's quota.
func (b *backlog) warn(a anchorKey, s stats) {
	near := s.quota > 0 && float64(s.kept) >= nearQuota*float64(s.quota)
	if near && !b.near[a] {
		b.log.Warn("the bridge is so far behind that Pulsar will soon refuse Milvus's messages: let it catch up, or stop the task and free the anchor subscription",
			keyChannel, a.channel, "anchor", a.subscription(b.cfg), "backlog_bytes", s.kept, "quota_bytes", s.quota)
	}
	b.near[a] = near
}

// stats are what the broker keeps for an anchor, and how much it would; -1 is without end.
type stats struct{ kept, quota int64 }

func (b *backlog) stats(ctx context.Context, a anchorKey) (stats, error) {
	channel := a.channel
	address := strings.TrimSuffix(b.cfg.AdminURL, "/") + "/admin/v2/persistent/" + url.PathEscape(b.cfg.Tenant) + "/" +
		url.PathEscape(b.cfg.Namespace) + "/" + url.PathEscape(channel) + "/stats?subscriptionBacklogSize=true"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return stats{}, fmt.Errorf("ask for the backlog of %s: %w", channel, err)
	}
	if err := b.login(req); err != nil {
		return stats{}, err
	}
	res, err := b.http.Do(req)
	if err != nil {
		return stats{}, fmt.Errorf("ask for the backlog of %s: %w", channel, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return stats{}, fmt.Errorf("ask for the backlog of %s: answer %s", channel, res.Status)
	}
	var answer struct {
		BacklogQuotaLimitSize int64
		Subscriptions         map[string]struct{ BacklogSize int64 }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return stats{}, fmt.Errorf("read the backlog of %s: %w", channel, err)
	}
	s, ok := answer.Subscriptions[a.subscription(b.cfg)]
	if !ok {
		return stats{}, fmt.Errorf("read the backlog of %s: there is no subscription %s", channel, a.subscription(b.cfg))
	}
	return stats{kept: s.BacklogSize, quota: answer.BacklogQuotaLimitSize}, nil
}

func (b *backlog) login(req *http.Request) error {
	token := b.cfg.Token
	if b.cfg.TokenFile != "" {
		file, err := os.ReadFile(b.cfg.TokenFile)
		if err != nil {
			return fmt.Errorf("read TokenFile: %w", err)
		}
		token = strings.TrimSpace(string(file))
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return nil
}

// forget drops an anchor's series.
func (b *backlog) forget(a anchorKey) {
	if b != nil {
		b.bytes.DeleteLabelValues(a.subscription(b.cfg), a.channel)
	}
}

func (b *backlog) stop() {
	if b == nil {
		return
	}
	b.cancel()
	b.ended.Wait()
	for _, a := range b.anchored() {
		b.forget(a.anchorKey)
	}
}
