//go:build servers

package scan_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/bridge/scan"
)

// collection describes a collection of the world's database.
func (w *world) collection(name string) *scan.Collection {
	w.t.Helper()
	col, err := w.client.Collection(w.t.Context(), w.db, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return col
}

// now is a guarantee of all that was written so far.
func (w *world) now() uint64 {
	w.t.Helper()
	ts, err := w.client.Now(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return ts
}

// held is a row as tests look at it: the number in its field n, and the first of its vector.
type held struct {
	n int64
	v float32
}

// readAll pages through a range as a caller does, and checks of each page what is promised.
func (w *world) readAll(col *scan.Collection, p scan.Page) (rows map[scan.Key]held, stored int64) {
	w.t.Helper()
	out := map[scan.Key]held{}
	var order []scan.Key
	for pages := 0; ; pages++ {
		rows, err := col.Read(w.t.Context(), p)
		if err != nil {
			w.t.Fatal(err)
		}
		if rows.N != len(rows.Keys) || p.Limit > 0 && rows.N > p.Limit {
			w.t.Fatalf("%d rows with %d keys in a page of %d", rows.N, len(rows.Keys), p.Limit)
		}
		for i, k := range rows.Keys {
			if !p.After.Less(k) || !p.Until.IsZero() && p.Until.Less(k) || rows.Last.Less(k) {
				w.t.Fatalf("key %s is not in (%s, %s], of which the last is %s", k, p.After, p.Until, rows.Last)
			}
			order = append(order, k)
			out[k] = w.row(rows, i, k, p.KeysOnly)
		}
		stored += rows.Stored
		if rows.Done {
			break
		}
		if !p.After.Less(rows.Last) {
			w.t.Fatalf("a page behind %s ends at %s and is not the last", p.After, rows.Last)
		}
		p.After = rows.Last
	}
	if !slices.IsSortedFunc(order, scan.Key.Compare) || len(out) != len(order) {
		w.t.Fatalf("%d keys, %d different ones, sorted: %t", len(order), len(out), slices.IsSortedFunc(order, scan.Key.Compare))
	}
	return out, stored
}

// row looks at row i of a page.
func (w *world) row(rows *scan.Rows, i int, k scan.Key, keyOnly bool) held {
	w.t.Helper()
	if keyOnly {
		if len(rows.Fields) != 1 {
			w.t.Fatalf("%d fields in a page of keys", len(rows.Fields))
		}
		return held{}
	}
	var h held
	for _, f := range rows.Fields {
		switch f.GetFieldName() {
		case "n":
			h.n = f.GetScalars().GetLongData().GetData()[i]
		case "v":
			h.v = f.GetVectors().GetFloatVector().GetData()[i*int(f.GetVectors().GetDim())]
		case "id":
			if v, ok := k.Int(); ok && f.GetScalars().GetLongData().GetData()[i] != v {
				w.t.Fatalf("row %d is that of key %d, not %s", i, f.GetScalars().GetLongData().GetData()[i], k)
			}
		}
	}
	return h
}

// model is what a collection is to hold.
type model struct {
	w    *world
	name string
	text bool // keys are strings
	next int64
	rows map[scan.Key]held
}

// column is the keys as a column.
func (m *model) column(keys []scan.Key) *schemapb.FieldData {
	if m.text {
		v := make([]string, len(keys))
		for i, k := range keys {
			v[i], _ = k.Text()
		}
		return texts("id", v...)
	}
	v := make([]int64, len(keys))
	for i, k := range keys {
		v[i], _ = k.Int()
	}
	return longs("id", v...)
}

// write writes rows of these keys.
func (m *model) write(how func(name, partition string, columns ...*schemapb.FieldData) uint64, keys []scan.Key) {
	ns := make([]int64, len(keys))
	for i, k := range keys {
		m.next++
		ns[i] = m.next
		m.rows[k] = held{m.next, float32(m.next)}
	}
	how(m.name, "", m.column(keys), longs("n", ns...), vectors("v", 4, ns...))
}

func (m *model) insert(keys []scan.Key) { m.write(m.w.insert, keys) }
func (m *model) upsert(keys []scan.Key) { m.write(m.w.upsert, keys) }

// literal is a key in an expression, as Milvus and Milvus Lite both read it.
func literal(k scan.Key) string {
	if v, ok := k.Int(); ok {
		return strconv.FormatInt(v, 10)
	}
	v, _ := k.Text()
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(v) + `"`
}

func (m *model) remove(keys []scan.Key) {
	var in []string
	for _, k := range keys {
		in = append(in, literal(k))
		delete(m.rows, k)
	}
	m.w.remove(m.name, "", "id in ["+strings.Join(in, ",")+"]")
}

// same compares what was read with what is to be held in the range.
func (m *model) same(what string, got map[scan.Key]held, p scan.Page) {
	m.w.t.Helper()
	want := 0
	for k, h := range m.rows {
		if !p.After.Less(k) || !p.Until.IsZero() && p.Until.Less(k) {
			continue
		}
		want++
		if p.KeysOnly {
			h = held{}
		}
		if g, ok := got[k]; !ok || g != h {
			m.w.t.Fatalf("%s: key %s has %v (%t), want %v", what, k, g, ok, h)
		}
	}
	if len(got) != want {
		m.w.t.Fatalf("%s: %d rows, want %d", what, len(got), want)
	}
}

// grown makes a collection of several sealed and growing segments, whose keys interleave, with rows deleted and upserted in
// both.
func (w *world) grown(text bool, shards int32, keys []scan.Key) *model {
	w.t.Helper()
	id := idField()
	if text {
		id = textID()
	}
	m := &model{w: w, name: "c", text: text, rows: map[scan.Key]held{}}
	w.createOf(&milvuspb.CreateCollectionRequest{ShardsNum: shards}, &schemapb.CollectionSchema{
		Name: "c", Fields: []*schemapb.FieldSchema{id, numberField(), vectorField(4)},
	})
	w.load("c", "v", "FLAT", "L2")
	r := rand.New(rand.NewPCG(1, uint64(shards)))
	r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	const parts = 5
	size := len(keys) / parts
	for i := range parts {
		part := keys[i*size : (i+1)*size]
		m.insert(part)
		m.remove(part[:size/10])          // of the segment that is growing
		m.upsert(part[size/10 : size/5])  // the same
		m.upsert(keys[:size/7])           // of those before, too: some were deleted
		m.remove(keys[size/7 : size/6+1]) // the same
		if i < parts-1 {
			w.flush("c")
		}
	}
	return m
}

// nasty are strings of every kind of character.
func nasty() []string {
	return []string{
		"", " ", `"`, `'`, `\`, `\\`, `\"`, `say "hi"`, `it's`, "`", "new\nline", "cr\rlf\n", "tab\t", "nul\x00", "\x00", "\x01f", "\x7f",
		`\n`, `\u0041`, `\x41`, `\101`, "ünïcödé", "漢字", "🪁", "\u2028", "\u00a0", "\ufeff", "\U0010ffff", "e\u0301", "%", "_", "a,b", "[x]", "]",
		`") or ("" == "`, "id", "true", "1", "--", "/*", "{}", "$meta", strings.Repeat(`"\`, 200), "a", "a\x00", "aa", "A", "Z", "z", "ÿ",
	}
}

// TestPagesSkipNothing reads every live row once, in order, whatever the size of pages.
func TestPagesSkipNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		text   bool
		shards int32
	}{"int64": {false, 3}, "varchar": {true, 1}} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, w *world) {
				pagesSkipNothing(w, w.grown(tc.text, tc.shards, manyKeys(tc.text)))
			})
		})
	}
}

