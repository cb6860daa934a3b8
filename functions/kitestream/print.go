package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"kitestream/functions/control"
	"kitestream/jetstream"
)

// format is a flag's value: how answers are printed.
type format string

// String is part of pflag.Value.
func (f *format) String() string {
	if *f == "" {
		return "table"
	}
	return string(*f)
}

// Set is part of pflag.Value.
func (f *format) Set(s string) error {
	if s != "table" && s != "json" {
		return errors.New("want table or json")
	}
	*f = format(s)
	return nil
}

// Type is part of pflag.Value.
func (f *format) Type() string { return "table|json" }

// printer prints answers for people, as tables, or as they are, as JSON.
type printer struct {
	out   io.Writer
	table *tabwriter.Writer
}

func newPrinter(out io.Writer) *printer {
	return &printer{out: out, table: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
}

func (p *printer) json(answer any) error {
	e := json.NewEncoder(p.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(answer)
}

func (p *printer) flush() error { return p.table.Flush() }

// row prints the cells of one line; an empty one as a dash.
func (p *printer) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		if texts[i] = fmt.Sprint(c); texts[i] == "" {
			texts[i] = "-"
		}
	}
	fmt.Fprintln(p.table, strings.Join(texts, "\t"))
}

// line ends a table and prints a line that no column of it should be as wide as.
func (p *printer) line(format string, args ...any) {
	_ = p.table.Flush() // flush tells the error: the writer is the same
	fmt.Fprintf(p.out, format+"\n", args...)
}

func (p *printer) created(a *control.CreateAnswer) {
	p.line("task %s created: %d lanes, targets %s", a.Task.Name, a.Task.Lanes, strings.Join(a.Task.Targets, ", "))
	p.resolved(a.Resolved)
	if a.Note != "" {
		p.line("note: %s", a.Note)
	}
}

func (p *printer) resolved(r *control.Resolved) {
	if r == nil {
		return
	}
	p.line("selected now: %s", names(r.Matched))
	if len(r.Missing) > 0 {
		p.line("waiting until they are there: %s", names(r.Missing))
	}
	if len(r.Empty) > 0 {
		p.line("patterns that nothing matches yet: %s", names(r.Empty))
	}
}

func (p *printer) planned(a *control.PlanAnswer) {
	p.line("task %s is not made: this is what it would do", a.Name)
	p.resolved(a.Resolved)
	for _, t := range a.Targets {
		p.line("")
		p.row("TARGET "+t.Name, "ACTION", "AS", "REMARKS")
		for _, c := range t.Collections {
			p.row("  "+c.Source.String(), c.Action, c.Target, strings.Join(append(slices.Clone(c.Problems), c.Warnings...), "; "))
		}
		if t.Note != "" {
			p.line("note: %s", t.Note)
		}
	}
	for _, n := range a.Notes {
		p.line("note: %s", n)
	}
	for _, problem := range a.Problems {
		p.line("problem: %s: %s", problem.Field, problem.Message)
	}
}

func names(list []jetstream.QualifiedName) string {
	if len(list) == 0 {
		return "nothing yet"
	}
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = n.String()
	}
	return strings.Join(texts, ", ")
}

func (p *printer) listed(a *control.ListAnswer) {
	p.row("NAME", "STATE", "SOURCE", "LANES", "TARGETS", "CREATED", "WHY")
	for _, t := range a.Tasks {
		p.row(t.Name, t.State, t.Source, t.Lanes, strings.Join(t.Targets, ","), stamp(t.Created), t.Why)
	}
	if a.Note != "" {
		p.line("note: %s", a.Note)
	}
}

func (p *printer) changed(a *control.ChangeAnswer) {
	what := string(a.Task.State)
	if a.Task.State == control.Deleting {
		what = "deleted"
	}
	p.line("task %s: %s", a.Task.Name, what)
	if a.Retried > 0 {
		p.line("stopped collections and refused settings that are tried again: %d", a.Retried)
	}
}

