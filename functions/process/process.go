package process

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"kitestream/functions/config"
	"kitestream/functions/httpd"
	"kitestream/jetstream"
)

// Process is what a Part works with. It is ready for use when the Part is run.
type Process struct {
	Config  config.Config
	Holder  string // this process, as others see it; unique, of letters, digits, '_' and '-'
	Log     *slog.Logger
	Metrics *prometheus.Registry

	NC      *nats.Conn
	JS      natsjs.JetStream
	Buckets *jetstream.Buckets
	Leases  *jetstream.Leases
	Tasks   *jetstream.Tasks

	setUp chan struct{} // closed when the buckets are there
}

// Part is one of the things that a process does. Run is called again when it returns an error while ctx has not ended;
// once ctx has ended it must return within seconds. Ready may be called at any time, by several.
type Part interface {
	Name() string
	Run(ctx context.Context, p *Process) error
	Ready(ctx context.Context) error
}

// MakePart makes a part, once in a process's life: it registers the part's metrics.
type MakePart func(cfg config.Config, metrics prometheus.Registerer) (Part, error)

const (
	stopWithin   = 8 * time.Second // for all parts; with closing what they used it stays below ten
	setupTimeout = 10 * time.Second
	pauseMin     = 250 * time.Millisecond
	pauseMax     = 5 * time.Second
)

// Run runs the parts until ctx ends and they have stopped. The error is of something that waiting can't mend (an address
// in use), or says that a part did not stop in time: then its leases expire.
func Run(ctx context.Context, cfg config.Config, log *slog.Logger, makers []MakePart, more ...nats.Option) error {
	p := &Process{Config: cfg, Holder: holder(), Log: log, Metrics: prometheus.NewRegistry(), setUp: make(chan struct{})}
	p.Metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var parts []Part
	for _, m := range makers {
		part, err := m(cfg, p.Metrics)
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	web, err := p.listen(parts)
	if err != nil {
		return err
	}
	if p.NC, err = connect(servers(cfg), cfg.NATSCreds, "kitestream "+p.Holder, log, more...); err != nil {
		return err
	}
	defer closeConn(p.NC)
	if p.JS, err = natsjs.New(p.NC); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	log.Info("process started", "holder", p.Holder)
	err = p.runParts(ctx, parts, web)
	log.Info("process stopped", "holder", p.Holder)
	return err
}

// servers is where this process finds NATS.
func servers(cfg config.Config) string {
	if cfg.NATSURL == "" {
		return DefaultURL
	}
	return cfg.NATSURL
}

func (p *Process) runParts(ctx context.Context, parts []Part, web *httpd.Server) error {
	g, gctx := errgroup.WithContext(ctx)
	if web != nil {
		p.Log.Info("metrics served", keyURL, "http://"+web.Addr()+"/metrics")
		g.Go(func() error { return web.Run(gctx) })
	}
	g.Go(func() error {
		if err := p.prepare(gctx); err != nil {
			return err
		}
		for _, part := range parts {
			g.Go(func() error { return p.keep(gctx, part) })
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-gctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(stopWithin):
		return errors.New("not everything stopped in time: the leases of what did not expire by themselves")
	}
}

// prepare makes and opens the buckets, once NATS is there. nil when ctx has ended first.
func (p *Process) prepare(ctx context.Context) error {
	return p.again(ctx, "setup", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, setupTimeout)
		defer cancel()
		if err := jetstream.Setup(ctx, p.JS, 1); err != nil {
			return fmt.Errorf("set up JetStream: %w", err)
		}
		var err error
		if p.Buckets, err = jetstream.OpenBuckets(ctx, p.JS); err != nil {
			return err
		}
		if p.Leases, err = jetstream.NewLeases(p.JS, p.Buckets.Leases, jetstream.LeaseConfig{TTL: p.Config.LeaseTTL}); err != nil {
			return err
		}
		p.Tasks = jetstream.NewTasks(p.JS, p.Buckets.Tasks, p.Log)
		close(p.setUp)
		return nil
	})
}

// keep has a part run until ctx ends.
func (p *Process) keep(ctx context.Context, part Part) error {
	return p.again(ctx, part.Name(), func(ctx context.Context) error {
		err := part.Run(ctx, p)
		if err == nil && ctx.Err() == nil {
			err = errors.New("ended by itself")
		}
		return err
	})
}

// again calls fn until it returns nil or ctx has ended, with longer and longer pauses while it fails soon.
func (p *Process) again(ctx context.Context, name string, fn func(context.Context) error) error {
	pause := pauseMin
	for ctx.Err() == nil {
		began := time.Now()
		err := fn(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			if !errors.Is(err, context.Canceled) {
				p.Log.Warn("part stopped with an error", keyPart, name, keyError, err)
			}
			break // to end is what it was told to
		}
		if time.Since(began) > time.Minute {
			pause = pauseMin
		}
		p.Log.Error("part does not run; trying again", keyPart, name, keyError, err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, pauseMax)
	}
	return nil
}

// listen takes the metrics address; nil when none is wanted.
func (p *Process) listen(parts []Part) (*httpd.Server, error) {
	if p.Config.MetricsAddr == "" {
		return nil, nil
	}
	checks := []httpd.Check{{Name: "nats", Ready: p.connected}, {Name: "buckets", Ready: p.bucketsThere}}
	for _, part := range parts {
		checks = append(checks, httpd.Check{Name: part.Name(), Ready: part.Ready})
	}
	web, err := httpd.Listen(p.Config.MetricsAddr, p.Metrics, checks...)
	if err != nil {
		return nil, fmt.Errorf("KITESTREAM_METRICS_ADDR: %w", err)
	}
	return web, nil
}

func (p *Process) connected(context.Context) error {
	if p.NC == nil || !p.NC.IsConnected() {
		return errors.New("not connected")
	}
	return nil
}

func (p *Process) bucketsThere(context.Context) error {
	select {
	case <-p.setUp:
		return nil
	default:
		return errors.New("not set up yet")
	}
}

// holder names this process: host, process id, and something that tells it from one with both in another container.
func holder() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	plain := strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '-'
	}, host)
	return fmt.Sprintf("%s-%d-%s", plain, os.Getpid(), strings.ToLower(rand.Text()[:4]))
}