// manyKeys are the extremes of their type, and many between.
func manyKeys(text bool) []scan.Key {
	var keys []scan.Key
	if text {
		for _, s := range nasty() {
			keys = append(keys, scan.StringKey(s))
		}
	} else {
		for _, v := range []int64{math.MinInt64, math.MinInt64 + 1, -1 << 62, -1, 1, 1 << 62, math.MaxInt64 - 1} {
			keys = append(keys, scan.IntKey(v))
		}
	}
	for i := range int64(3000) {
		if text {
			keys = append(keys, scan.StringKey(fmt.Sprintf("k%d", i*7919%3001)))
		} else {
			keys = append(keys, scan.IntKey((i-1500)*3))
		}
	}
	return keys
}

func pagesSkipNothing(w *world, m *model) {
	col, p := w.collection("c"), scan.Page{Partition: "_default", Guarantee: w.now()}
	for _, p.Limit = range []int{0, 1000, 97} {
		got, stored := w.readAll(col, p)
		m.same(fmt.Sprintf("pages of %d", p.Limit), got, p)
		if stored != int64(len(got)) {
			w.t.Errorf("%d rows are said to be stored, and %d are there", stored, len(got))
		}
	}
	p.Limit, p.After, p.Until = 1, scan.IntKey(0), scan.IntKey(300)
	if m.text {
		p.After, p.Until = scan.StringKey("k10"), scan.StringKey("k11")
	}
	got, _ := w.readAll(col, p)
	m.same("pages of 1", got, p)
	p = scan.Page{Partition: "_default", KeysOnly: true, Guarantee: p.Guarantee}
	got, _ = w.readAll(col, p)
	m.same("keys only", got, p)
	if n, err := col.Count(w.t.Context(), "_default", p.Guarantee); err != nil || n != int64(len(m.rows)) {
		w.t.Errorf("Count = %d, %v, want %d", n, err, len(m.rows))
	}
	edges(m, col, p.Guarantee)
}

