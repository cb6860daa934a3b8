package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kitestream/functions/config"
	"kitestream/functions/process"
)

// running is a kitestream process.
type running struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *bufio.Reader
	mu   sync.Mutex
	errs bytes.Buffer
}

func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errs.Write(b)
}

func (r *running) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errs.String()
}

func start(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	r := &running{t: t, cmd: command(context.Background(), env, args...)}
	r.cmd.Stderr = r
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.out = bufio.NewReader(out)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill(); _ = r.cmd.Wait() })
	return r
}

// stop sends a signal and returns the exit code and how long it took.
func (r *running) stop(s syscall.Signal) (int, time.Duration) {
	r.t.Helper()
	began := time.Now()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
	_ = r.cmd.Wait() // the exit code tells
	return r.cmd.ProcessState.ExitCode(), time.Since(began)
}

// freeAddr is an address of the loopback that was free just now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// up is the environment of an `up` whose source is not there.
func upEnv(dir, listen, metrics string) []string {
	return []string{
		"KITESTREAM_DATA_DIR=" + dir, "KITESTREAM_NATS_LISTEN=" + listen, "KITESTREAM_METRICS_ADDR=" + metrics,
		"KITESTREAM_SOURCE_ETCD_ENDPOINTS=127.0.0.1:1", "KITESTREAM_SOURCE_MQ_URL=nats://127.0.0.1:2", "KITESTREAM_LEASE_TTL=1s",
	}
}

// Without its source `up` is there all the same: it answers, says what it waits for, stops when told to, and knows its
// tasks when it comes again.
func TestUp(t *testing.T) {
	dir, metrics := t.TempDir(), freeAddr(t)
	r := start(t, upEnv(dir, "127.0.0.1:0", metrics), "up")
	line, err := r.out.ReadString('\n')
	url := regexp.MustCompile(`^NATS: (nats://127\.0\.0\.1:\d+)\n$`).FindStringSubmatch(line)
	if err != nil || url == nil {
		t.Fatalf("up says %q, %v; log:\n%s", line, err, r.log())
	}
	client := []string{"KITESTREAM_NATS_URL=" + url[1]}
	eventually(t, "up answers", func() bool { return command(t.Context(), client, "task", "list").Run() == nil })
	create := command(t.Context(), client, "task", "create", "-f", "-")
	create.Stdin = strings.NewReader(`{"name":"orders","select":[{"collections":["*"]}],"targets":[{"name":"x","uri":"http://127.0.0.1:3"}]}`)
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("create: %v\n%s", err, out)
	}
	if code, body := get(t, "http://"+metrics+"/healthz"); code != http.StatusOK {
		t.Errorf("/healthz = %d %s", code, body)
	}
	if code, body := get(t, "http://"+metrics+"/readyz"); code != http.StatusServiceUnavailable ||
		!strings.Contains(body, "nats: ok\nbuckets: ok\ncontrol: ok\nbridges: the source's catalogue is not read yet\nworkers: ok") {
		t.Errorf("/readyz = %d %s", code, body)
	}
	eventually(t, "the lag of the task is exported", func() bool {
		_, body := get(t, "http://"+metrics+"/metrics")
		return strings.Contains(body, `kitestream_lane_pending_events{lane="0",target="x",task="orders"} 0`)
	})
	if code, took := r.stop(syscall.SIGTERM); code != 0 || took > 10*time.Second {
		t.Errorf("up ended with %d after %v; log:\n%s", code, took, r.log())
	}

	r = start(t, upEnv(dir, strings.TrimPrefix(url[1], "nats://"), ""), "up")
	eventually(t, "the task is known after a restart", func() bool {
		out, err := command(t.Context(), client, "task", "list").Output()
		return err == nil && strings.Contains(string(out), "\norders ")
	})
	second := command(t.Context(), upEnv(dir, "127.0.0.1:0", ""), "up")
	if out, _ := second.CombinedOutput(); second.ProcessState.ExitCode() != exitFailed || !strings.Contains(string(out), "in use by another process") {
		t.Errorf("a second up on the same folder ended with %d:\n%s", second.ProcessState.ExitCode(), out)
	}
	if code, took := r.stop(syscall.SIGINT); code != 0 || took > 10*time.Second {
		t.Errorf("up ended with %d after %v; log:\n%s", code, took, r.log())
	}
}

// Each role waits for a NATS that is not there, says so, and stops at once when told to.
func TestRolesWithoutNATS(t *testing.T) {
	for _, role := range []string{"control", "bridge", "worker"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			metrics := freeAddr(t)
			r := start(t, append(upEnv("", "", metrics), "KITESTREAM_NATS_URL=nats://127.0.0.1:4"), role)
			eventually(t, "it is alive and not ready", func() bool {
				alive, _ := get(t, "http://"+metrics+"/healthz")
				ready, body := get(t, "http://"+metrics+"/readyz")
				return alive == http.StatusOK && ready == http.StatusServiceUnavailable && strings.Contains(body, "nats: not connected")
			})
			if code, took := r.stop(syscall.SIGTERM); code != 0 || took > 5*time.Second {
				t.Errorf("ended with %d after %v; log:\n%s", code, took, r.log())
			}
		})
	}
}

func TestAddressInUseIsAFailure(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := command(t.Context(), upEnv("", "", l.Addr().String()), "control")
	out, _ := c.CombinedOutput()
	if c.ProcessState.ExitCode() != exitFailed || !strings.Contains(string(out), "KITESTREAM_METRICS_ADDR") || !strings.Contains(string(out), "in use") {
		t.Errorf("ended with %d:\n%s", c.ProcessState.ExitCode(), out)
	}
}

// All metrics that a process of any role exports, together as in `up`.
func TestMetricsAreLintClean(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	for _, m := range []process.MakePart{newControlPart, newBridgePart, newWorkerPart} {
		if _, err := m(config.Default(), reg); err != nil {
			t.Fatal(err)
		}
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}
