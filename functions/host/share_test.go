package host

import (
	"fmt"
	"slices"
	"testing"
)

// TestQuotasAddUp checks that workers who only know of one another come to hold every lane, as evenly as can be.
func TestQuotasAddUp(t *testing.T) {
	for lanes := range 20 {
		for n := 1; n < 8; n++ {
			var workers []string
			for i := range n {
				workers = append(workers, fmt.Sprintf("w%d", i))
			}
			var got []int
			sum := 0
			for _, w := range workers {
				got = append(got, quota(w, workers, lanes))
				sum += got[len(got)-1]
			}
			if sum != lanes || slices.Max(got)-slices.Min(got) > 1 {
				t.Errorf("%d lanes over %d workers: %v", lanes, n, got)
			}
		}
	}
	if n := quota("stranger", []string{"a", "b"}, 8); n != 0 {
		t.Errorf("a worker that the others don't see takes %d lanes", n)
	}
}
