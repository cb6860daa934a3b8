package host_test

import (
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/jetstream"
)

// What one target is told alone no other does, nor waits for, drops on all lanes included.
func TestWhatAnotherTargetIsToldIsPassedOver(t *testing.T) {
	r := newRefusal(t)
	r.create("a", 7)
	for _, only := range []string{"another", "b"} {
		r.only = only
		r.say(jetstream.DropPartition, jetstream.AllLanes, "a", 7, &milvuspb.DropPartitionRequest{})
		r.say(jetstream.Flush, jetstream.AllLanes, "a", 7, &milvuspb.FlushRequest{})
		r.rows("a", 7, 1, 2)
	}
	r.only = ""
	r.rows("a", 7, 3, 4)
	r.until("all is done", func() bool { return len(r.target.logs("a")) >= 7 })
	got := r.target.logs("a")
	slices.Sort(got[3:])
	if want := []string{"create", "drop partition p", "flush", "row 1", "row 2", "row 3", "row 4"}; !slices.Equal(got, want) {
		t.Errorf("done: %v, want %v", got, want)
	}
}
