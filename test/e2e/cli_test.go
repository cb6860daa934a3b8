//go:build servers

package e2e_test

import (
	"os"
	"path/filepath"
	"strings"

	"kitestream/functions/control"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// commandLine walks through a task's life as a user at a shell does.
func commandLine(r *rig.Rig) {
	dst := servers.Target2(r)
	r.Clean("cli_", dst)
	tb := r.Table("default", plain("cli_orders"), 1)
	r.Table("default", plain("cli_tmp_a"), 1)
	file := taskFile(r, `name: cli
select:
  - {collections: ["cli_*", "cli_missing"], exclude: ["cli_tmp_*"]}
lanes: 2
targets:
  - {name: standby, uri: "`+dst.URI+`"}
`)
	var made control.CreateAnswer
	r.Ask(0, &made, "task", "create", "-f", file)
	if made.Task.Name != "cli" || made.Resolved == nil || len(made.Resolved.Matched) != 1 || made.Resolved.Matched[0].String() != "default.cli_orders" ||
		len(made.Resolved.Missing) != 1 {
		r.Errorf("create said %+v, resolved %+v", made, made.Resolved)
	}
	tb.Upsert("", rows(0, 100, 1)...)
	var waited control.WaitAnswer
	r.Ask(0, &waited, "task", "wait", "cli", "--timeout", "60s")
	if len(waited.Targets) != 1 || waited.Targets[0].Name != "standby" {
		r.Errorf("wait said %+v", waited)
	}
	tb.Check(dst)
	var list control.ListAnswer
	r.Ask(0, &list, "task", "list")
	if n := len(list.Tasks); n == 0 {
		r.Error("list shows no task")
	}
	var view control.View
	r.Ask(0, &view, "task", "get", "cli")
	if view.State != control.Running || len(view.Targets) != 1 || len(view.Targets[0].Lanes) != 2 || len(view.Resolved) != 1 {
		r.Errorf("get said %+v", view)
	}
	var at control.PositionAnswer
	r.Ask(0, &at, "task", "position", "cli", "--sync")
	if len(at.Channels) == 0 || at.Targets[0].Lanes[0].Floor < at.Targets[0].Lanes[0].Wanted {
		r.Errorf("position said %+v", at)
	}
	var changed control.ChangeAnswer
	r.Ask(0, &changed, "task", "pause", "cli")
	if changed.Task.State != control.Paused {
		r.Errorf("pause said %+v", changed)
	}
	cliErrors(r, file)
	r.Ask(0, &changed, "task", "resume", "cli")
	r.Ask(0, &changed, "task", "delete", "cli")
	r.Ask(1, nil, "task", "get", "cli")
}

func taskFile(r *rig.Rig, text string) string {
	r.Helper()
	file := filepath.Join(r.TempDir(), "task.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	return file
}

// cliErrors does what can't be done with a task that is there and paused. Exit code 1: tried, and failed; 2: not even tried.
func cliErrors(r *rig.Rig, file string) {
	r.Helper()
	bad := taskFile(r, "name: Bad Name\nselect: []\nlanes: 99\ntargets: []\nfoo: 1\n")
	for _, tc := range []struct {
		code int
		args string
		says string
	}{
		{1, "create -f " + file, "KS-C-EXISTS"},
		{1, "get nosuch", "KS-C-NOTFOUND"},
		{1, "pause cli", "KS-C-STATE"},
		{1, "wait cli", "KS-C-STATE"},
		{1, "wait nosuch", "KS-C-NOTFOUND"},
		{2, "create -f " + bad, "foo"},
		{2, "create", "-f"},
		{2, "create -f /no/such/file", "/no/such/file"},
		{2, "get", ""},
		{2, "get cli extra", ""},
		{2, "frobnicate", "frobnicate"},
		{2, "get cli --no-such-flag", "no-such-flag"},
	} {
		o := r.Run(append([]string{"task"}, strings.Fields(tc.args)...)...)
		if o.Code != tc.code || !strings.Contains(o.Stderr, tc.says) || o.Stderr == "" {
			r.Errorf("kitestream task %s: exit code %d, want %d with %q:\n%s%s", tc.args, o.Code, tc.code, tc.says, o.Stdout, o.Stderr)
		}
	}
}
