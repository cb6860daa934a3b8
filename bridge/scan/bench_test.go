//go:build servers

package scan_test

import (
	"fmt"
	"testing"

	"kitestream/bridge/scan"
)

// BenchmarkRead reads 100,000 rows of 128 dimensions of a real 2.3.5, page by page.
func BenchmarkRead(b *testing.B) {
	const n, batch, dim = 100_000, 5000, 128
	w := newWorld(b)
	w.create("c", idField(), numberField(), vectorField(dim))
	ids := make([]int64, batch)
	for part := range n / batch {
		for i := range ids { // interleaved over the segments
			ids[i] = int64(i*(n/batch) + part)
		}
		w.insert("c", "", longs("id", ids...), longs("n", ids...), vectors("v", dim, ids...))
		if part%5 == 3 { // three of four parts are sealed
			w.flush("c")
		}
	}
	w.load("c", "v", "FLAT", "L2")
	col, guarantee := w.collection("c"), w.now()
	if _, err := col.Count(b.Context(), "_default", guarantee); err != nil { // waits for the guarantee
		b.Fatal(err)
	}
	for _, limit := range []int{0, 5000, 2500} {
		b.Run(fmt.Sprintf("pages_of_%d", limit), func(b *testing.B) {
			pages, rows := 0, 0
			for b.Loop() {
				for p := (scan.Page{Partition: "_default", Limit: limit, Guarantee: guarantee}); ; pages++ {
					r, err := col.Read(b.Context(), p)
					if err != nil {
						b.Fatal(err)
					}
					rows += r.N
					if p.After = r.Last; r.Done {
						break
					}
				}
			}
			if rows != n*b.N {
				b.Fatalf("%d rows, want %d", rows, n*b.N)
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(pages), "ms/page")
		})
	}
}
