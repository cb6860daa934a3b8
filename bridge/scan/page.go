package scan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"golang.org/x/sync/errgroup"
)

// Page asks for the rows of one partition.
type Page struct {
	Partition string // its name; "" for all partitions together, which is the only way where PartitionKeyed
	After     Key    // the rows behind this key; zero: from the first
	Until     Key    // up to and with this key; zero: to the last
	Limit     int    // at most so many rows; 0: as many as make a page of some 4 MiB
	Guarantee uint64 // at a state of the source not older than this timestamp; 0: at any
	KeysOnly  bool   // no field but the key
}

// Rows are the answer to a Page or a Lookup.
type Rows struct {
	// Fields are as an Insert message on the source's queue carries them: in the schema's order with the key (an auto-ID
	// too), then $meta as a dynamic field; nullable fields in full form with valid_data; without the outputs of functions.
	Fields []*schemapb.FieldData
	N      int   // how many rows there are
	Keys   []Key // ascending, each once
	Last   Key   // where to go on: After of the next page. It may be before Until when a limit cut the page
	Done   bool  // nothing of the range is left behind Last

	// Stored is how many rows the source stores for the page, of which each key has at least one. If it is more than N, some
	// are stored more than once: Repeated tells which.
	Stored int64
}

// Read reads a page.
//
// A Milvus 2.3 leaves rows out of answers with a limit, where keys are stored twice, and out of answers without one. So
// neither is trusted: a limited query only proposes where the page may end, a count says how many rows are stored up to
// there, and the rows are then asked for with a limit so far above the count that it can't matter.
func (col *Collection) Read(ctx context.Context, p Page) (*Rows, error) {
	if err := col.fits(p.After, p.Until); err != nil {
		return nil, fmt.Errorf("read %s: %w", col, err)
	}
	for {
		want := col.pageRows(p)
		rows, err := col.read(ctx, p, want)
		switch {
		case isTooLarge(err) && want > 1 && !p.KeysOnly:
			col.grow(want)
		case isWindow(err) && col.narrowWindow():
		case err != nil:
			return nil, err
		default:
			return rows, nil
		}
	}
}

// fits refuses keys of the other type.
func (col *Collection) fits(keys ...Key) error {
	want := intKey
	if col.key.GetDataType() == schemapb.DataType_VarChar {
		want = stringKey
	}
	for _, k := range keys {
		if !k.IsZero() && k.kind != want {
			return fmt.Errorf("%s is no key of the field %s, which is %s", k, col.key.GetName(), col.key.GetDataType())
		}
	}
	return nil
}

// read reads a page of about so many rows.
func (col *Collection) read(ctx context.Context, p Page, want int) (*Rows, error) {
	whole := span{after: p.After, until: p.Until}
	ends, err := col.keysIn(ctx, p, whole, want)
	if err != nil {
		return nil, err
	}
	rows := &Rows{}
	s := whole
	if len(ends) > 0 {
		if rows, s, err = col.narrow(ctx, p, ends, want); err != nil {
			return nil, err
		}
	} else if rows.Fields, err = col.form(nil, col.columns(p.KeysOnly)); err != nil {
		return nil, err
	}
	rows.Last, rows.Done = s.until, s == whole
	if p.Limit > 0 && rows.N > p.Limit { // rows have come since it was counted
		rows.cut(p.Limit)
	}
	if rows.Done && rows.Last.IsZero() {
		rows.Last = p.After
		if rows.N > 0 {
			rows.Last = rows.Keys[rows.N-1]
		}
	}
	if err := col.same(ctx, p.Partition); err != nil {
		return nil, err
	}
	return rows, col.missing(ctx, p, rows)
}

// cut keeps the first n rows.
func (r *Rows) cut(n int) {
	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	for i, f := range r.Fields {
		r.Fields[i] = pick(f, index)
	}
	r.N, r.Keys, r.Last, r.Done = n, r.Keys[:n], r.Keys[n-1], false
}

