package oracle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Difference is one thing in which a target is not as its source.
type Difference struct {
	Where  string // such as "default.orders, row _default/17, field price"
	Source string // what the source has; Absent
	Target string // what the target has; Absent
}

// Absent stands in a Difference for what one side has not.
const Absent = "nothing"

func (d Difference) String() string {
	return fmt.Sprintf("%s: source has %s, target has %s", d.Where, d.Source, d.Target)
}

// Diff is all that differs, and how much was compared.
type Diff struct {
	Differences []Difference
	Collections int
	Rows        int // of the source
	Set         int // settings, of either side
}

// Equal reports whether nothing differs.
func (d *Diff) Equal() bool { return len(d.Differences) == 0 }

// String is a verdict of a few lines.
func (d *Diff) String() string {
	const most = 20
	compared := fmt.Sprintf("%d collections, %d rows", d.Collections, d.Rows)
	if d.Set > 0 {
		compared = fmt.Sprintf("%d collections, %d settings", d.Collections, d.Set)
	}
	if d.Equal() {
		return "equal: " + compared
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d differences in %s:", len(d.Differences), compared)
	for i, x := range d.Differences {
		if i == most {
			fmt.Fprintf(&b, "\n  … and %d more", len(d.Differences)-most)
			break
		}
		fmt.Fprintf(&b, "\n  %s", x)
	}
	return b.String()
}

func (d *Diff) add(where, source, target string) {
	d.Differences = append(d.Differences, Difference{Where: where, Source: source, Target: target})
}

// same adds a difference unless the two are the same.
func (d *Diff) same(where, source, target string) {
	if source != target {
		d.add(where, source, target)
	}
}

// Compare compares what two collections hold, or a collection with what a Model says.
//
// A key that clients inserted into the source several times is a case of its own: which of its rows Milvus then shows
// is not defined, so the target need only have the key, once or as often.
func Compare(source, target *Table) *Diff {
	d := &Diff{Collections: 1, Rows: len(source.Rows)}
	d.tables(source, target)
	return d
}

func (d *Diff) tables(source, target *Table) {
	name := source.Name
	d.same(name+", fields", strings.Join(source.Fields, " "), strings.Join(target.Fields, " "))
	if !slices.Equal(source.Fields, target.Fields) {
		return // rows can't be told apart then
	}
	for _, p := range union(source.Counts, target.Counts) {
		s, t := source.Counts[p], target.Counts[p]
		if least := s - source.Duplicates(p); t < least || t > s {
			d.add(fmt.Sprintf("%s, count of partition %q", name, p), fmt.Sprint(s), fmt.Sprint(t))
		}
	}
	keys := slices.Collect(maps.Keys(source.Rows))
	for k := range target.Rows {
		if _, ok := source.Rows[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, compareKeys)
	for _, k := range keys {
		where := fmt.Sprintf("%s, row %s", name, k)
		if n := target.Stored[k]; n > max(1, source.Stored[k]) {
			d.add(where, fmt.Sprintf("it %d times", max(1, source.Stored[k])), fmt.Sprintf("it %d times", n))
		}
		if source.Stored[k] > 1 && target.Rows[k] != nil {
			continue
		}
		d.row(where, source.Fields, source.Rows[k], target.Rows[k])
	}
}

func (d *Diff) row(where string, fields []string, source, target Row) {
	switch {
	case target == nil:
		d.add(where, "it", Absent)
	case source == nil:
		d.add(where, Absent, "it")
	default:
		for i, f := range fields {
			if source[i] != target[i] {
				d.add(where+", field "+f, source[i], target[i])
			}
		}
	}
}

// union is the keys of both maps, sorted.
func union[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}
