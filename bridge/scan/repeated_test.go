//go:build servers

package scan_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/bridge/scan"
)

// twice is a collection of a 2.3.5 that holds keys several times, in every way that there is.
type twice struct {
	w      *world
	col    *scan.Collection
	copies map[scan.Key][]int64 // the numbers of a key's rows, in the order of their writing
}

func newTwice(t *testing.T) *twice {
	w := newWorld(t)
	w.create("c", idField(), numberField(), vectorField(4))
	w.load("c", "v", "FLAT", "L2")
	return &twice{w: w, col: w.collection("c"), copies: map[scan.Key][]int64{}}
}

// put inserts rows of these keys, in one call.
func (c *twice) put(ids ...int64) {
	ns := make([]int64, len(ids))
	for i, id := range ids {
		k := scan.IntKey(id)
		ns[i] = int64(len(c.copies[k]))
		c.copies[k] = append(c.copies[k], ns[i])
	}
	c.w.insert("c", "", longs("id", ids...), longs("n", ns...), vectors("v", 4, ns...))
}

// complete reads all in pages of several sizes: each key is there once, with one of its rows.
func (c *twice) complete(what string) {
	c.w.t.Helper()
	p := scan.Page{Partition: "_default", Guarantee: c.w.now()}
	want := int64(0)
	for _, ns := range c.copies {
		want += int64(len(ns))
	}
	for _, p.Limit = range []int{0, 64, 5, 1} {
		got, stored := c.w.readAll(c.col, p)
		if len(got) != len(c.copies) || stored != want {
			c.w.t.Fatalf("%s, pages of %d: %d keys of %d, %d rows stored of %d", what, p.Limit, len(got), len(c.copies), stored, want)
		}
		for k, ns := range c.copies {
			if h, ok := got[k]; !ok || !slices.Contains(ns, h.n) {
				c.w.t.Fatalf("%s, pages of %d: key %s has %v (%t), want one of %v", what, p.Limit, k, h, ok, ns)
			}
		}
	}
}

// repeated are those of the keys that are said to be stored twice.
func (c *twice) repeated(ids ...int64) string {
	c.w.t.Helper()
	var keys []scan.Key
	for _, id := range ids {
		keys = append(keys, scan.IntKey(id))
	}
	found, err := c.col.Repeated(c.w.t.Context(), "_default", keys, c.w.now())
	if err != nil {
		c.w.t.Fatal(err)
	}
	return fmt.Sprint(found)
}

// TestKeysStoredTwice has rows that a 2.3.5 leaves out of answers with a limit, and of those without.
func TestKeysStoredTwice(t *testing.T) {
	c := newTwice(t)
	for i := range int64(40) { // three times each, one after the other, in a growing segment
		c.put(i*10, i*10, i*10+1)
		c.put(i * 10)
	}
	c.complete("growing")
	c.w.flush("c")
	c.complete("sealed")
	var again []int64
	for i := range int64(40) {
		again = append(again, i*10, i*10+1, i*10+2)
	}
	c.put(again...)
	c.put(again[:60]...)
	c.complete("sealed and growing")
	c.w.flush("c")
	c.put(again[30:90]...)
	c.complete("two sealed and growing")
	var same []int64
	for range 300 { // more often than a page has rows
		same = append(same, 55)
	}
	c.put(same...)
	c.complete("300 times")
	if got := c.repeated(55, 56, 0, 9, 301); got != "[0 55 301]" {
		t.Errorf("stored twice are %s", got)
	}
	rows, err := c.col.Lookup(t.Context(), "_default", []scan.Key{scan.IntKey(55), scan.IntKey(56), scan.IntKey(0)}, c.w.now())
	if err != nil || fmt.Sprint(rows.Keys) != "[0 55]" || rows.Stored < 300 {
		t.Errorf("looked up %v (%v)", rows, err)
	}
}

// TestLastOfTwice has a 2.3.5 answer with the first of a key's rows in a segment, not the last. A Milvus Lite holds the last.
func TestLastOfTwice(t *testing.T) {
	c := newTwice(t)
	c.put(1, 2)
	c.put(1)
	for _, state := range []string{"growing", "sealed"} {
		got, _ := c.w.readAll(c.col, scan.Page{Partition: "_default", Guarantee: c.w.now()})
		if again := c.repeated(1, 2); got[scan.IntKey(1)].n != 0 || again != "[1]" {
			t.Errorf("%s: the row is number %d, and repeated are %s: does the source answer with the last now? Then DESIGN.md is wrong", state, got[scan.IntKey(1)].n, again)
		}
		c.w.flush("c")
	}
	w := newLite(t)
	w.create("c", idField(), numberField(), vectorField(4))
	w.load("c", "v", "FLAT", "L2")
	for n := range int64(3) {
		w.insert("c", "", longs("id", 1, 1), longs("n", n, n+10), vectors("v", 4, n, n))
	}
	got, stored := w.readAll(w.collection("c"), scan.Page{Partition: "_default"})
	if got[scan.IntKey(1)].n != 12 || stored != 1 {
		t.Errorf("the row on Milvus Lite is number %d of %d", got[scan.IntKey(1)].n, stored)
	}
}

// TestPartitionKeyed reads a collection whose partitions the source doesn't let anybody name.
func TestPartitionKeyed(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		w.createOf(partitioned(4), &schemapb.CollectionSchema{Name: "c", Fields: []*schemapb.FieldSchema{
			idField(), field("n", schemapb.DataType_Int64, partitionKey), vectorField(4),
		}})
		w.load("c", "v", "FLAT", "L2")
		ids := make([]int64, 200)
		for i := range ids {
			ids[i] = int64(i)
		}
		w.insert("c", "", longs("id", ids...), longs("n", ids...), vectors("v", 4, ids...))
		col := w.collection("c")
		if !col.PartitionKeyed() || !w.lite && len(col.Partitions) != 4 {
			t.Errorf("partitions %v, by a key: %t", col.Partitions, col.PartitionKeyed())
		}
		got, _ := w.readAll(col, scan.Page{Limit: 30, Guarantee: w.now()})
		if len(got) != len(ids) {
			t.Errorf("%d rows, want %d", len(got), len(ids))
		}
		if w.lite {
			return
		}
		w.insert("c", "", longs("id", 7), longs("n", 8), vectors("v", 4, 8)) // now in two partitions
		got, stored := w.readAll(col, scan.Page{Guarantee: w.now()})
		if len(got) != len(ids) || stored != int64(len(ids))+1 {
			t.Errorf("%d rows of %d, want %d", len(got), stored, len(ids))
		}
	})
}
