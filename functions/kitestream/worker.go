package main

import (
	"context"
	"errors"
	"os"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"kitestream/functions/config"
	"kitestream/functions/host"
	"kitestream/functions/process"
	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/jetstream"
)

func newWorker() *cobra.Command {
	return withSettings(&cobra.Command{
		Use: "worker", Short: "Apply events to targets",
		Long: "Apply events to targets. Any number of these may run: they share all lanes evenly, and take over those of one\n" +
			"that is gone. Tokens of targets are read from this process's environment and files, as the tasks say. Those with\n" +
			"KITESTREAM_SOURCE_MILVUS_URI also compare targets with their source, for 'kitestream verify' and by themselves.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := settings(config.Worker)
			if err != nil {
				return err
			}
			process.KeepMemory(process.SoftMemory)
			log := process.Log(c.ErrOrStderr(), cfg)
			return failed(process.Run(c.Context(), cfg, log, []process.MakePart{newWorkerPart}))
		},
	}, config.Worker)
}

// workerPart applies this process's share of the lanes.
type workerPart struct {
	secret  *jetstream.SecretKey
	metrics *host.Metrics
	apply   *handlers.Metrics
	running atomic.Bool
}

func newWorkerPart(cfg config.Config, reg prometheus.Registerer) (process.Part, error) {
	m, err := handlers.NewMetrics(reg)
	secret, serr := secretKey(cfg)
	return &workerPart{metrics: host.NewMetrics(reg), apply: m, secret: secret}, errors.Join(err, serr)
}

// secretKey is the key that seals passwords, or nil.
func secretKey(cfg config.Config) (*jetstream.SecretKey, error) {
	if cfg.SecretKeyFile == "" {
		return nil, nil
	}
	return jetstream.ReadSecretKey(cfg.SecretKeyFile)
}

// Name is part of process.Part.
func (w *workerPart) Name() string { return "workers" }

// Run is part of process.Part.
func (w *workerPart) Run(ctx context.Context, p *process.Process) error {
	w.running.Store(true)
	defer w.running.Store(false)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return host.NewLanes(host.LanesConfig{
			NC: p.NC, JS: p.JS, Buckets: p.Buckets, Leases: p.Leases, Tasks: p.Tasks, Connect: openTarget, Holder: p.Holder,
			Log: p.Log, Metrics: w.metrics, Apply: w.apply, Secret: w.secret,
		}).Run(ctx)
	})
	if p.Config.SourceMilvusURI != "" {
		g.Go(func() error { return newVerifier(p, w).Run(ctx) })
	}
	return g.Wait()
}

// Ready is part of process.Part.
func (w *workerPart) Ready(context.Context) error {
	if !w.running.Load() {
		return errors.New("not running")
	}
	return nil
}

// openTarget opens a target cluster with the token that its task names.
func openTarget(ctx context.Context, t jetstream.TargetSpec) (host.Target, error) {
	token, err := t.Token(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	return milvus.Open(ctx, milvus.Config{URI: t.URI, Token: token})
}
