package process_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kitestream/functions/config"
	"kitestream/functions/process"
	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// part is a Part of functions.
type part struct {
	RunFunc   func(ctx context.Context, p *process.Process) error
	ReadyFunc func() error
}

func (p *part) Name() string                                       { return "part" }
func (p *part) Run(ctx context.Context, in *process.Process) error { return p.RunFunc(ctx, in) }
func (p *part) Ready(context.Context) error {
	if p.ReadyFunc == nil {
		return nil
	}
	return p.ReadyFunc()
}

func (p *part) make(config.Config, prometheus.Registerer) (process.Part, error) { return p, nil }

// start runs a process of one part; the returned function stops it and gives Run's error.
func start(t *testing.T, cfg config.Config, p *part) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- process.Run(ctx, cfg, process.Log(t.Output(), cfg), []process.MakePart{p.make}) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	return stop
}

func settings(url string) config.Config {
	cfg := config.Default()
	cfg.NATSURL, cfg.MetricsAddr, cfg.LeaseTTL = url, "", time.Second
	return cfg
}

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("not within 30 s: %s", what)
	}
}

func TestPartsFindEverythingReady(t *testing.T) {
	srv := jetstreamtest.Run(t)
	done := make(chan struct{})
	p := &part{RunFunc: func(ctx context.Context, p *process.Process) error {
		if !regexp.MustCompile(`^[A-Za-z0-9_-]+-\d+-[a-z0-9]{4}$`).MatchString(p.Holder) {
			t.Errorf("holder is %q", p.Holder)
		}
		lease, err := p.Leases.Acquire(ctx, "test", p.Holder)
		if err != nil {
			t.Error(err)
			return nil
		}
		if _, err := p.Tasks.Create(ctx, jetstream.TaskSpec{Name: "a", Select: []jetstream.Selection{{Collections: []string{"*"}}},
			Targets: []jetstream.TargetSpec{{Name: "x", URI: "http://h:1"}}}); err != nil {
			t.Error(err)
		}
		if err := lease.Release(ctx); err != nil {
			t.Error(err)
		}
		close(done)
		<-ctx.Done()
		return ctx.Err()
	}}
	stop := start(t, settings(srv.URL()), p)
	within(t, "the part ran", done)
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

// A part that fails is run again, and so is one that ends by itself.
func TestPartsAreRunAgain(t *testing.T) {
	srv := jetstreamtest.Run(t)
	var runs atomic.Int32
	third := make(chan struct{})
	stop := start(t, settings(srv.URL()), &part{RunFunc: func(ctx context.Context, _ *process.Process) error {
		switch runs.Add(1) {
		case 1:
			return errors.New("no luck")
		case 2:
			return nil
		}
		close(third)
		<-ctx.Done()
		return ctx.Err()
	}})
	within(t, "the third run", third)
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

// A process that comes before its NATS waits for it.
func TestWaitsForNATS(t *testing.T) {
	srv := jetstreamtest.Run(t)
	srv.Stop()
	ran := make(chan struct{})
	stop := start(t, settings(srv.URL()), &part{RunFunc: func(ctx context.Context, _ *process.Process) error {
		close(ran)
		<-ctx.Done()
		return nil
	}})
	select {
	case <-ran:
		t.Fatal("the part ran without NATS")
	case <-time.After(500 * time.Millisecond):
	}
	srv.Start()
	within(t, "the part ran when NATS was there", ran)
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

// A part that does not stop is not waited for beyond what the ten seconds leave.
func TestStopIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 8 s")
	}
	srv := jetstreamtest.Run(t)
	ran, never := make(chan struct{}), make(chan struct{})
	defer close(never)
	stop := start(t, settings(srv.URL()), &part{RunFunc: func(context.Context, *process.Process) error {
		close(ran)
		<-never
		return nil
	}})
	within(t, "the part ran", ran)
	began := time.Now()
	err := stop()
	if err == nil || !strings.Contains(err.Error(), "not everything stopped in time") || time.Since(began) > 10*time.Second {
		t.Errorf("Run = %v after %v", err, time.Since(began))
	}
}

func TestMakersFail(t *testing.T) {
	cfg := settings("nats://127.0.0.1:1")
	broken := func(config.Config, prometheus.Registerer) (process.Part, error) {
		return nil, errors.New("two of a kind")
	}
	err := process.Run(t.Context(), cfg, process.Log(t.Output(), cfg), []process.MakePart{broken})
	if fmt.Sprint(err) != "two of a kind" {
		t.Errorf("Run = %v", err)
	}
}
