package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// With runs a command that finds the shared servers of the roles in its environment, and stops them when it has ended.
// The end of ctx ends the command. The error is an *exec.ExitError when the command said no.
func With(ctx context.Context, roles []Role, command []string) error {
	began := time.Now()
	s, err := Share(ctx, roles...)
	if err != nil {
		return err
	}
	fmt.Printf("%d servers started in %.0f s\n", len(s.Env()), time.Since(began).Seconds())
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), s.Env()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// The whole group is told: 'go test' does not pass a signal on to the tests.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return errors.Join(cmd.Run(), s.Close())
}
