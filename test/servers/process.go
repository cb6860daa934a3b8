package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// gracePeriod is how long Stop waits after SIGTERM. Milvus flushes its buffers then, which under load takes seconds.
const gracePeriod = 20 * time.Second

// launch starts the process and waits until it is healthy.
func (m *Milvus) launch(ctx context.Context) error {
	cache, err := installed()
	if err != nil {
		return err
	}
	if err := m.render(cache); err != nil {
		return fmt.Errorf("configure Milvus: %w", err)
	}
	out, err := os.OpenFile(filepath.Join(m.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log of Milvus: %w", err)
	}
	defer out.Close() // the process has its own
	cmd := exec.Command(filepath.Join(cache, "bin", "milvus"), "run", "standalone")
	cmd.Dir, cmd.Stdout, cmd.Stderr = m.Dir, out, out
	cmd.Env = append(os.Environ(), "MILVUSCONF="+filepath.Join(m.Dir, "configs"), "DEPLOY_MODE=STANDALONE",
		fmt.Sprintf("METRICS_PORT=%d", m.base+portMetrics), "MILVUS_RUN_DIR="+filepath.Join(m.Dir, "run"),
		"LD_LIBRARY_PATH="+filepath.Join(cache, "bin"))
	cmd.ExtraFiles = []*os.File{m.lock} // the ports stay claimed as long as the server lives
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !m.conf.Detached {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start Milvus: %w", err)
	}
	m.cmd, m.Pid, m.waited = cmd, cmd.Process.Pid, make(chan struct{})
	go func(done chan struct{}) { // ended waits for it
		defer close(done)
		_ = cmd.Wait()
	}(m.waited)
	if err := m.saveState(); err != nil {
		return err
	}
	return m.healthy(ctx)
}

// healthy returns when /healthz says OK.
func (m *Milvus) healthy(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if healthz(ctx, m.MetricsAddr) {
			return nil
		}
		select {
		case <-m.waited:
			return fmt.Errorf("start Milvus: it ended with %s\n%s", m.cmd.ProcessState, m.Log())
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) { // nobody waits for it any more
				return fmt.Errorf("wait for Milvus in %s: %w", m.Dir, ctx.Err())
			}
			return fmt.Errorf("wait for Milvus in %s: %w\n%s", m.Dir, context.Cause(ctx), m.Log())
		case <-tick.C:
		}
	}
}

func healthz(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16))
	return err == nil && string(b) == "OK"
}

// Stop ends the server with SIGTERM, and with SIGKILL when it takes too long. A server that is not running is no error.
func (m *Milvus) Stop() error {
	if err := m.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	_ = m.Signal(syscall.SIGCONT) // a paused one would not see the other
	if m.ended(gracePeriod) {
		return nil
	}
	return m.kill()
}

// Kill ends the server with SIGKILL, as a crash would. Only the process that started the server may.
func (m *Milvus) Kill() error {
	if m.cmd == nil {
		return fmt.Errorf("kill Milvus in %s: %w", m.Dir, ErrShared)
	}
	return m.kill()
}

func (m *Milvus) kill() error {
	if err := m.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	if !m.ended(gracePeriod) {
		return fmt.Errorf("kill Milvus: process %d is still there", m.Pid)
	}
	return nil
}

// Restart starts a server that has ended, on the same folder and ports.
func (m *Milvus) Restart(ctx context.Context) error {
	if m.cmd == nil {
		return fmt.Errorf("restart Milvus in %s: %w", m.Dir, ErrShared)
	}
	if running(m.Pid) {
		return fmt.Errorf("restart Milvus in %s: process %d has not ended", m.Dir, m.Pid)
	}
	return m.launch(ctx)
}

// Signal sends a signal to the server's process group, such as SIGSTOP and SIGCONT. A server that is not running is no
// error.
func (m *Milvus) Signal(sig syscall.Signal) error {
	if !running(m.Pid) {
		return nil
	}
	if err := syscall.Kill(-m.Pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to Milvus process %d: %w", sig, m.Pid, err)
	}
	return nil
}

// Close stops the server and gives its ports back.
func (m *Milvus) Close() error {
	err := m.Stop()
	if m.lock != nil {
		err = errors.Join(err, m.lock.Close())
		m.lock = nil
	}
	return err
}

// Detach gives up a server that was started Detached, leaving it running.
func (m *Milvus) Detach() error {
	if m.lock == nil {
		return nil
	}
	f := m.lock
	m.lock = nil
	return f.Close()
}

// ended waits until the process is gone. Other processes' children are looked at again and again: there is nothing to
// wait on.
func (m *Milvus) ended(within time.Duration) bool {
	limit := time.NewTimer(within)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if m.cmd == nil && !running(m.Pid) {
			return true
		}
		select {
		case <-m.waited: // nil, and so never ready, for another process's child
			return true
		case <-limit.C:
			return false
		case <-tick.C:
		}
	}
}

// running reports whether the process is a Milvus that has not ended. A zombie and a process that got an old pid are
// not: neither has Milvus as its executable.
func running(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && filepath.Base(strings.TrimSuffix(exe, " (deleted)")) == "milvus"
}
