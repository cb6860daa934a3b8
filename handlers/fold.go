package handlers

import (
	"fmt"

	"kitestream/handlers/rules"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

// defaultPartition is where Milvus puts rows whose partition is not named.
const defaultPartition = "_default"

// fold is what is left of a run of row events of one collection when only the last change of each row counts.
//
// A row is a key in a partition: Milvus's upsert and delete act inside one partition, and the same key may be in
// several. A delete that names no partition covers all of them, and whatever the fold holds of that key before it. So
// per key there is at most one delete of all partitions, and per key and partition at most one change after it. The
// deletes are sent before the upserts, which comes to the same as sending everything in order (guarantee 3).
//
// A row that the rule leaves out is no change at all: a source's upsert says by a delete that the row is gone.
type fold struct {
	shape   Shape
	rule    *rules.Rule                   // nil: everything is replicated
	changes []changes                     // as they came
	all     map[rows.Key]place            // the last delete of each key in all partitions
	last    map[string]map[rows.Key]place // by partition, the last change after that
	counts  map[jetstream.Kind]tally      // what has been added
	why     error                         // of the first row for which the rule failed
}

// changes are those of one event.
type changes struct {
	partition string // anyPartition: all
	keys      rows.Keys
	rows      *rows.Rows // nil: the keys are deleted

	keep   []int // the rows that the rule does not leave out; nil: all
	failed int   // of the others, those for which it failed
	why    error // for the first of those
}

// left is how many keys or rows the rule does not leave out.
func (c *changes) left() int {
	if c.keep == nil {
		return c.keys.Len()
	}
	return len(c.keep)
}

// anyPartition stands for all partitions, and for the only one there is to see in a collection with a partition key.
const anyPartition = ""

// place is where a change stands: the index of its changes, and of its row in there.
type place struct{ change, row int32 }

// tally counts events and the rows in them.
type tally struct {
	events, rows         int // of which something is applied
	eventsLeft, rowsLeft int // left out by the rule: whole events, and rows of any
	failed               int // of rowsLeft, those for which the rule failed
}

func newFold(shape Shape, rule *rules.Rule) *fold {
	return &fold{
		shape:  shape,
		rule:   rule,
		all:    map[rows.Key]place{},
		last:   map[string]map[rows.Key]place{},
		counts: map[jetstream.Kind]tally{},
	}
}

// add takes an event of the collection in. The error says that the event can't be read, and that nothing of it was
// taken in.
func (f *fold) add(e *jetstream.Event) error {
	c, err := f.parse(e)
	if err != nil {
		return fmt.Errorf("read event %s: %w", e.ID, err)
	}
	if f.mixed(c.keys) {
		return fmt.Errorf("read event %s: its keys are not of the type of those before: %w", e.ID, jetstream.ErrMalformed)
	}
	f.count(e.Kind, &c)
	if c.left() == 0 {
		return nil
	}
	f.changes = append(f.changes, c)
	at := int32(len(f.changes) - 1)
	if c.keep != nil {
		for _, i := range c.keep {
			f.put(c, c.keys.At(i), place{at, int32(i)})
		}
		return nil
	}
	for i := range c.keys.Len() {
		f.put(c, c.keys.At(i), place{at, int32(i)})
	}
	return nil
}

func (f *fold) count(kind jetstream.Kind, c *changes) {
	t := f.counts[kind]
	if out := c.keys.Len() - c.left(); out > 0 && c.left() == 0 {
		t.eventsLeft, t.rowsLeft = t.eventsLeft+1, t.rowsLeft+out
	} else {
		t.events, t.rows, t.rowsLeft = t.events+1, t.rows+c.left(), t.rowsLeft+out
	}
	t.failed += c.failed
	f.counts[kind] = t
	if f.why == nil {
		f.why = c.why
	}
}

// mixed reports whether the keys are strings where others have been integers, or the other way round.
func (f *fold) mixed(keys rows.Keys) bool {
	for _, c := range f.changes {
		if c.keys.Len() > 0 {
			return keys.Len() > 0 && (c.keys.Strings == nil) != (keys.Strings == nil)
		}
	}
	return false
}

// parse reads the event's body. In a collection with a partition key, all partitions are one.
func (f *fold) parse(e *jetstream.Event) (changes, error) {
	if e.Kind == jetstream.Delete {
		return f.parseDelete(e)
	}
	body, err := rows.ParseInsert(e.Body)
	if err != nil {
		return changes{}, err
	}
	c := changes{partition: e.Partition, rows: body.Rows}
	if c.keys, err = body.Rows.Keys(f.shape.Key); err != nil {
		return changes{}, err
	}
	switch {
	case f.shape.PartitionKey:
		c.partition = anyPartition
	case c.partition == "":
		c.partition = defaultPartition
	}
	if !f.takes(c.partition) {
		c.keep = []int{}
		return c, nil
	}
	return c, cutRows(&c, f.rule)
}

// takes reports whether the rule lets what is in a partition be replicated. What is about all of them is for it to see, as
// are those that a partition key makes.
func (f *fold) takes(partition string) bool {
	return f.rule == nil || partition == anyPartition || f.rule.TakesPartition(partition)
}

func (f *fold) parseDelete(e *jetstream.Event) (changes, error) {
	body, err := rows.ParseDelete(e.Body)
	switch {
	case err != nil:
		return changes{}, err
	case f.shape.PartitionKey || e.PartitionID == allPartitions:
		return changes{partition: anyPartition, keys: body.Keys}, nil
	case e.Partition == "" && e.PartitionID != 0: // taken for all partitions it would delete too much
		return changes{}, fmt.Errorf("partition %d has no name: %w", e.PartitionID, jetstream.ErrMalformed)
	}
	c := changes{partition: e.Partition, keys: body.Keys}
	if !f.takes(c.partition) {
		c.keep = []int{}
	}
	return c, nil
}

// allPartitions is the PartitionID of a delete that names no partition.
const allPartitions = -1

// put makes the change the last one of its row.
func (f *fold) put(c changes, key rows.Key, at place) {
	if c.rows == nil && c.partition == anyPartition {
		f.all[key] = at
		for _, last := range f.last {
			delete(last, key)
		}
		return
	}
	last := f.last[c.partition]
	if last == nil {
		last = map[rows.Key]place{}
		f.last[c.partition] = last
	}
	if c.rows == nil {
		if _, gone := f.all[key]; gone { // everywhere, so here too
			delete(last, key)
			return
		}
	}
	last[key] = at
}

// deletion is keys to delete in one partition, or in all.
type deletion struct {
	partition string
	keys      rows.Keys
}

// deletions are the deletes that are left: first those of all partitions, then those of one.
func (f *fold) deletions() []deletion {
	var all deletion
	named := map[string]*deletion{}
	var order []*deletion
	for at, c := range f.changes {
		if c.rows != nil {
			continue
		}
		left := f.left(at, c)
		if len(left) == 0 {
			continue
		}
		d := &all
		if c.partition != anyPartition {
			if d = named[c.partition]; d == nil {
				d = &deletion{partition: c.partition}
				named[c.partition], order = d, append(order, d)
			}
		}
		d.keys = join(d.keys, c.keys.Take(left))
	}
	var out []deletion
	if all = f.trim(all); all.keys.Len() > 0 {
		out = append(out, all)
	}
	for _, d := range order {
		out = append(out, *d)
	}
	return out
}

// trim drops, where there is only one partition to see, the deletes of keys that are upserted after them: an upsert
// replaces what is there.
func (f *fold) trim(d deletion) deletion {
	if !f.shape.PartitionKey {
		return d
	}
	keep := make([]int, 0, d.keys.Len())
	for i := range d.keys.Len() {
		if _, ok := f.last[anyPartition][d.keys.At(i)]; !ok {
			keep = append(keep, i)
		}
	}
	d.keys = d.keys.Take(keep)
	return d
}

func join(a, b rows.Keys) rows.Keys {
	return rows.Keys{Ints: append(a.Ints, b.Ints...), Strings: append(a.Strings, b.Strings...)}
}

// left are the rows of the changes that no later change has overtaken.
func (f *fold) left(at int, c changes) []int {
	last := f.last[c.partition]
	if c.rows == nil && c.partition == anyPartition {
		last = f.all
	}
	left := make([]int, 0, c.keys.Len())
	for i := range c.keys.Len() {
		if p, ok := last[c.keys.At(i)]; ok && p == (place{int32(at), int32(i)}) {
			left = append(left, i)
		}
	}
	return left
}

// upsertion is rows to upsert into one partition. No two have the same key.
type upsertion struct {
	partition string
	parts     []rows.Part
}

// upsertions are the upserts that are left, one for each partition, in the order the partitions were first written.
func (f *fold) upsertions() []upsertion {
	at := map[string]int{}
	var out []upsertion
	for i, c := range f.changes {
		if c.rows == nil {
			continue
		}
		left := f.left(i, c)
		if len(left) == 0 {
			continue
		}
		k, ok := at[c.partition]
		if !ok {
			k = len(out)
			at[c.partition], out = k, append(out, upsertion{partition: c.partition})
		}
		out[k].parts = append(out[k].parts, rows.Part{Rows: c.rows, Index: left})
	}
	return out
}
