//go:build servers

package scan_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kitestream/bridge/scan"
	"kitestream/test/servers"
)

func partitioned(n int64) *milvuspb.CreateCollectionRequest {
	return &milvuspb.CreateCollectionRequest{ShardsNum: 1, NumPartitions: n}
}

func (w *world) partition(name, partition string) {
	w.t.Helper()
	w.said(w.raw.CreatePartition(w.t.Context(), &milvuspb.CreatePartitionRequest{DbName: w.db, CollectionName: name, PartitionName: partition}))
}

func (w *world) release(name string, partitions ...string) {
	w.t.Helper()
	if len(partitions) == 0 {
		w.said(w.raw.ReleaseCollection(w.t.Context(), &milvuspb.ReleaseCollectionRequest{DbName: w.db, CollectionName: name}))
		return
	}
	w.said(w.raw.ReleasePartitions(w.t.Context(), &milvuspb.ReleasePartitionsRequest{DbName: w.db, CollectionName: name, PartitionNames: partitions}))
}

// TestPartitions reads one partition and none of the others, also where they hold the same keys.
func TestPartitions(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		w.create("c", idField(), numberField(), vectorField(4))
		w.partition("c", "a")
		w.partition("c", "b")
		w.load("c", "v", "FLAT", "L2")
		same := int64(1)
		if w.lite { // which holds a key once
			same = 100
		}
		w.insert("c", "a", longs("id", 1, 2, 3), longs("n", 1, 2, 3), vectors("v", 4, 1, 2, 3))
		w.insert("c", "b", longs("id", same, 4), longs("n", 11, 14), vectors("v", 4, 11, 14))
		col, g := w.collection("c"), w.now()
		for partition, want := range map[string]map[scan.Key]held{
			"a":        {scan.IntKey(1): {1, 1}, scan.IntKey(2): {2, 2}, scan.IntKey(3): {3, 3}},
			"b":        {scan.IntKey(same): {11, 11}, scan.IntKey(4): {14, 14}},
			"_default": {},
		} {
			m := &model{w: w, rows: want}
			got, _ := w.readAll(col, scan.Page{Partition: partition, Guarantee: g})
			m.same(partition, got, scan.Page{})
			if n, err := col.Count(t.Context(), partition, g); err != nil || n != int64(len(want)) {
				t.Errorf("%s: Count = %d, %v", partition, n, err)
			}
		}
		if n, err := col.Count(t.Context(), "", g); err != nil || n != 5 {
			t.Errorf("Count of all = %d, %v", n, err)
		}
		_, err := col.Read(t.Context(), scan.Page{Partition: "none"})
		if err == nil {
			t.Error("a partition that was never there can be read")
		}
		if !w.lite { // which drops what is loaded, and can't release it alone
			w.release("c", "b")
		}
		w.said(w.raw.DropPartition(t.Context(), &milvuspb.DropPartitionRequest{DbName: w.db, CollectionName: "c", PartitionName: "b"}))
		for what, call := range calls(t, col, "b") {
			if err := call(); !errors.Is(err, scan.ErrNoPartition) || scan.IsTransient(err) {
				t.Errorf("%s of a dropped partition = %v", what, err)
			}
		}
		w.partition("c", "b")
		if w.lite {
			return // whose partitions have no ids
		}
		for what, call := range calls(t, col, "b") {
			if err := call(); !errors.Is(err, scan.ErrRecreated) && !errors.Is(err, scan.ErrNotLoaded) || scan.IsTransient(err) {
				t.Errorf("%s of a partition made anew = %v", what, err)
			}
		}
	})
}

// calls are everything that reads rows of a partition.
func calls(t *testing.T, col *scan.Collection, partition string) map[string]func() error {
	return map[string]func() error{
		"Read":   func() error { _, err := col.Read(t.Context(), scan.Page{Partition: partition}); return err },
		"Lookup": func() error { _, err := col.Lookup(t.Context(), partition, []scan.Key{scan.IntKey(1)}, 0); return err },
		"Count":  func() error { _, err := col.Count(t.Context(), partition, 0); return err },
	}
}

