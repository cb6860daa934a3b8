//go:build servers

package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// drill is a switch-over between two clusters, there and back.
type drill struct {
	*rig.Rig
	a, b  *servers.Milvus
	books *rig.Table
	dir   string
}

const drilled = "drill_books"

// TestDrill switches over from one cluster to another and back, with writers at work whenever clients may write, and a control process
// that is killed on the way. Nothing is lost and nothing is there twice: both clusters hold what a model of all writes says.
func TestDrill(t *testing.T) {
	r := rig.New(t)
	d := &drill{Rig: r, a: r.Source, b: servers.SourceOn(t, servers.PulsarMQ), dir: t.TempDir()}
	r.Clean("drill_", d.b)
	for name, m := range map[string]*servers.Milvus{"a": d.a, "b": d.b} {
		env := append(m.SourceEnv(), "KITESTREAM_SOURCE_NAME="+name)
		r.Start("worker", env...)
		if name == "b" {
			r.Start("bridge", env...)
		}
	}
	r.Start("bridge", append(d.a.SourceEnv(), "KITESTREAM_SOURCE_NAME=a")...)
	boss := r.Start("control")
	d.books = searched(r, drilled)
	d.books.CreatePartition("p")
	d.books.Upsert("", rows(0, 500, 1)...)
	r.CreateTask(d.task("there", "a", d.b))
	stop := hammer(r, d.books, rig.Seed(t))
	d.refused("never compared", "there")
	r.Ask(0, nil, "verify", "there")
	d.refused("still written to", "there")
	stop()

	way := d.file(d.task("back", "b", d.a))
	for what, come := range map[string]func(*jetstream.Promotion) bool{
		"the promotion has begun":            func(p *jetstream.Promotion) bool { return p != nil },
		"the task in the other direction is": func(p *jetstream.Promotion) bool { return p != nil && p.Reverse != nil },
	} {
		boss = d.killed(boss, what, come, way)
	}
	d.books.Upsert("", rows(600, 610, 2)...)

	d.promote("there", way)
	d.turn(d.b, "back", d.a)
	r.Ask(0, nil, "task", "delete", "there")
	r.Ask(0, nil, "verify", "back")
	d.promote("back", d.file(d.task("there", "a", d.b)))
	d.turn(d.a, "there", d.b)
	r.CheckStream("back")
	r.CheckStream("there")
}

// killed has the control process killed in the middle of a promotion. Another puts back what that one has left, and the task goes on.
func (d *drill) killed(boss *rig.Process, what string, come func(*jetstream.Promotion) bool, way string) *rig.Process {
	d.Helper()
	ended := make(chan rig.Output, 1)
	go func() { ended <- d.Run("promote", "there", "--target", "standby", "--reverse", way) }()
	d.Until(what, func() bool { return come(d.View("there").Promoted) })
	boss.Kill()
	boss = d.Start("control")
	if o := <-ended; o.Code == 0 {
		d.Errorf("promoted by a process that was killed: %+v", o)
	}
	d.Until("the task goes on", func() bool {
		v, err := d.Tasks.Get(d.Context(), "there")
		return err == nil && v.Promoted == nil && v.State == control.Running
	})
	return boss
}

func (d *drill) task(name, source string, to *servers.Milvus) jetstream.TaskSpec {
	return jetstream.TaskSpec{Name: name, Source: source, Lanes: 3, Select: rig.Prefix("default", "drill_"), Targets: []jetstream.TargetSpec{{Name: "standby", URI: to.URI}}}
}

// file is a task file.
func (d *drill) file(s jetstream.TaskSpec) string {
	d.Helper()
	path := filepath.Join(d.dir, s.Name+".yaml")
	text := "name: " + s.Name + "\nsource: " + s.Source + "\nlanes: 3\nselect: [{collections: [\"drill_*\"]}]\ntargets: [{name: standby, uri: \"" + s.Targets[0].URI + "\"}]\n"
	must(d.Rig, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// refused wants a promotion that is not possible, after which the task goes on.
func (d *drill) refused(why, task string) {
	d.Helper()
	o := d.Run("promote", task, "--target", "standby", "--timeout", "30s")
	if o.Code != 1 || !strings.Contains(o.Stderr, why) || !strings.Contains(o.Stderr, "KS-C-NOTREADY") {
		d.Errorf("promote = %+v, want %q", o, why)
	}
	if v := d.View(task); v.State == control.Paused || v.Promoted != nil {
		d.Errorf("the task is %s: %s", v.State, v.Why)
	}
}

func (d *drill) promote(task, way string) {
	d.Helper()
	var a control.PromoteAnswer
	d.Ask(0, &a, "promote", task, "--target", "standby", "--reverse", way)
	if !a.Done || a.Loss != nil || a.Reverse == nil || len(a.Left) < 3 {
		d.Errorf("promote = %+v", a)
	}
	d.Logf("promoted in %.1fs: %q", a.Seconds, a.Left)
}

// turn has clients write to the other cluster, and wants both to hold all of it.
func (d *drill) turn(to *servers.Milvus, task string, standby *servers.Milvus) {
	d.Helper()
	d.books.Client = d.Client(to, "")
	d.From(to)
	d.books.CreatePartition("of_" + task)
	d.books.Upsert("of_"+task, rows(5000, 5100, 7)...)
	other := searched(d.Rig, "drill_made_for_"+task)
	other.Upsert("", rows(0, 100, 1)...)
	stop := hammer(d.Rig, d.books, rig.Seed(d)+1)
	d.Until("enough is written", func() bool { return d.Published(task) > 200 })
	stop()
	d.Wait(task)
	d.Same(standby, only("drill_"))
	for _, m := range []*servers.Milvus{d.a, d.b} {
		d.books.Check(m)
		other.Check(m)
	}
	d.Ask(0, nil, "verify", task)
}
