package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"kitestream/functions/control"
	"kitestream/functions/verify"
)

// verdictText is a verdict as people read it.
func verdictText(v verify.Verdict) string {
	if v == verify.Unknown {
		return "could not tell"
	}
	return string(v)
}

func (p *printer) verified(a *control.VerifyAnswer) {
	for i, r := range a.Reports {
		if i > 0 {
			p.line("")
		}
		p.report(r)
	}
}

func (p *printer) report(r *verify.Report) {
	p.row("TARGET "+r.Target, "VERDICT", "SOURCE ROWS", "TARGET ROWS", "MISSING", "EXTRA", "DIFFERENT", "SETTINGS", "REPAIRED", "WHY")
	for _, c := range r.Collections {
		p.row("  "+c.Source.String(), verdictText(c.Verdict), c.SourceRows, c.TargetRows, c.Missing, c.Extra, c.Different, c.Settings, c.Repaired, strings.Join(c.Why, "; "))
	}
	p.differences(r)
	for _, c := range r.Collections {
		for _, n := range c.Notes {
			p.line("note: %s: %s", c.Source, n)
		}
		for _, s := range c.Search {
			p.line("search: %s, %s: %s", c.Source, s.Field, overlapText(s))
		}
	}
	if r.DryRun {
		p.line("dry run: %d differences would be repaired", r.Found())
	}
	p.line("%s", summaryOf(r))
}

func summaryOf(r *verify.Report) string {
	text := fmt.Sprintf("target %s: %s: %d collections, %d rows compared", r.Target, verdictText(r.Verdict), len(r.Collections), r.Rows())
	if r.Sample != nil {
		text += fmt.Sprintf(" of a sample of %g%% (--seed %d)", r.Sample.Percent, r.Sample.Seed)
	}
	return text + fmt.Sprintf(", %d differences (%.1fs)", r.Found(), r.Seconds)
}

func overlapText(o verify.Overlap) string {
	if o.Why != "" {
		return o.Why
	}
	return fmt.Sprintf("%.1f%% of the first ten are the same, over %d searches", 100*o.Mean, o.Searches)
}

// differences prints those that the report holds, and how many more there are.
func (p *printer) differences(r *verify.Report) {
	first := true
	for _, c := range r.Collections {
		for _, d := range c.Differences {
			if first {
				p.line("")
				p.row("DIFFERENCE", "COLLECTION", "WHAT", "FIELD", "SOURCE", "TARGET", "")
				first = false
			}
			repaired := ""
			if d.Repaired {
				repaired = "repaired"
			}
			what := d.Name
			if d.Key != "" {
				what = cmp.Or(d.Partition, "*") + "/" + d.Key
			}
			p.row(d.Kind, c.Source, what, d.Field, d.Source, d.Target, repaired)
		}
	}
	if !first {
		p.line("")
	}
}

// verdict is the last verdict about a target and how old it is.
func verdict(v *control.VerifiedView) string {
	text := verdictText(verify.Verdict(v.Verdict.Verdict))
	if v.Why != "" {
		text += ": " + v.Why
	}
	age := time.Duration(v.AgeSeconds * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("%s (%s ago, %d rows of %d collections, %.1fs)", text, age, v.Rows, v.Collections, v.Seconds)
}
