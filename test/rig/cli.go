package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
)

// Output is how a command ended.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Run runs the binary as a user in a shell would, with only the address of NATS in its environment.
func (r *Rig) Run(args ...string) Output {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv(envBinary), args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "KITESTREAM_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "KITESTREAM_NATS_URL="+r.URL)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.Fatalf("kitestream %s: %v", strings.Join(args, " "), err)
	}
	return Output{Stdout: out.String(), Stderr: errs.String(), Code: cmd.ProcessState.ExitCode()}
}

// Ask runs the binary with "-o json", expects the exit code and reads its standard output into `to` unless that is nil.
func (r *Rig) Ask(code int, to any, args ...string) Output {
	r.Helper()
	o := r.Run(append(args, "-o", "json")...)
	if o.Code != code {
		r.Fatalf("kitestream %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), o.Code, code, o.Stdout, o.Stderr)
	}
	if to == nil {
		return o
	}
	if err := json.Unmarshal([]byte(o.Stdout), to); err != nil {
		r.Fatalf("kitestream %s said what is no JSON: %v\n%s", strings.Join(args, " "), err, o.Stdout)
	}
	return o
}
