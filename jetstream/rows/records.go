package rows

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// records are the rows of one column, each as it is encoded, one after another: row i is data[i*stride:(i+1)*stride],
// or data[at[i]:at[i+1]] where the rows differ in size (stride 0).
//
// A number of a packed list is just its value, an entry of a repeated string, bytes or message field is the whole
// field with tag and length. So the rows one after another are what the protobuf message holds, and no row needs to
// be understood to be moved.
type records struct {
	data   []byte // cap is len, so that an index out of range can't reach past it
	stride int
	at     []int // one longer than there are rows; nil for none
}

func (r *records) len() int {
	if r.stride > 0 {
		return len(r.data) / r.stride
	}
	return max(len(r.at)-1, 0)
}

// span is where the rows from up to, but not including, to lie in data.
func (r *records) span(from, to int) (lo, hi int) {
	if r.stride > 0 {
		return from * r.stride, to * r.stride
	}
	return r.at[from], r.at[to]
}

func (r *records) row(i int) []byte {
	lo, hi := r.span(i, i+1)
	return r.data[lo:hi]
}

// fixedRecords are rows of stride bytes each.
func fixedRecords(data []byte, stride int) (records, error) {
	if stride == 0 && len(data) > 0 || stride > 0 && len(data)%stride != 0 {
		return records{}, fmt.Errorf("%d bytes don't divide into rows of %d: %w", len(data), stride, ErrMalformed)
	}
	return records{data: data[:len(data):len(data)], stride: stride}, nil
}

// varintRecords are rows of one varint each. There should be n.
func varintRecords(data []byte, n int) (records, error) {
	at := make([]int, 1, min(n, len(data))+1) // a count that the bytes can't hold claims no memory
	for off := 0; off < len(data); {
		size := 1
		if data[off] >= 0x80 {
			if _, size = protowire.ConsumeVarint(data[off:]); size < 0 {
				return records{}, fmt.Errorf("read number %d: %w: %w", len(at)-1, protowire.ParseError(size), ErrMalformed)
			}
		}
		off += size
		at = append(at, off)
	}
	return records{data: data[:len(data):len(data)], at: at}, nil
}

// entryRecords collects rows that are entries of a repeated field. As long as the entries follow each other in the
// message, data stays a part of it; otherwise they are copied together.
type entryRecords struct {
	records
	end    int // where the last entry ended in the message
	copied bool
}

// newEntryRecords makes room for hint rows: no more than the caller knows the message to have bytes.
func newEntryRecords(hint int) entryRecords {
	return entryRecords{records: records{at: make([]int, 1, hint+1)}}
}

// add takes the next entry f of the message b. text says that it has to be UTF-8.
func (e *entryRecords) add(b []byte, f field, text bool) error {
	if f.typ != protowire.BytesType {
		return f.mistyped()
	}
	if text && !utf8.Valid(f.val) {
		return fmt.Errorf("row %d is no UTF-8: %w", e.len(), ErrMalformed)
	}
	end := f.off + len(f.raw)
	switch {
	case len(e.data) == 0:
		e.data = f.raw
	case !e.copied && e.end == f.off:
		first := e.end - len(e.data)
		e.data = b[first:end:end]
	default:
		e.data = append(e.data, f.raw...)
		e.copied = true
	}
	e.end = end
	e.at = append(e.at, len(e.data))
	return nil
}

// finish clips what add may have left as spare room.
func (e *entryRecords) finish() records {
	e.data = e.data[:len(e.data):len(e.data)]
	return e.records
}

// entry is what an entry of a repeated field holds.
func entry(row []byte) []byte {
	_, _, tag := protowire.ConsumeTag(row)
	_, size := protowire.ConsumeVarint(row[tag:])
	return row[tag+size:]
}

// ints are the rows of a varint column as numbers.
func (r *records) ints() []int64 {
	out := make([]int64, r.len())
	for i := range out {
		v, _ := protowire.ConsumeVarint(r.data[r.at[i]:])
		out[i] = int64(v)
	}
	return out
}

// strings are the rows of a column of strings. They are one copy of the column, made at once.
func (r *records) strings() []string {
	all := string(r.data)
	out := make([]string, r.len())
	for i := range out {
		size := len(entry(r.row(i)))
		out[i] = all[r.at[i+1]-size : r.at[i+1]]
	}
	return out
}

// run is the rows from up to, but not including, to: what choosing rows copies at once.
type run struct{ from, to int }

// runsOf joins neighbours in index to runs.
func runsOf(index []int) []run {
	runs := make([]run, 0, len(index))
	for _, i := range index {
		if k := len(runs) - 1; k >= 0 && runs[k].to == i {
			runs[k].to++
			continue
		}
		runs = append(runs, run{from: i, to: i + 1})
	}
	return runs
}

// size is how many bytes the runs hold.
func (r *records) size(runs []run) int {
	size := 0
	for _, u := range runs {
		lo, hi := r.span(u.from, u.to)
		size += hi - lo
	}
	return size
}

// appendRuns appends the runs of s to r, which has room for them.
func (r *records) appendRuns(s *records, runs []run) {
	data, at := r.data, r.at // local: a store to the heap for each run would cost as much as the run
	for _, u := range runs {
		lo, hi := s.span(u.from, u.to)
		shift := len(data) - lo
		data = append(data, s.data[lo:hi]...)
		if r.stride > 0 {
			continue
		}
		for _, end := range s.at[u.from+1 : u.to+1] {
			at = append(at, end+shift)
		}
	}
	r.data, r.at = data, at
}

// makeRecords are no rows yet, with room for n rows of size bytes in all.
func makeRecords(stride, n, size int) records {
	r := records{data: make([]byte, 0, size), stride: stride}
	if stride == 0 {
		r.at = make([]int, 1, n+1)
	}
	return r
}