// TestLoading says what is loaded, loads and releases.
func TestLoading(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.create("c", idField(), numberField(), vectorField(4))
		w.partition("c", "a")
		w.load("c", "v", "FLAT", "L2")
		w.insert("c", "a", longs("id", 1), longs("n", 1), vectors("v", 4, 1))
		col := w.collection("c")
		loading := func(whole bool, partitions string) {
			t.Helper()
			l, err := col.Loaded(ctx)
			if err != nil || l.Whole != whole || strings.Join(l.Partitions, ",") != partitions || l.Has("a") != strings.HasSuffix(partitions, ",a") || l.Has("") != whole {
				t.Errorf("Loaded = %+v, %v, want %t, %s", l, err, whole, partitions)
			}
		}
		loading(true, "_default,a")
		if err := col.Release(ctx); err != nil {
			t.Fatal(err)
		}
		loading(false, "")
		for what, call := range calls(t, col, "a") {
			if err := call(); !errors.Is(err, scan.ErrNotLoaded) || scan.IsTransient(err) ||
				!strings.Contains(err.Error(), col.String()+", partition a is not loaded: load it on the source, or set snapshot_load: true") {
				t.Errorf("%s of what is not loaded = %v", what, err)
			}
		}
		if err := col.Load(ctx); err != nil {
			t.Fatal(err)
		}
		loading(true, "_default,a")
		if got, _ := w.readAll(col, scan.Page{Partition: "a", Guarantee: w.now()}); len(got) != 1 {
			t.Errorf("%d rows after a load", len(got))
		}
		if w.lite {
			return // which loads a collection as a whole
		}
		w.release("c", "a")
		loading(false, "_default")
		if _, err := col.Read(ctx, scan.Page{Partition: "a"}); !errors.Is(err, scan.ErrNotLoaded) {
			t.Errorf("Read of a released partition = %v", err)
		}
		w.insert("c", "", longs("id", 2), longs("n", 2), vectors("v", 4, 2))
		if err := col.Load(ctx); err != nil { // what is missing
			t.Fatal(err)
		}
		loading(true, "_default,a")
		for _, partition := range []string{"a", "_default"} {
			if got, _ := w.readAll(col, scan.Page{Partition: partition, Guarantee: w.now()}); len(got) != 1 {
				t.Errorf("%d rows in %s after the rest was loaded", len(got), partition)
			}
		}
		if err := col.Release(ctx, "_default"); err != nil {
			t.Fatal(err)
		}
		loading(false, "_default")
	})
}

// TestGone reads collections that are not there, or not those that were described.
func TestGone(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		if _, err := w.client.Collection(ctx, w.db, "none"); !errors.Is(err, scan.ErrNoCollection) {
			t.Errorf("Collection = %v", err)
		}
		if _, err := w.client.Collection(ctx, "ks_scan_none", "none"); !errors.Is(err, scan.ErrNoCollection) && !w.lite {
			t.Errorf("Collection of no database = %v", err)
		}
		w.create("c", idField(), numberField(), vectorField(4))
		w.load("c", "v", "FLAT", "L2")
		col := w.collection("c")
		w.said(w.raw.DropCollection(ctx, &milvuspb.DropCollectionRequest{DbName: w.db, CollectionName: "c"}))
		for what, call := range calls(t, col, "_default") {
			if err := call(); !errors.Is(err, scan.ErrNoCollection) || scan.IsTransient(err) {
				t.Errorf("%s of a dropped collection = %v", what, err)
			}
		}
		if w.lite {
			return // whose collections have no ids
		}
		w.create("c", idField(), numberField(), vectorField(4))
		w.load("c", "v", "FLAT", "L2")
		for what, call := range calls(t, col, "_default") {
			if err := call(); !errors.Is(err, scan.ErrRecreated) || scan.IsTransient(err) {
				t.Errorf("%s of a collection made anew = %v", what, err)
			}
		}
		for what, call := range calls(t, col, "") {
			if err := call(); !errors.Is(err, scan.ErrRecreated) {
				t.Errorf("%s of all partitions of a collection made anew = %v", what, err)
			}
		}
	})
}