// narrow looks for a page that begins the range and is small enough, given keys where it may end.
func (col *Collection) narrow(ctx context.Context, p Page, ends []Key, want int) (*Rows, span, error) {
	s := span{after: p.After, until: p.Until}
	if len(ends) >= want { // else what is proposed is all that there is
		s.until = ends[len(ends)-1]
	}
	for {
		rows, err := col.try(ctx, p, col.dialect.within(s), min(2*want, col.half()))
		if rows != nil || err != nil {
			return rows, s, err
		}
		switch {
		case s.until != ends[len(ends)-1]:
		case len(ends) > 1:
			ends = ends[:len(ends)/2]
		default: // there are others before the only key that is left, or it is stored that often itself
			before, err := col.keysIn(ctx, p, span{after: p.After, until: ends[0], open: true}, want)
			if err != nil {
				return nil, s, err
			}
			if len(before) == 0 {
				rows, err := col.rowsOf(ctx, p, []Key{ends[0]})
				return rows, span{after: p.After, until: ends[0]}, err
			}
			ends = before
		}
		s.until = ends[len(ends)-1]
	}
}

// try reads the rows of which the expression is true, unless more are stored than the bound: then it returns none.
func (col *Collection) try(ctx context.Context, p Page, expr string, bound int) (*Rows, error) {
	var n int64
	var rows *Rows
	both, asked := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		n, err = col.count(asked, p.Partition, expr, p.Guarantee)
		return err
	})
	both.Go(func() (err error) {
		rows, err = col.all(asked, p, expr)
		return err
	})
	if err := both.Wait(); err != nil {
		return nil, err
	}
	// The window is twice the largest bound. What the source came to store between the two answers, so that it had to leave
	// rows out, would show in the number of rows.
	if n > int64(bound) || rows.N > col.half() {
		return nil, nil
	}
	rows.Stored = n
	return rows, nil
}

// all are the rows of which the expression is true, which are known to be fewer than the window.
func (col *Collection) all(ctx context.Context, p Page, expr string) (*Rows, error) {
	want := col.columns(p.KeysOnly)
	got, err := col.ask(ctx, question{
		partition: p.Partition, expr: expr, fields: names(want), limit: int(col.window.Load()), guarantee: p.Guarantee,
	})
	if err != nil {
		return nil, err
	}
	rows := &Rows{}
	if rows.Fields, err = col.form(got, want); err != nil {
		return nil, err
	}
	rows.Keys = keysOf(rows.Fields, col.key.GetName())
	rows.sort()
	rows.N = len(rows.Keys)
	if !p.KeysOnly {
		col.learn(rows)
	}
	return rows, nil
}

// sort has the rows in the order of keys, each once: a server that follows Milvus's own way answers so already.
func (r *Rows) sort() {
	ascending := true
	for i := 1; i < len(r.Keys) && ascending; i++ {
		ascending = r.Keys[i-1].Less(r.Keys[i])
	}
	if ascending {
		return
	}
	index := make([]int, len(r.Keys))
	for i := range index {
		index[i] = i
	}
	slices.SortStableFunc(index, func(a, b int) int { return r.Keys[a].Compare(r.Keys[b]) })
	index = slices.CompactFunc(index, func(a, b int) bool { return r.Keys[a] == r.Keys[b] })
	keys := make([]Key, len(index))
	for i, from := range index {
		keys[i] = r.Keys[from]
	}
	r.Keys = keys
	for i, f := range r.Fields {
		r.Fields[i] = pick(f, index)
	}
}

// Repeated are those of the keys that the source stores more than once, ascending. Which of its rows it answers with is its
// own choice, and may be another each time. It takes some questions for each key that it finds: so it is for few.
func (col *Collection) Repeated(ctx context.Context, partition string, keys []Key, guarantee uint64) ([]Key, error) {
	rows, err := col.Lookup(ctx, partition, keys, guarantee)
	if err != nil {
		return nil, err
	}
	return col.repeated(ctx, Page{Partition: partition, Guarantee: guarantee}, rows.Keys)
}

