// Command kitestream keeps Milvus clusters in step with another: `up` does it all in one process, `bridge`, `worker` and
// `control` do a part each, and `task` makes, shows and changes what is replicated. Settings come from the environment
// (see each verb's --help); main builds what a verb needs and runs it, and what it is made of is in the packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"kitestream/functions/control"
)

// Exit codes, as every verb has them.
const (
	exitDone   = 0
	exitFailed = 1 // it was tried
	exitUsage  = 2 // nothing was tried: bad flags, a bad file, a bad environment

	exitDifferent = 1 // verify: a target is not as its source
	exitUnknown   = 3 // verify: it could not be told
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program as a function: what it was told in, what it says and its exit code out.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var ended *outcome
	if errors.As(err, &ended) {
		return ended.code
	}
	report(errs, err)
	var tried *failure
	if errors.As(err, &tried) {
		return tried.code
	}
	return exitUsage
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "kitestream", Short: "Change data capture for Milvus, on NATS JetStream",
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs, RunE: needVerb,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.AddCommand(newUp(), newBridge(), newWorker(), newControl(), newTask(), newVerify(), newPromote(), newVersion())
	return root
}

// needVerb is what a command does that only holds others.
func needVerb(c *cobra.Command, _ []string) error {
	return fmt.Errorf("say what to do: '%s --help' lists it", c.CommandPath())
}

// failure marks an error of something that was tried; all others are of usage.
type failure struct {
	err  error
	code int
}

// Error is that of what failed.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap is what failed.
func (f *failure) Unwrap() error { return f.err }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return &failure{err, exitFailed}
}

// outcome ends the program with a code when all that there is to say has been said.
type outcome struct{ code int }

// Error says what the code is.
func (o *outcome) Error() string { return fmt.Sprintf("exit code %d", o.code) }

// report tells people what went wrong and, where it is known, what to do.
func report(w io.Writer, err error) {
	var e *control.Error
	if !errors.As(err, &e) {
		fmt.Fprintln(w, "error:", err)
		return
	}
	fmt.Fprintf(w, "error: %s\n  code: %s\n", e.Message, e.Code)
	if e.Field != "" {
		fmt.Fprintf(w, "  field: %s\n", e.Field)
	}
	if e.Do != "" {
		fmt.Fprintf(w, "  what to do: %s\n", e.Do)
	}
}
