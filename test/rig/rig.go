// Package rig puts the real parts together for the end-to-end and crash tests: kitestream processes and a NATS server
// between the Milvus servers that the tests share. It starts and ends processes, writes to the source with a model of
// what must come of it, waits for conditions, and judges: targets against the source or the model, and the stream
// against what holds of it whatever happened.
//
// A Rig belongs to one test; For gives it to a subtest. Whatever can't be done fails the test. Nothing sleeps: what is
// waited for is looked at again and again.
package rig

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/functions/control"
	"kitestream/jetstream/jetstreamtest"
	"kitestream/test/run"
	"kitestream/test/servers"
)

// envBinary names the binary that tests start; unset, Main builds one.
const envBinary = "KITESTREAM_TEST_BIN"

// Main runs the tests of a suite on shared servers of these roles and a kitestream binary; its result is for os.Exit.
func Main(m *testing.M, roles ...servers.Role) int {
	if os.Getenv(envBinary) == "" {
		dir, err := os.MkdirTemp("", "kitestream-bin-")
		if err == nil {
			defer func() { _ = os.RemoveAll(dir) }() // a folder in /tmp that stays harms nobody
			err = build(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return servers.Main(m, roles...)
}

func build(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	bin, err := run.Build(ctx, dir)
	if err != nil {
		return err
	}
	return os.Setenv(envBinary, bin)
}

// Rig is one NATS server with the kitestream processes on it.
type Rig struct {
	testing.TB
	Source *servers.Milvus
	URL    string // of NATS
	JS     natsjs.JetStream
	Tasks  *control.Client
	dir    string   // where processes run and log
	env    []string // of every process
}

// New makes a rig around a NATS server inside the test, so that processes come and go while it stays. Each change may
// alter the server's options.
func New(t testing.TB, change ...func(*server.Options)) *Rig {
	t.Helper()
	srv := jetstreamtest.Run(t, change...)
	r := newRig(t, srv.URL())
	r.env = append(r.env, "KITESTREAM_NATS_URL="+r.URL)
	return r
}

// Up makes a rig of one process, `kitestream up`, with the NATS server inside that, and starts it. Start("up") starts
// another in its place when it has ended.
func Up(t testing.TB, env ...string) (*Rig, *Process) {
	t.Helper()
	port, err := run.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + strconv.Itoa(port)
	r := newRig(t, "nats://"+addr)
	r.env = append(r.env, "KITESTREAM_NATS_LISTEN="+addr, "KITESTREAM_DATA_DIR="+filepath.Join(r.dir, "data"))
	r.env = append(r.env, env...)
	p := r.Start("up")
	r.Until("control answers", func() bool { _, err := r.Tasks.List(t.Context()); return err == nil })
	return r, p
}

func newRig(t testing.TB, url string) *Rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "kitestream-rig-") // not the test's: processes are ended after its folders are gone
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the processes: cleanups run last one first
		nc.Close()
		if t.Failed() {
			t.Logf("logs and histories are kept in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	js, err := natsjs.New(nc, natsjs.WithDefaultTimeout(3*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	src := servers.Source(t)
	return &Rig{TB: t, Source: src, URL: url, JS: js, Tasks: control.NewClient(nc), dir: dir, env: src.SourceEnv()}
}

// For is the rig for a subtest.
func (r *Rig) For(t testing.TB) *Rig {
	c := *r
	c.TB = t
	return &c
}

// From has the processes that are started from now on read another source than the one that tests share by default.
func (r *Rig) From(source *servers.Milvus) {
	r.Source = source
	r.Env(source.SourceEnv()...)
}

// Env adds to the environment of the processes that this rig, and those made of it, starts from now on.
func (r *Rig) Env(env ...string) { r.env = slices.Concat(r.env, env) }

// Process is one kitestream process of a rig.
type Process struct {
	*run.Process
	metrics string
}

// Start starts a process, which is killed at the test's end. If the test fails, the end of what the process said is
// shown, and its log kept; one that is still running says there what its goroutines are doing.
func (r *Rig) Start(verb string, env ...string) *Process {
	r.Helper()
	port, err := run.FreePort()
	if err != nil {
		r.Fatal(err)
	}
	p := &Process{metrics: "127.0.0.1:" + strconv.Itoa(port)}
	p.Process, err = run.Start(os.Getenv(envBinary), r.dir, verb, slices.Concat(r.env, []string{"KITESTREAM_METRICS_ADDR=" + p.metrics}, env)...)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		tail := ""
		if r.Failed() {
			tail = p.Tail()
			p.dump()
		}
		p.Kill() // a stopped one too
		if tail != "" {
			r.Logf("kitestream %s, process %d, said (%s):\n%s", verb, p.Pid(), p.Log, tail)
		}
	})
	return p
}

// dump has the process write what its goroutines are doing, and end.
func (p *Process) dump() {
	if p.Signal(syscall.SIGQUIT) != nil {
		return // it has ended
	}
	select {
	case <-p.Done():
	case <-time.After(2 * time.Second): // a stopped one
	}
}

// Send sends the process a signal.
func (r *Rig) Send(p *Process, sig syscall.Signal) {
	r.Helper()
	if err := p.Signal(sig); err != nil {
		r.Fatalf("send %s to %s, process %d: %v", sig, p.Verb, p.Pid(), err)
	}
}

// Is reports whether a holder's name is this process.
func (p *Process) Is(holder string) bool {
	return strings.Contains(holder, fmt.Sprintf("-%d-", p.Pid()))
}

// Healthy reports whether the process has not ended and says that it is well.
func (r *Rig) Healthy(p *Process) bool {
	select {
	case <-p.Done():
		return false
	default:
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metrics+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return errors.Join(resp.Body.Close()) == nil && resp.StatusCode == http.StatusOK
}

// Seed is KITESTREAM_SEED, or one by the clock. It is shown, so that a failure can be run again.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("KITESTREAM_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("KITESTREAM_SEED: %v", err)
		}
	}
	t.Logf("KITESTREAM_SEED=%d", seed)
	return seed
}