// edges begins and ends at keys that are and that aren't there.
func edges(m *model, col *scan.Collection, guarantee uint64) {
	sorted := slices.Collect(func(yield func(scan.Key) bool) {
		for k := range m.rows {
			if !yield(k) {
				return
			}
		}
	})
	slices.SortFunc(sorted, scan.Key.Compare)
	n := len(sorted)
	ends := []scan.Key{{}, sorted[0], sorted[1], sorted[n/3], sorted[n/2], sorted[n-2], sorted[n-1]}
	if m.text {
		ends = append(ends, scan.StringKey(""), scan.StringKey("k1\"\\\n"), scan.StringKey("\U0010ffff\U0010ffff"))
		for _, s := range nasty() {
			ends = append(ends, scan.StringKey(s))
		}
	} else {
		ends = append(ends, scan.IntKey(math.MinInt64), scan.IntKey(math.MinInt64+1), scan.IntKey(math.MaxInt64), scan.IntKey(5))
	}
	for i, after := range ends {
		for _, until := range []scan.Key{{}, ends[(i*5+3)%len(ends)]} {
			if !until.IsZero() && !after.Less(until) {
				after, until = until, after
			}
			p := scan.Page{Partition: "_default", After: after, Until: until, Guarantee: guarantee, KeysOnly: i > 8}
			got, _ := m.w.readAll(col, p)
			m.same(fmt.Sprintf("from %s to %s", after, until), got, p)
		}
	}
	// Looked up, some of which are not there.
	rows, err := col.Lookup(m.w.t.Context(), "_default", append([]scan.Key{ends[len(ends)-1]}, sorted...), guarantee)
	if err != nil {
		m.w.t.Fatal(err)
	}
	got := map[scan.Key]held{}
	for i, k := range rows.Keys {
		got[k] = m.w.row(rows, i, k, false)
	}
	m.same("lookup", got, scan.Page{})
	if !slices.IsSortedFunc(rows.Keys, scan.Key.Compare) || rows.N != n || !rows.Done {
		m.w.t.Errorf("%d rows looked up, want %d", rows.N, n)
	}
}
