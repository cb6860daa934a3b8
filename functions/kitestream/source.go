package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"kitestream/bridge"
	"kitestream/bridge/catalog"
	"kitestream/functions/config"
	"kitestream/functions/host"
	"kitestream/functions/process"
	"kitestream/jetstream"
)

// bridgePart runs the bridges of one source.
type bridgePart struct {
	secret  *jetstream.SecretKey
	metrics *bridge.Metrics
	publish *jetstream.PublisherMetrics
	reg     prometheus.Registerer
	catalog atomic.Pointer[catalog.Catalog] // while it is open
}

func newBridgePart(cfg config.Config, reg prometheus.Registerer) (process.Part, error) {
	m, err := jetstream.NewPublisherMetrics(reg)
	secret, serr := secretKey(cfg)
	return &bridgePart{metrics: bridge.NewMetrics(reg), publish: m, reg: reg, secret: secret}, errors.Join(err, serr)
}

// Name is part of process.Part.
func (b *bridgePart) Name() string { return "bridges" }

// Run is part of process.Part.
func (b *bridgePart) Run(ctx context.Context, p *process.Process) (err error) {
	queue, err := connectQueue(p.Config, b.reg, p.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, queue.Close()) }()
	meta, err := catalog.Open(ctx, catalog.Config{
		Endpoints: p.Config.SourceEtcdEndpoints, Root: p.Config.SourceEtcdRoot, Meta: p.Config.SourceEtcdMeta, Metrics: b.reg,
	}, p.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, meta.Close()) }()
	b.catalog.Store(meta)
	defer b.catalog.Store(nil)
	api := newSourceAPI(p.Config)
	defer func() { err = errors.Join(err, api.close()) }()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return meta.Run(gctx) })
	g.Go(func() error {
		return host.NewBridges(host.BridgesConfig{
			NC: p.NC, JS: p.JS, Buckets: p.Buckets, Leases: p.Leases, Tasks: p.Tasks, Source: p.Config.SourceName, Catalog: meta,
			Queue: queue, Holder: p.Holder, Log: p.Log, Metrics: b.metrics, Publish: jetstream.PublisherConfig{Metrics: b.publish}, Secret: b.secret, API: api.forBridges(),
		}).Run(gctx)
	})
	return g.Wait()
}

// Ready is part of process.Part.
func (b *bridgePart) Ready(context.Context) error {
	c := b.catalog.Load()
	if c == nil {
		return errors.New("the source's catalogue is not read yet")
	}
	return c.Health().Err
}