// repeated halves what it counts, of keys that are all there.
func (col *Collection) repeated(ctx context.Context, p Page, keys []Key) ([]Key, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	n, err := col.count(ctx, p.Partition, col.dialect.among(keys), p.Guarantee)
	switch {
	case err != nil:
		return nil, err
	case n <= int64(len(keys)):
		return nil, nil
	case len(keys) == 1:
		return keys, nil
	}
	half := len(keys) / 2
	a, err := col.repeated(ctx, p, keys[:half])
	if err != nil {
		return nil, err
	}
	b, err := col.repeated(ctx, p, keys[half:])
	return slices.Concat(a, b), err
}

// missing finds the one row that a Milvus 2.3 stores, counts and never answers with: its search for the least key begins
// at the greatest number there is.
func (col *Collection) missing(ctx context.Context, p Page, rows *Rows) error {
	last := IntKey(math.MaxInt64)
	if !rows.Done || p.After == last || !p.Until.IsZero() && p.Until != last || col.key.GetDataType() != schemapb.DataType_Int64 ||
		rows.N > 0 && rows.Keys[rows.N-1] == last {
		return nil
	}
	n, err := col.count(ctx, p.Partition, col.dialect.among([]Key{last}), p.Guarantee)
	if err != nil || n == 0 {
		return err
	}
	return fmt.Errorf("the row of %s with the key %s %w, as the source leaves it out of every answer: delete it there, or give it another key",
		col, last, ErrUnreadable)
}

// Lookup reads the rows of these keys in a partition, in the order of keys. A key that is not there has no row.
func (col *Collection) Lookup(ctx context.Context, partition string, keys []Key, guarantee uint64) (*Rows, error) {
	if err := col.fits(keys...); err != nil || slices.ContainsFunc(keys, Key.IsZero) {
		return nil, fmt.Errorf("look up keys in %s: %w", col, errors.Join(err, errZeroKey(keys)))
	}
	keys = slices.Compact(slices.SortedFunc(slices.Values(keys), Key.Compare))
	p := Page{Partition: partition, Guarantee: guarantee}
	rows, err := col.rowsOf(ctx, p, keys)
	if err != nil {
		return nil, err
	}
	rows.Done = true
	if len(keys) > 0 {
		rows.Last = keys[len(keys)-1]
	}
	if err := col.same(ctx, partition); err != nil {
		return nil, err
	}
	if len(keys) > 0 && rows.Last == IntKey(math.MaxInt64) {
		return rows, col.missing(ctx, p, rows)
	}
	return rows, nil
}

func errZeroKey(keys []Key) error {
	if slices.ContainsFunc(keys, Key.IsZero) {
		return errors.New("one of them is no key")
	}
	return nil
}

// rowsOf are the rows of some keys, asked for in as many parts as it takes.
func (col *Collection) rowsOf(ctx context.Context, p Page, keys []Key) (*Rows, error) {
	if len(keys) == 0 {
		fields, err := col.form(nil, col.columns(p.KeysOnly))
		return &Rows{Fields: fields}, err
	}
	if len(keys) <= col.pageRows(p) {
		bound := col.half()
		if len(keys) == 1 {
			bound = math.MaxInt // a key that is stored that often is one row all the same
		}
		rows, err := col.try(ctx, p, col.dialect.among(keys), bound)
		switch {
		case isWindow(err) && col.narrowWindow():
			return col.rowsOf(ctx, p, keys)
		case isTooLarge(err) && len(keys) > 1:
		case err != nil || rows != nil:
			return rows, err
		}
	}
	half := len(keys) / 2
	a, err := col.rowsOf(ctx, p, keys[:half])
	if err != nil {
		return nil, err
	}
	b, err := col.rowsOf(ctx, p, keys[half:])
	if err != nil {
		return nil, err
	}
	return a.join(b), nil
}
