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

// process is what the servers of this package have in common: a folder, a block of ports and the process that runs
// there. The methods are for one caller.
type process struct {
	Dir string // keeps everything of the server: data, configuration, log
	Pid int    // of the process, which leads a process group; changes with a restart

	program  program
	kind     kind
	detached bool
	state    state
	lock     *os.File  // keeps the block of ports ours
	cmd      *exec.Cmd // nil when another process started it
	waited   chan struct{}
	logged   int64 // bytes of the log that are older than this start
}

// program is what a kind of server has of its own.
type program interface {
	// command writes the configuration and says what to run. It is called before every start.
	command(ctx context.Context) (*exec.Cmd, error)
	// ready reports whether the server does what clients ask of it. It is asked several times a second after a start.
	ready(ctx context.Context) bool
}

// kind is the title of a kind of server, for messages, and the base name of its executable.
type kind struct{ title, exe string }

// addr is the address of one of the block's ports.
func (p *process) addr(offset int) string {
	return fmt.Sprintf("127.0.0.1:%d", p.state.PortBase+offset)
}

// start is the launch of a new server, which is closed when that fails.
func (p *process) start(ctx context.Context) error {
	if err := p.launch(ctx); err != nil {
		return errors.Join(err, p.Close())
	}
	return nil
}

// launch starts the process and waits until it is ready.
func (p *process) launch(ctx context.Context) error {
	cmd, err := p.program.command(ctx)
	if err != nil {
		return fmt.Errorf("configure %s: %w", p.kind.title, err)
	}
	out, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.kind.title, err)
	}
	defer out.Close() // the process has its own
	if p.logged, err = out.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("open log of %s: %w", p.kind.title, err)
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, out, out
	cmd.ExtraFiles = []*os.File{p.lock} // the ports stay claimed as long as the server lives
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !p.detached {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.kind.title, err)
	}
	p.cmd, p.Pid, p.waited = cmd, cmd.Process.Pid, make(chan struct{})
	go func(done chan struct{}) { // ended waits for it
		defer close(done)
		_ = cmd.Wait()
	}(p.waited)
	if err := p.saveState(); err != nil {
		return err
	}
	return p.awaitReady(ctx)
}

func (p *process) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if p.program.ready(ctx) {
			return nil
		}
		select {
		case <-p.waited:
			return fmt.Errorf("start %s: it ended with %s\n%s", p.kind.title, p.cmd.ProcessState, p.Log())
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) { // nobody waits for it any more
				return fmt.Errorf("wait for %s in %s: %w", p.kind.title, p.Dir, ctx.Err())
			}
			return fmt.Errorf("wait for %s in %s: %w\n%s", p.kind.title, p.Dir, context.Cause(ctx), p.Log())
		case <-tick.C:
		}
	}
}

// Stop ends the server with SIGTERM, and with SIGKILL when it takes too long. A server that is not running is no error.
func (p *process) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	_ = p.Signal(syscall.SIGCONT) // a paused one would not see the other
	if p.ended(gracePeriod) {
		return nil
	}
	return p.kill()
}

// Kill ends the server with SIGKILL, as a crash would. Only the process that started the server may.
func (p *process) Kill() error {
	if p.cmd == nil {
		return fmt.Errorf("kill %s in %s: %w", p.kind.title, p.Dir, ErrShared)
	}
	return p.kill()
}

func (p *process) kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	if !p.ended(gracePeriod) {
		return fmt.Errorf("kill %s: process %d is still there", p.kind.title, p.Pid)
	}
	return nil
}

// Restart starts a server that has ended, on the same folder and ports, and returns when it is ready.
func (p *process) Restart(ctx context.Context) error {
	if p.cmd == nil {
		return fmt.Errorf("restart %s in %s: %w", p.kind.title, p.Dir, ErrShared)
	}
	if p.running() {
		return fmt.Errorf("restart %s in %s: process %d has not ended", p.kind.title, p.Dir, p.Pid)
	}
	return p.launch(ctx)
}

// Signal sends a signal to the server's process group, such as SIGSTOP and SIGCONT. A server that is not running is no
// error.
func (p *process) Signal(sig syscall.Signal) error {
	if !p.running() {
		return nil
	}
	if err := syscall.Kill(-p.Pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to %s process %d: %w", sig, p.kind.title, p.Pid, err)
	}
	return nil
}

// Close ends the server as Kill does and gives its ports back. It is the end of a server whose folder goes with it: no
// time is spent on an orderly one.
func (p *process) Close() error { return errors.Join(p.kill(), p.Detach()) }

// Detach gives up a server that was started Detached, leaving it running.
func (p *process) Detach() error {
	if p.lock == nil {
		return nil
	}
	f := p.lock
	p.lock = nil
	return f.Close()
}

// Log is the end of the server's output, for messages about a failure.
func (p *process) Log() string {
	b, err := os.ReadFile(p.logFile())
	if err != nil {
		return err.Error()
	}
	const tail = 4 << 10
	return strings.ToValidUTF8(string(b[max(0, len(b)-tail):]), "")
}

func (p *process) logFile() string { return filepath.Join(p.Dir, "log") }

// ended waits until the process is gone. Other processes' children are looked at again and again: there is nothing to
// wait on.
func (p *process) ended(within time.Duration) bool {
	limit := time.NewTimer(within)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if p.cmd == nil && !p.running() && gone(p.Pid) {
			return true
		}
		select {
		case <-p.waited: // nil, and so never ready, for another process's child
			return true
		case <-limit.C:
			return false
		case <-tick.C:
		}
	}
}

// running reports whether the process is this server and has not ended. A zombie and a process that got an old pid are
// not: they don't have the executable, or not the folder.
func (p *process) running() bool {
	proc := fmt.Sprintf("/proc/%d/", p.Pid)
	exe, err := os.Readlink(proc + "exe")
	if err != nil || filepath.Base(strings.TrimSuffix(exe, " (deleted)")) != p.kind.exe {
		return false
	}
	if p.cmd != nil { // our own child: nobody else has its pid before it was waited for
		select {
		case <-p.waited:
			return false
		default:
			return true
		}
	}
	cwd, err := os.Stat(proc + "cwd")
	if err != nil {
		return false
	}
	dir, err := os.Stat(p.Dir)
	return err == nil && os.SameFile(cwd, dir)
}

// gone reports whether a process has no thread left that could keep its files open, and with them the claim to its ports.
// An ending process loses its executable well before that.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(b), ") ") // behind the name
	return strings.HasPrefix(state, "Z") && len(threads) == 1
}

// get is the beginning of what a server answers to a GET, or nothing when it does not.
func get(ctx context.Context, url string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return ""
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return ""
	}
	return string(b)
}
