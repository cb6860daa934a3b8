package host_test

import "testing"

// A name is another collection's once both have been renamed, also to the worker that only waited while the other one carried
// that out.
func TestANameIsAnotherCollectionsAfterARename(t *testing.T) {
	r := newRefusal(t)
	for i := range int64(4) { // either worker comes last to some of the barriers
		r.create("a", 10*i+1)
		r.create("b", 10*i+2)
		r.rows("a", 10*i+1, 1, 2) // of each lane
		r.rows("b", 10*i+2, 1, 2)
		r.rename("a", "c", 10*i+1)
		r.rename("b", "a", 10*i+2)
		r.rows("a", 10*i+2, 3, 4)
		r.rows("c", 10*i+1, 3, 4)
		r.until("rows are written under the new names", func() bool {
			if stops := r.stops().List(); len(stops) > 0 {
				t.Fatalf("stopped: %+v", stops)
			}
			return len(r.target.logs("a")) == 6 && len(r.target.logs("c")) == 6
		})
		r.drop("a", 10*i+2)
		r.drop("c", 10*i+1)
	}
}
