package verify

import (
	"fmt"
	"strings"
	"time"

	"kitestream/jetstream"
)

// Verdict is what a comparison comes to.
type Verdict string

// The verdicts, the worst last.
const (
	Equal     Verdict = "equal"
	Unknown   Verdict = "unknown" // something could not be looked at, or never came to rest
	Different Verdict = "different"
)

// Worse is the worse of two verdicts.
func (v Verdict) Worse(other Verdict) Verdict {
	if v == Different || other == Equal || other == "" {
		return v
	}
	return other
}

// Kind is what a difference is about.
type Kind string

// The kinds. The first three are of rows.
const (
	MissingRow   Kind = "missing"   // the target has not the row
	ExtraRow     Kind = "extra"     // only the target has the row
	DifferentRow Kind = "different" // a field of the row differs

	OfCollection Kind = "collection" // the target has not the collection
	OfSchema     Kind = "schema"
	OfPartition  Kind = "partition"
	OfIndex      Kind = "index"
	OfAlias      Kind = "alias"
	OfProperty   Kind = "property"
	OfLoad       Kind = "load"  // the target has released what the source has loaded
	OfCount      Kind = "count" // the target stores more rows than it has keys
)

// Report is how a verification ended.
type Report struct {
	Task        string       `json:"task"`
	Target      string       `json:"target"`
	Verdict     Verdict      `json:"verdict"`
	Why         string       `json:"why,omitempty"` // of unknown, if it is not of one collection
	Began       time.Time    `json:"began"`
	Seconds     float64      `json:"seconds"` // how long it took
	Sample      *Sample      `json:"sample,omitempty"`
	DryRun      bool         `json:"dry_run,omitempty"`
	Collections []Collection `json:"collections"`
}

// Sample says that rows were compared in some ranges of keys only.
type Sample struct {
	Percent float64 `json:"percent"`
	Seed    uint64  `json:"seed"` // with it the same ranges are chosen again, of the same rows
}

// Collection is how one collection was found.
type Collection struct {
	Source     jetstream.QualifiedName `json:"source"`
	Target     jetstream.QualifiedName `json:"target"`
	ID         int64                   `json:"id"` // the source's
	Verdict    Verdict                 `json:"verdict"`
	Why        []string                `json:"why,omitempty"`          // of unknown
	SourceRows int64                   `json:"source_rows"`            // that were compared
	TargetRows int64                   `json:"target_rows"`            // that were compared
	Missing    int64                   `json:"missing,omitempty"`      // rows, printed or not
	Extra      int64                   `json:"extra,omitempty"`        // rows
	Different  int64                   `json:"different,omitempty"`    // rows
	Settings   int64                   `json:"settings,omitempty"`     // differences that are not of rows
	Unsettled  int64                   `json:"unsettled,omitempty"`    // rows that differ and never came to rest
	Looked     int64                   `json:"looked_again,omitempty"` // rows that were looked at again
	Repaired   int64                   `json:"repaired,omitempty"`     // differences that there were, and are no more

	Differences []Difference `json:"differences,omitempty"` // the first of them
	Search      []Overlap    `json:"search,omitempty"`
	Notes       []string     `json:"notes,omitempty"` // what is otherwise, and no difference
}

// Difference is one thing that is not as on the source. Source and Target are short texts of what either side has; empty where it
// has nothing.
type Difference struct {
	Kind      Kind   `json:"kind"`
	Name      string `json:"name,omitempty"` // of a partition, an index, an alias or a property
	Partition string `json:"partition,omitempty"`
	Key       string `json:"key,omitempty"`
	Field     string `json:"field,omitempty"`
	Source    string `json:"source,omitempty"`
	Target    string `json:"target,omitempty"`
	Repaired  bool   `json:"repaired,omitempty"` // it was there, and is no more
}

// Overlap is how alike the results of searches on both sides are.
type Overlap struct {
	Field    string  `json:"field"`
	Searches int     `json:"searches"`
	Mean     float64 `json:"mean_overlap"`  // of the first ten keys, 0 to 1
	Why      string  `json:"why,omitempty"` // there are no or fewer searches
}

// Found is how many differences there are.
func (c *Collection) Found() int64 { return c.Missing + c.Extra + c.Different + c.Settings }

// Found is how many differences there are.
func (r *Report) Found() int64 {
	var n int64
	for i := range r.Collections {
		n += r.Collections[i].Found()
	}
	return n
}

// Rows is how many rows of the source were compared.
func (r *Report) Rows() int64 {
	var n int64
	for i := range r.Collections {
		n += r.Collections[i].SourceRows
	}
	return n
}

// Trim leaves at most so many differences in each collection's list; the counts stay.
func (r *Report) Trim(most int) {
	for i := range r.Collections {
		if d := r.Collections[i].Differences; len(d) > most {
			r.Collections[i].Differences = d[:most]
		}
	}
}

// Summary is what is wrong with the collection, on a line for people; empty if nothing is.
func (c *Collection) Summary() string {
	var parts []string
	add := func(n int64, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(c.Missing, "rows missing")
	add(c.Extra, "rows too many")
	add(c.Different, "rows different")
	add(c.Settings, "settings different")
	parts = append(parts, c.Why...)
	if len(parts) == 0 {
		return ""
	}
	return c.Source.String() + ": " + strings.Join(parts, ", ")
}

// unknown notes why something could not be told.
func (c *Collection) unknown(why string) {
	c.Verdict = c.Verdict.Worse(Unknown)
	c.Why = append(c.Why, why)
}
