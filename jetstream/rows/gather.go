package rows

import (
	"fmt"
	"slices"
)

// Part is some rows of Rows, for Gather.
type Part struct {
	Rows  *Rows
	Index []int // the rows to take, in that order; none of them if it is empty
}

// Take is the rows in index, in that order. They are copies, and share no memory with r. An index out of range
// panics, as that of a slice does.
func (r *Rows) Take(index []int) *Rows {
	out, _ := gather([]choice{{rows: r, runs: runsOf(index), n: len(index)}}) // one part fits itself
	return out
}

// Concat puts rows together, one part after the other. See Gather.
func Concat(parts ...*Rows) (*Rows, error) {
	choices := make([]choice, len(parts))
	for i, r := range parts {
		choices[i] = choice{rows: r, runs: []run{{0, r.n}}, n: r.n}
	}
	return gather(choices)
}

// Gather puts chosen rows of several parts together, one part after the other. The result shares no memory with them.
//
// Each part that gives rows must have the same fields, of the same type and dimension; their order may differ and is
// that of the first. Otherwise the error wraps ErrFields. Where the parts' columns say nothing of nulls but in some,
// no row of the others is null.
func Gather(parts []Part) (*Rows, error) {
	choices := make([]choice, len(parts))
	for i, p := range parts {
		for _, k := range p.Index {
			if k < 0 || k >= p.Rows.n {
				return nil, fmt.Errorf("gather row %d of the %d in part %d: out of range", k, p.Rows.n, i)
			}
		}
		choices[i] = choice{rows: p.Rows, runs: runsOf(p.Index), n: len(p.Index)}
	}
	return gather(choices)
}

// choice is n rows of Rows, as runs.
type choice struct {
	rows *Rows
	runs []run
	n    int
}

func (p choice) differs(other choice) error {
	return fmt.Errorf("gather rows of fields %q and %q: %w", p.rows.Fields(), other.rows.Fields(), ErrFields)
}

func gather(parts []choice) (*Rows, error) {
	if len(parts) == 0 {
		return &Rows{}, nil
	}
	fields := parts[0].rows.cols
	parts = slices.DeleteFunc(slices.Clone(parts), func(p choice) bool { return p.n == 0 })
	out := &Rows{}
	for _, p := range parts {
		out.n += p.n
	}
	if len(parts) > 0 {
		fields = parts[0].rows.cols
	}
	for _, p := range parts {
		if len(p.rows.cols) != len(fields) {
			return nil, parts[0].differs(p)
		}
	}
	out.cols = make([]*column, len(fields))
	from := make([]*column, len(parts))
	for place, first := range fields {
		for i, p := range parts {
			if from[i] = p.rows.column(first.name, place); from[i] == nil {
				return nil, parts[0].differs(p)
			}
		}
		c, err := first.gather(from, parts, out.n)
		if err != nil {
			return nil, err
		}
		out.cols[place] = c
	}
	return out, nil
}

// gather is the n chosen rows of the columns from, which are those of the parts.
func (c *column) gather(from []*column, parts []choice, n int) (*column, error) {
	out, size, nulls := *c, 0, false
	for i, f := range from {
		if err := out.adopt(f); err != nil {
			return nil, fmt.Errorf("gather %s: %w", c, err)
		}
		size += f.rows.size(parts[i].runs)
		nulls = nulls || f.valid != nil
	}
	out.rows, out.valid = makeRecords(c.rows.stride, n, size), nil
	for i, f := range from {
		out.rows.appendRuns(&f.rows, parts[i].runs)
	}
	if nulls {
		out.valid = gatherValid(from, parts, n)
	}
	return &out, nil
}

// adopt makes c's properties fit the rows of f too.
func (c *column) adopt(f *column) error {
	if c.layout != f.layout || c.typ != f.typ || c.rows.stride != f.rows.stride || c.dynamic != f.dynamic {
		return fmt.Errorf("it is %s of %d bytes a row elsewhere: %w", f, f.rows.stride, ErrFields)
	}
	if c.layout.part == scalarPart { // an array's element type, which some clients leave out
		if c.second != 0 && f.second != 0 && c.second != f.second {
			return fmt.Errorf("it has elements of type %d and %d: %w", c.second, f.second, ErrFields)
		}
	}
	// The dim of sparse vectors is the largest of the batch.
	c.dim, c.second = max(c.dim, f.dim), max(c.second, f.second)
	return nil
}

func gatherValid(from []*column, parts []choice, n int) []bool {
	out := make([]bool, 0, n)
	for i, f := range from {
		for _, u := range parts[i].runs {
			if f.valid != nil {
				out = append(out, f.valid[u.from:u.to]...)
				continue
			}
			for range u.to - u.from {
				out = append(out, true)
			}
		}
	}
	return out
}
