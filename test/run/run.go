// Package run builds the kitestream binary and runs it as a user would: a process of its own, set up by its environment,
// ended by signals. Tests, the demo and the benchmarks share it.
package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Build builds the binary from this source tree into dir and returns its path. extra are flags for go build, "-race".
func Build(ctx context.Context, dir string, extra ...string) (string, error) {
	bin := filepath.Join(dir, "kitestream")
	args := append([]string{"build", "-o", bin}, extra...)
	cmd := exec.CommandContext(ctx, "go", append(args, "kitestream/functions/kitestream")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build kitestream: %w\n%s", err, out)
	}
	return bin, nil
}

// Process is a kitestream process.
type Process struct {
	Verb string
	Log  string // path of what it says
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended
}

// Start runs the binary with a verb, what it says going to a file in dir. env is added to a clean KITESTREAM_ environment.
// It dies with this process, however that ends.
func Start(bin, dir, verb string, env ...string) (*Process, error) {
	return start(bin, dir, verb, &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}, env)
}

// StartDetached is Start for a process that is to outlive this one.
func StartDetached(bin, dir, verb string, env ...string) (*Process, error) {
	return start(bin, dir, verb, &syscall.SysProcAttr{Setsid: true}, env)
}

func start(bin, dir, verb string, attr *syscall.SysProcAttr, env []string) (*Process, error) {
	f, err := os.CreateTemp(dir, verb+"-*.log")
	if err != nil {
		return nil, fmt.Errorf("start kitestream %s: %w", verb, err)
	}
	defer func() { _ = f.Close() }()
	p := &Process{Verb: verb, Log: f.Name(), cmd: exec.Command(bin, verb), done: make(chan struct{})}
	p.cmd.Env = append(clean(os.Environ()), env...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = f, f, dir
	p.cmd.SysProcAttr = attr
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig means the death of the thread that started it: this one lives as long
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start kitestream %s: %w", verb, err)
	}
	return p, nil
}

// clean leaves out what would set a process up behind the caller's back.
func clean(env []string) []string {
	var out []string
	for _, v := range env {
		if !strings.HasPrefix(v, "KITESTREAM_") {
			out = append(out, v)
		}
	}
	return out
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the process ended; call it after Done.
func (p *Process) Err() error { return p.err }

// Signal sends a signal.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill ends the process as kill -9 does, and waits until it is gone. Killing one that has ended is no error.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop asks the process to end (SIGTERM) and waits. One that takes longer than limit is killed, which is an error, as is
// an exit code other than 0.
func (p *Process) Stop(limit time.Duration) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("kitestream %s: %w; it said:\n%s", p.Verb, p.err, p.Tail())
		}
		return nil
	case <-time.After(limit):
		p.Kill()
		return fmt.Errorf("kitestream %s did not stop within %v; it said:\n%s", p.Verb, limit, p.Tail())
	}
}

// Tail is the end of what the process said.
func (p *Process) Tail() string {
	const size = 6000
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-size):])
}

// FreePort is a loopback port that nothing listens on now.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.New("find a free port: listener has no TCP address")
	}
	return a.Port, nil
}