func (p *printer) got(v *control.View) {
	p.row("TASK", v.Name)
	p.row("STATE", reason(v.State, v.Why, v.Since))
	if v.Do != "" {
		p.row("WHAT TO DO", v.Do)
	}
	p.row("SOURCE", v.Source)
	p.row("CREATED", stamp(v.Created))
	p.row("BRIDGE", reason(v.Bridge.State, v.Bridge.Why, v.Bridge.Since))
	p.row("  HELD BY", v.Bridge.Holder)
	p.row("  WATERMARK", stamp(v.Bridge.Watermark))
	p.row("REPLICATED", names(v.Resolved))
	if len(v.WaitingFor) > 0 {
		p.row("NOT THERE YET", names(v.WaitingFor))
	}
	if len(v.Empty) > 0 {
		p.row("NOTHING MATCHES YET", names(v.Empty))
	}
	for _, t := range v.Targets {
		p.target(&t)
	}
}

func (p *printer) target(t *control.TargetView) {
	p.line("")
	p.row("TARGET", t.Name)
	p.row("  URI", t.URI)
	p.row("  STATE", reason(t.State, t.Why, t.Since))
	if t.Code != "" {
		p.row("  CODE", t.Code)
	}
	if t.Do != "" {
		p.row("  WHAT TO DO", t.Do)
	}
	p.row("  LAG", t.Text)
	if t.Verified != nil {
		p.row("  VERIFIED", verdict(t.Verified))
	}
	if t.Rewound != nil {
		p.row("  REWOUND", fmt.Sprintf("to sequence %d (at %s)", t.Rewound.Seq, stamp(t.Rewound.At)))
	}
	p.line("")
	p.row("  COLLECTION", "STATE", "LAG", "WHY")
	for _, c := range t.Collections {
		p.row("  "+c.Database+"."+c.Collection, c.State, c.Text, c.Why)
	}
	p.line("")
	p.row("  LANE", "STATE", "FLOOR", "PENDING", "HELD BY", "WHY")
	for _, l := range t.Lanes {
		p.row(fmt.Sprintf("  %d", l.Lane), l.State, l.Floor, l.Pending, l.Holder, l.Why)
	}
	p.unmet(t.Unmet)
}

func (p *printer) unmet(all []control.UnmetView) {
	if len(all) == 0 {
		return
	}
	p.line("")
	p.row("  REFUSED", "OF", "CODE", "WHY", "WHAT TO DO")
	for _, u := range all {
		p.row("  "+string(u.Kind), cmp.Or(strings.Trim(u.Database+"."+u.Collection, "."), u.Setting), u.Code, u.Why, u.Do)
	}
}

func reason(s control.State, why string, since time.Time) string {
	text := string(s)
	if why != "" {
		text += ": " + why
	}
	if !since.IsZero() {
		text += " (since " + stamp(since) + ")"
	}
	return text
}

// stamp is a moment as people read it; empty for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func (p *printer) position(a *control.PositionAnswer) {
	p.row("TASK", a.Name)
	p.row("STATE", a.State)
	p.line("")
	p.row("CHANNEL", "RESUME", "WATERMARK", "ERROR")
	for _, c := range a.Channels {
		p.row(c.Channel, c.Resume, stamp(c.Watermark), c.Error)
	}
	p.line("")
	p.lanes(a.Targets)
}

func (p *printer) lanes(targets []control.TargetPosition) {
	p.row("TARGET", "LANE", "FLOOR", "PENDING", "WANTED")
	for _, t := range targets {
		for _, l := range t.Lanes {
			wanted := ""
			if l.Wanted > 0 {
				wanted = fmt.Sprint(l.Wanted)
			}
			p.row(t.Name, l.Lane, l.Floor, l.Pending, wanted)
		}
	}
	for _, t := range targets {
		for _, s := range t.Stopped {
			p.line("stopped on %s: %s.%s: %s", t.Name, s.Database, s.Collection, s.Reason)
		}
	}
}

func (p *printer) rewound(a *control.RewindAnswer) {
	p.line("task %s: target %s applies again from sequence %d (published %s); it had come to %d", a.Task.Name, a.Target, a.Seq, stamp(a.Published), a.Reached)
	p.line("'kitestream task wait %s --target %s' waits until it has all of it", a.Task.Name, a.Target)
}

func (p *printer) waited(a *control.WaitAnswer) {
	list := make([]string, len(a.Targets))
	for i, t := range a.Targets {
		list[i] = t.Name
	}
	p.line("task %s: applied everything on %s (%.1fs)", a.Name, strings.Join(list, ", "), a.Seconds)
}
