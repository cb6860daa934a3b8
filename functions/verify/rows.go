package verify

import (
	"context"
	"slices"

	"kitestream/bridge"
	"kitestream/bridge/scan"
)

const (
	maxPending = 10_000 // rows that differ and are yet to be looked at again; at so many that is done at once
	maxRounds  = 6      // looks at what differs, before it is given up as never coming to rest
	maxRepair  = 1000   // keys of one RepairRequest
)

// item is a row that differed when it was looked at last. What either side had is kept as a hash, 0 for no row.
type item struct {
	partition string
	key       scan.Key
	src, dst  uint64
}

// found is a row that differs for sure.
type found struct {
	item
	diffs []Difference // none where the report has enough
}

func (f found) kind() Kind {
	switch {
	case f.dst == 0:
		return MissingRow
	case f.src == 0:
		return ExtraRow
	}
	return DifferentRow
}

// rows compares the rows of a range.
func (c *comparison) rows(ctx context.Context, r keyRange) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &cursor{in: c.src.stream(ctx, c.fields, r)}
	b := &cursor{in: c.dst.stream(ctx, c.fields, r)}
	defer func() { c.out.SourceRows += a.n; c.out.TargetRows += b.n }()
	for {
		more, err := c.step(ctx, r.partition, a, b)
		if err != nil || !more {
			return err
		}
		if len(c.pending) >= maxPending {
			if err := c.flush(ctx); err != nil {
				return err
			}
		}
		if c.steps++; c.steps%progressSteps == 0 {
			c.progress(a.n, b.n)
		}
	}
}

// progressSteps is after how many keys somebody is told.
const progressSteps = 4096

// step compares the next key.
func (c *comparison) step(ctx context.Context, partition string, a, b *cursor) (more bool, err error) {
	inA, err := a.next(ctx)
	if err != nil {
		return false, err
	}
	inB, err := b.next(ctx)
	if err != nil || !inA && !inB {
		return false, err
	}
	var order int
	switch {
	case !inB:
		order = -1
	case !inA:
		order = 1
	default:
		order = a.key().Compare(b.key())
	}
	switch {
	case order < 0:
		c.suspect(partition, a.key(), a.row(), row{})
		a.pass()
	case order > 0:
		c.suspect(partition, b.key(), row{}, b.row())
		b.pass()
	default:
		if !c.same(a.key(), a.row(), b.row(), &c.buf) {
			c.suspect(partition, a.key(), a.row(), b.row())
		}
		a.pass()
		b.pass()
	}
	return true, nil
}

// same reports whether both sides have the row, or neither, and it is the same. Of a key that the source stores more than once
// it answers with any row, so any will do; the target is to have it once.
func (c *comparison) same(key scan.Key, src, dst row, buf *[2][]byte) bool {
	switch {
	case src.page == nil || dst.page == nil:
		return src.page == dst.page
	case dst.page.storesMany(key):
		return false
	case src.page.storesMany(key):
		return true
	}
	return len(c.fields.compare(src, dst, buf)) == 0
}

func (c *comparison) suspect(partition string, key scan.Key, src, dst row) {
	c.pending = append(c.pending, item{partition, key, c.fields.print(src), c.fields.print(dst)})
}

// flush looks at all that differs until it is sure, repairs it if that is wanted, and counts it.
func (c *comparison) flush(ctx context.Context) error {
	items := c.pending
	c.pending = nil
	c.out.Looked += int64(len(items))
	sure, unsettled, err := c.settle(ctx, items)
	if err != nil {
		return err
	}
	if c.cfg.Repair != nil && len(sure) > 0 {
		left, moving, err := c.repair(ctx, sure)
		if err != nil {
			return err
		}
		c.repaired(sure, left, moving)
		sure, unsettled = left, append(unsettled, moving...)
	}
	c.out.Unsettled += int64(len(unsettled))
	for _, f := range sure {
		c.countRow(f.kind())
		c.print(f.diffs...)
	}
	return nil
}

func (c *comparison) countRow(k Kind) {
	switch k {
	case MissingRow:
		c.out.Missing++
	case ExtraRow:
		c.out.Extra++
	default:
		c.out.Different++
	}
}

// print adds to the report what it has room for.
func (c *comparison) print(diffs ...Difference) {
	room := max(0, c.cfg.MaxDifferences-len(c.out.Differences))
	c.out.Differences = append(c.out.Differences, diffs[:min(room, len(diffs))]...)
}

// repaired counts what was sure to differ and does not any more.
func (c *comparison) repaired(sure, left []found, moving []item) {
	still := make(map[item]bool, len(left)+len(moving))
	for _, f := range left {
		still[item{partition: f.partition, key: f.key}] = true
	}
	for _, i := range moving {
		still[item{partition: i.partition, key: i.key}] = true
	}
	for _, f := range sure {
		if still[item{partition: f.partition, key: f.key}] {
			continue
		}
		c.out.Repaired++
		for _, d := range f.diffs {
			d.Repaired = true
			c.print(d)
		}
	}
}

// repair has the rows written again, and looks what they have become. Those that can't be repaired stay as they are.
func (c *comparison) repair(ctx context.Context, sure []found) (left []found, moving []item, err error) {
	items := make([]item, len(sure))
	for i, f := range sure {
		items[i] = f.item
	}
	for partition, part := range byPartition(items) {
		for chunk := range slices.Chunk(part, maxRepair) {
			req := bridge.RepairRequest{CollectionID: c.out.ID, Partition: partition, Keys: keysOf(chunk)}
			if err := c.cfg.Repair(ctx, req); err != nil {
				c.note("rows were not repaired: %v", err)
				return sure, nil, ctx.Err()
			}
		}
	}
	return c.settle(ctx, items)
}

func keysOf(items []item) []scan.Key {
	keys := make([]scan.Key, len(items))
	for i := range items {
		keys[i] = items[i].key
	}
	return keys
}

func byPartition(items []item) map[string][]item {
	out := map[string][]item{}
	for _, i := range items {
		out[i.partition] = append(out[i.partition], i)
	}
	return out
}

// byKey are the page's rows by their keys.
func (p *page) byKey() map[scan.Key]row {
	out := make(map[scan.Key]row, len(p.keys))
	for k, key := range p.keys {
		out[key] = p.row(k)
	}
	return out
}