// TestGreatestKey has the one row that no query of a 2.3.5 gives back.
func TestGreatestKey(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		w.create("c", idField(), numberField(), vectorField(4))
		w.load("c", "v", "FLAT", "L2")
		w.insert("c", "", longs("id", 1, math.MaxInt64), longs("n", 1, 2), vectors("v", 4, 1, 2))
		col, last := w.collection("c"), scan.IntKey(math.MaxInt64)
		p := scan.Page{Partition: "_default", Guarantee: w.now()}
		if w.lite {
			if got, _ := w.readAll(col, p); got[last].n != 2 {
				t.Errorf("read %v", got)
			}
			return
		}
		for _, after := range []scan.Key{{}, scan.IntKey(1), scan.IntKey(7)} {
			p.After = after
			if _, err := col.Read(t.Context(), p); !errors.Is(err, scan.ErrUnreadable) || scan.IsTransient(err) {
				t.Errorf("Read behind %s = %v", after, err)
			}
		}
		if _, err := col.Lookup(t.Context(), "_default", []scan.Key{last}, p.Guarantee); !errors.Is(err, scan.ErrUnreadable) {
			t.Errorf("Lookup = %v", err)
		}
		p.After, p.Until = scan.Key{}, scan.IntKey(math.MaxInt64-1)
		if got, _ := w.readAll(col, p); len(got) != 1 {
			t.Errorf("read %v", got)
		}
	})
}

// TestWrongKeys refuses keys of another type than the collection's.
func TestWrongKeys(t *testing.T) {
	w := newLite(t)
	w.create("c", idField(), numberField(), vectorField(4))
	w.load("c", "v", "FLAT", "L2")
	col := w.collection("c")
	for _, p := range []scan.Page{{After: scan.StringKey("1")}, {Until: scan.StringKey("")}} {
		if _, err := col.Read(t.Context(), p); err == nil || !strings.Contains(err.Error(), "is no key of the field id, which is Int64") {
			t.Errorf("Read = %v", err)
		}
	}
	for _, k := range []scan.Key{{}, scan.StringKey("1")} {
		if _, err := col.Lookup(t.Context(), "", []scan.Key{k}, 0); err == nil {
			t.Errorf("Lookup of %s is fine", k)
		}
	}
	rows, err := col.Lookup(t.Context(), "_default", nil, 0)
	if err != nil || rows.N != 0 || len(rows.Fields) != 3 {
		t.Errorf("Lookup of nothing = %v, %v", rows, err)
	}
}

// TestNow orders timestamps and rows.
func TestNow(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		w.create("c", idField(), numberField(), vectorField(4))
		last := w.now()
		for i := range int64(50) {
			ts := w.insert("c", "", longs("id", i), longs("n", i), vectors("v", 4, i))
			now := w.now()
			if now <= last || ts > now {
				t.Fatalf("a row of %d, and then it is %d, after %d", ts, now, last)
			}
			last = now
		}
	})
}

