package verify

import (
	"math/rand/v2"
	"testing"

	"kitestream/bridge/scan"
)

// TestRangesOfASample: what is chosen is about the share, the same with the same seed, without overlap, and never nothing.
func TestRangesOfASample(t *testing.T) {
	draw := func(seed uint64, share float64, keys int) (ranges []keyRange, covered int) {
		d := drawing{random: rand.New(rand.NewPCG(seed, 1)), share: share, size: 10}
		const page = 333
		for at := 0; at < keys || at == 0; at += page {
			rows := &scan.Rows{Done: at+page >= keys}
			for k := at; k < min(at+page, keys); k++ {
				rows.Keys = append(rows.Keys, scan.IntKey(int64(k)))
			}
			ranges = append(ranges, d.draw("p", rows)...)
		}
		last := -1
		for _, r := range ranges {
			from := -1
			if v, ok := r.after.Int(); ok {
				from = int(v)
			}
			until := keys - 1
			if v, ok := r.until.Int(); ok {
				until = int(v)
			}
			if from < last || until < from {
				t.Fatalf("range %d to %d comes after %d", from, until, last)
			}
			last, covered = until, covered+until-from
		}
		return ranges, covered
	}
	const keys = 100_000
	ranges, n := draw(7, 0.05, keys)
	if n < keys*4/100 || n > keys*6/100 {
		t.Errorf("%d of %d keys are in a sample of 5 %%", n, keys)
	}
	again, _ := draw(7, 0.05, keys)
	other, _ := draw(8, 0.05, keys)
	if len(again) != len(ranges) || again[3] != ranges[3] || len(other) > 3 && other[3] == ranges[3] {
		t.Error("the seed does not decide")
	}
	for _, few := range []int{0, 1, 9, 10, 11} {
		if r, n := draw(1, 1e-9, few); len(r) != 1 || few > 0 && n < few%10 {
			t.Errorf("of %d keys, %d ranges with %d keys are chosen", few, len(r), n)
		}
	}
}
