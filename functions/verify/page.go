package verify

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"

	"kitestream/bridge/scan"
)

// fields says what of a row is compared.
type fields struct {
	names     []string // in the schema's order
	jsonValue bool     // JSON by its value: a side is a Milvus Lite
	seed      maphash.Seed
}

// page is rows of one side, in the order of keys.
type page struct {
	keys []scan.Key
	at   []int      // the place of each key's row in the columns; nil: the same as the key's
	many []scan.Key // those of the keys that are stored more than once, where that was asked for
	cols []*column  // one for each name of fields; nil where the side has no such field
}

// row is the row of the k-th key.
func (p *page) row(k int) row {
	if p.at != nil {
		k = p.at[k]
	}
	return row{p, k}
}

// storesMany reports whether the key is stored more than once.
func (p *page) storesMany(key scan.Key) bool {
	return len(p.many) > 0 && slices.Contains(p.many, key)
}

// newPage reads the columns of the fields, of those rows that keep says, or of all if that is nil.
func (f *fields) newPage(rows *scan.Rows, keep func(*scan.Rows) ([]int, error)) (*page, error) {
	p := &page{keys: rows.Keys, cols: make([]*column, len(f.names))}
	if rows.N == 0 {
		return p, nil // columns without rows may say nothing of what they hold
	}
	if keep != nil {
		var err error
		if p.at, err = keep(rows); err != nil {
			return nil, err
		}
		p.keys = make([]scan.Key, len(p.at))
		for k, i := range p.at {
			p.keys[k] = rows.Keys[i]
		}
	}
	for _, fd := range rows.Fields {
		c, err := newColumn(fd)
		if err != nil {
			return nil, err
		}
		at := slices.Index(f.names, c.name)
		if at < 0 {
			continue
		}
		if c.n != rows.N || c.valid != nil && len(c.valid) != rows.N {
			return nil, fmt.Errorf("field %q has %d values in %d rows", c.name, c.n, rows.N)
		}
		p.cols[at] = c
	}
	return p, nil
}

// row is one row of a page; the zero row is none.
type row struct {
	page *page
	i    int
}

// print is a hash of all that is compared of a row, 0 for none. It stands for the row as long as this process runs.
func (f *fields) print(r row) uint64 {
	if r.page == nil {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(f.seed)
	var b []byte
	for _, c := range r.page.cols {
		if c == nil {
			continue
		}
		b = f.value(b[:0], c, r.i)
		_, _ = h.Write(put32(nil, uint32(len(b)))) // a hash takes everything
		_, _ = h.Write(b)
	}
	return max(1, h.Sum64())
}

// value appends what a row's field is compared by.
func (f *fields) value(b []byte, c *column, i int) []byte {
	b = c.value(b, i)
	if f.jsonValue && c.json && !c.null(i) {
		b = append(b[:1], canonical(b[1:])...)
	}
	return b
}

// compare gives the indexes of the fields in which two rows differ. Fields that a side has not are for the schema's comparison.
func (f *fields) compare(a, b row, buf *[2][]byte) []int {
	var out []int
	for k, ca := range a.page.cols {
		cb := b.page.cols[k]
		if ca == nil || cb == nil {
			continue
		}
		buf[0], buf[1] = f.value(buf[0][:0], ca, a.i), f.value(buf[1][:0], cb, b.i)
		if !bytes.Equal(buf[0], buf[1]) {
			out = append(out, k)
		}
	}
	return out
}

// describe are the differences between two rows of one key, for the report. Either may be none.
func (f *fields) describe(partition string, key scan.Key, src, dst row) []Difference {
	d := Difference{Kind: DifferentRow, Partition: partition, Key: shorten(key.String())}
	switch {
	case dst.page == nil:
		d.Kind, d.Source = MissingRow, "it"
		return []Difference{d}
	case src.page == nil:
		d.Kind, d.Target = ExtraRow, "it"
		return []Difference{d}
	}
	var out []Difference
	if dst.page.storesMany(key) {
		many := d
		many.Target = "it more than once"
		out = append(out, many)
	}
	var buf [2][]byte
	for _, k := range f.compare(src, dst, &buf) {
		one := d
		a, b := src.page.cols[k], dst.page.cols[k]
		one.Field, one.Source, one.Target = f.names[k], a.show(src.i), b.show(dst.i)
		if at := differAt(a, b, src.i, dst.i); at >= 0 {
			one.Field += "[" + strconv.Itoa(at) + "]"
			one.Source, one.Target = float32Text(a.floats(src.i)[at]), float32Text(b.floats(dst.i)[at])
		}
		out = append(out, one)
	}
	return out
}

// differAt is where two vectors of floats differ first, -1 for anything else.
func differAt(a, b *column, i, j int) int {
	if a.floats == nil || b.floats == nil || a.null(i) || b.null(j) {
		return -1
	}
	x, y := a.floats(i), b.floats(j)
	if len(x) != len(y) {
		return -1
	}
	for k := range x {
		if math.Float32bits(x[k]) != math.Float32bits(y[k]) {
			return k
		}
	}
	return -1
}
