package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"kitestream/functions/config"
	"kitestream/functions/control"
	"kitestream/functions/process"
)

func newControl() *cobra.Command {
	return withSettings(&cobra.Command{
		Use: "control", Short: "Answer requests about tasks",
		Long: "Answer requests about tasks: the NATS micro service \"kitestream\". Any number of these may run.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := settings(config.Control)
			if err != nil {
				return err
			}
			log := process.Log(c.ErrOrStderr(), cfg)
			return failed(process.Run(c.Context(), cfg, log, []process.MakePart{newControlPart}))
		},
	}, config.Control)
}

// controlPart runs the control service.
type controlPart struct {
	metrics *control.Metrics
	running atomic.Bool
}

func newControlPart(_ config.Config, reg prometheus.Registerer) (process.Part, error) {
	m, err := control.NewMetrics(reg)
	return &controlPart{metrics: m}, err
}

// Name is part of process.Part.
func (c *controlPart) Name() string { return "control" }

// Run is part of process.Part.
func (c *controlPart) Run(ctx context.Context, p *process.Process) error {
	c.running.Store(true)
	defer c.running.Store(false)
	return control.New(control.Config{
		NC: p.NC, JS: p.JS, Buckets: p.Buckets, Tasks: p.Tasks, Leases: p.Leases, Holder: p.Holder, TTL: p.Config.LeaseTTL,
		Log: p.Log, Metrics: c.metrics,
	}).Run(ctx)
}

// Ready is part of process.Part.
func (c *controlPart) Ready(context.Context) error {
	if !c.running.Load() {
		return errors.New("not running")
	}
	return nil
}
