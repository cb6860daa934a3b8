// Command demo shows Kitestream at work, on real parts: it starts two Milvus servers and `kitestream up`, creates a task,
// writes to the source for a while, and then compares source and target row by row. It exits with 0 only if they are
// equal, and leaves nothing running unless told to (-keep).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"golang.org/x/sync/errgroup"

	"kitestream/test/load"
	"kitestream/test/oracle"
	"kitestream/test/run"
	"kitestream/test/servers"
)

func main() {
	keep := flag.Bool("keep", false, "leave everything running at the end")
	seconds := flag.Int("seconds", 20, "how long to write to the source")
	bin := flag.String("bin", "bin/kitestream", "the kitestream binary")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	d := &demo{keep: *keep, writing: time.Duration(*seconds) * time.Second}
	err := d.run(ctx, *bin)
	cancel()
	if cerr := d.close(err); cerr != nil {
		err = errors.Join(err, cerr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one run: what it has started, in that order.
type demo struct {
	keep     bool
	writing  time.Duration
	bin, dir string
	source   *servers.Milvus
	target   *servers.Milvus
	up       *run.Process
	nats     string
}

const taskFile = `name: demo
select:
  - {database: default, collections: ["*"], exclude: ["tmp_*"]}
lanes: 4
targets:
  - {name: standby, uri: "%s"}
`

func (d *demo) run(ctx context.Context, bin string) error {
	var err error
	if d.bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "kitestream-demo-"); err != nil {
		return err
	}
	if err := d.startServers(ctx); err != nil {
		return err
	}
	if err := d.startUp(ctx); err != nil {
		return err
	}
	c, err := client.NewClient(ctx, client.Config{Address: d.source.Addr})
	if err != nil {
		return fmt.Errorf("connect to the source: %w", err)
	}
	defer func() { _ = c.Close() }()
	w := load.New(c, uint64(time.Now().UnixNano()), "")
	say("Making five collections on the source: partitions, auto-ID, VarChar keys, JSON, arrays, binary vectors, a partition key")
	if err := w.Setup(ctx); err != nil {
		return err
	}
	if err := d.createTask(ctx); err != nil {
		return err
	}
	if err := d.write(ctx, w); err != nil {
		return err
	}
	return d.compare(ctx)
}

func (d *demo) startServers(ctx context.Context) error {
	began := time.Now()
	say("Starting two real Milvus 2.3.5 servers (the first time, this downloads 53 MB)")
	if err := servers.Fetch(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		d.source, err = servers.StartMilvus(ctx, servers.MilvusConfig{Dir: filepath.Join(d.dir, "source"), MQ: servers.NATSMQ, Detached: d.keep})
		return err
	})
	g.Go(func() (err error) {
		d.target, err = servers.StartMilvus(ctx, servers.MilvusConfig{Dir: filepath.Join(d.dir, "target"), MQ: servers.RocksMQ, Detached: d.keep})
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	fmt.Printf("    source %s, target %s, up after %.0f s\n", d.source.URI, d.target.URI, time.Since(began).Seconds())
	return nil
}

// startUp starts `kitestream up`, and waits until its control service answers.
func (d *demo) startUp(ctx context.Context) error {
	say("Starting kitestream up: control, bridge and worker in one process, with NATS inside")
	nats, err := run.FreePort()
	if err != nil {
		return err
	}
	metrics, err := run.FreePort()
	if err != nil {
		return err
	}
	d.nats = fmt.Sprintf("nats://127.0.0.1:%d", nats)
	env := append(d.source.SourceEnv(), fmt.Sprintf("KITESTREAM_NATS_LISTEN=127.0.0.1:%d", nats),
		fmt.Sprintf("KITESTREAM_METRICS_ADDR=127.0.0.1:%d", metrics), "KITESTREAM_DATA_DIR="+filepath.Join(d.dir, "data"))
	begin := run.Start
	if d.keep {
		begin = run.StartDetached
	}
	if d.up, err = begin(d.bin, d.dir, "up", env...); err != nil {
		return err
	}
	fmt.Printf("    NATS %s, metrics http://127.0.0.1:%d/metrics, log %s\n", d.nats, metrics, d.up.Log)
	for {
		if _, err = d.task(ctx, "list"); err == nil {
			return nil
		}
		select {
		case <-d.up.Done():
			return fmt.Errorf("kitestream up ended: %w\n%s", d.up.Err(), d.up.Tail())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// task runs `kitestream task …` as a user would and returns what it prints.
func (d *demo) task(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, d.bin, append([]string{"task"}, args...)...)
	cmd.Env = append(os.Environ(), "KITESTREAM_NATS_URL="+d.nats)
	cmd.Stderr = nil
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out, fmt.Errorf("kitestream task %s: %w: %s", args[0], err, exit.Stderr)
	}
	return out, err
}

func (d *demo) createTask(ctx context.Context) error {
	say("Creating the task: kitestream task create -f demo.yaml")
	file := filepath.Join(d.dir, "demo.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, taskFile, d.target.URI), 0o600); err != nil {
		return err
	}
	out, err := d.task(ctx, "create", "-f", file)
	if err != nil {
		return err
	}
	indent(out)
	return nil
}

func (d *demo) compare(ctx context.Context) error {
	say("Waiting until the target has all that the source held: kitestream task wait demo")
	began := time.Now()
	if _, err := d.task(ctx, "wait", "demo", "--timeout", "60s"); err != nil {
		return err
	}
	fmt.Printf("    after %.1f s\n", time.Since(began).Seconds())
	say("Comparing source and target: schemas, partitions, every row, every field, vectors bit for bit")
	a, err := oracle.Dial(d.source.Addr, "")
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }()
	b, err := oracle.Dial(d.target.Addr, "")
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	diff, err := oracle.CompareClusters(ctx, a, b, func(database, _ string) bool { return database == "default" })
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", diff)
	if !diff.Equal() || diff.Rows == 0 {
		return errors.New("source and target are not equal")
	}
	return nil
}

// close ends what was started, or says how to use it and how to end it.
func (d *demo) close(failed error) error {
	if d.keep && failed == nil && d.up != nil {
		return d.leave()
	}
	var errs []error
	if d.up != nil {
		if err := d.up.Stop(15 * time.Second); err != nil {
			errs = append(errs, err)
		}
	}
	for _, m := range []*servers.Milvus{d.source, d.target} {
		if m != nil {
			errs = append(errs, m.Stop())
		}
	}
	err := errors.Join(errs...)
	if failed == nil && err == nil || d.up == nil {
		return errors.Join(err, os.RemoveAll(d.dir))
	}
	fmt.Fprintln(os.Stderr, "logs and data are kept in", d.dir)
	return err
}

func (d *demo) leave() error {
	fmt.Printf(`
Everything is still running:
    source Milvus %s
    target Milvus %s
    NATS          %s

Try:
    export KITESTREAM_NATS_URL=%s
    %s task list
    %s task get demo
    %s task pause demo
    %s task resume demo
    %s task position demo -o json

To end it:
    kill %d %d %d; rm -r %s
`, d.source.URI, d.target.URI, d.nats, d.nats, d.bin, d.bin, d.bin, d.bin, d.bin, d.up.Pid(), d.source.Pid, d.target.Pid, d.dir)
	return errors.Join(d.source.Detach(), d.target.Detach())
}

func say(what string) { fmt.Printf("\n==> %s\n", what) }