// TestGuarantee sees all that was written before Now, in every page, while others write.
func TestGuarantee(t *testing.T) {
	w := newWorld(t)
	w.create("c", idField(), numberField(), vectorField(4))
	w.load("c", "v", "FLAT", "L2")
	col := w.collection("c")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // another writer, whose rows are not asked for
		for i := int64(1 << 40); ctx.Err() == nil; i++ {
			_, _ = w.raw.Insert(ctx, &milvuspb.InsertRequest{DbName: w.db, CollectionName: "c", NumRows: 1,
				FieldsData: []*schemapb.FieldData{longs("id", i), longs("n", i), vectors("v", 4, i)}})
		}
	})
	defer wg.Wait()
	defer cancel()
	for i := range int64(20) {
		w.insert("c", "", longs("id", i), longs("n", i), vectors("v", 4, i))
		if i > 0 {
			w.upsert("c", "", longs("id", i-1), longs("n", i+100), vectors("v", 4, i))
		}
		p := scan.Page{Partition: "_default", Until: scan.IntKey(i), Limit: 7, Guarantee: w.now()}
		got, _ := w.readAll(col, p)
		if len(got) != int(i)+1 || i > 0 && got[scan.IntKey(i-1)].n != i+100 {
			t.Fatalf("after row %d there are %v", i, got)
		}
	}
}

// TestReachedGuaranteeDoesNotWait reads a page for each of a few hundred rows: that each waits for a tick of 200 ms would
// take longer than the test may.
func TestReachedGuaranteeDoesNotWait(t *testing.T) {
	w := newWorld(t)
	w.create("c", idField(), numberField(), vectorField(4))
	w.load("c", "v", "FLAT", "L2")
	ids := make([]int64, 500)
	for i := range ids {
		ids[i] = int64(i)
	}
	w.insert("c", "", longs("id", ids...), longs("n", ids...), vectors("v", 4, ids...))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second) // 500 times three waits are 300
	defer cancel()
	col, p := w.collection("c"), scan.Page{Partition: "_default", Limit: 1, Guarantee: w.now()}
	for i := range ids {
		rows, err := col.Read(ctx, p)
		if err != nil || rows.N != 1 || rows.Keys[0] != scan.IntKey(int64(i)) {
			t.Fatalf("page %d: %v, %v", i, rows, err)
		}
		p.After = rows.Last
	}
}

// TestSmallAnswers has a source that was set to give few rows, and few bytes, in an answer.
func TestSmallAnswers(t *testing.T) {
	m, err := servers.StartMilvus(t.Context(), servers.MilvusConfig{Dir: t.TempDir(), Set: map[string]string{
		"quotaAndLimits.limits.maxOutputSize": "100000", "quotaAndLimits.limits.maxQueryResultWindow": "700",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	w := worldAt(t, m.Addr, false)
	const n = 2000
	w.create("c", idField(), numberField(), vectorField(64), field("t", schemapb.DataType_VarChar, param("max_length", 65535)))
	w.load("c", "v", "FLAT", "L2")
	ids, long := make([]int64, n), make([]string, n)
	for i := range ids {
		ids[i] = int64(i)
		if long[i] = "x"; i%50 == 0 {
			long[i] = strings.Repeat("y", 40000)
		}
	}
	w.insert("c", "", longs("id", ids...), longs("n", ids...), vectors("v", 64, ids...), texts("t", long...))
	col := w.collection("c")
	p := scan.Page{Partition: "_default", Guarantee: w.now()}
	if got, _ := w.readAll(col, p); len(got) != n {
		t.Errorf("%d rows, want %d", len(got), n)
	}
	p.KeysOnly = true
	if got, _ := w.readAll(col, p); len(got) != n {
		t.Errorf("%d keys, want %d", len(got), n)
	}
	var keys []scan.Key
	for _, id := range ids {
		keys = append(keys, scan.IntKey(id))
	}
	if rows, err := col.Lookup(t.Context(), "_default", keys, p.Guarantee); err != nil || rows.N != n {
		t.Errorf("Lookup: %v", err)
	}
}

// TestDial has addresses where no Milvus answers.
func TestDial(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := scan.Dial(ctx, scan.Config{URI: "http://127.0.0.1:1", Token: "user:secret"})
	if status.Code(errors.Unwrap(err)) != codes.Unavailable && !scan.IsTransient(err) || strings.Contains(err.Error(), "secret") {
		t.Errorf("Dial = %v", err)
	}
}
