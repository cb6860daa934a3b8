package handlers_test

import (
	"context"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

// TestPrune has a target with more keys than it should: those of the event's lane go, in calls of the size that a call may have.
func TestPrune(t *testing.T) {
	const lanes = 3
	var all []int64
	for k := range int64(100) {
		all = append(all, k)
	}
	asked, removed := handlers.Range{}, map[int64]bool{}
	target := &fake{
		BesideFunc: func(_ context.Context, _ handlers.Ref, partition string, r handlers.Range) (rows.Keys, error) {
			if asked = r; partition != "p" {
				t.Errorf("partition %q is asked for", partition)
			}
			return rows.Keys{Ints: all}, nil
		},
		DeleteFunc: func(_ context.Context, _ handlers.Ref, partition string, keys rows.Keys) error {
			if partition != "p" || keys.Len() > 7 {
				t.Errorf("%d keys of partition %q are deleted in one call", keys.Len(), partition)
			}
			for _, k := range keys.Ints {
				removed[k] = true
			}
			return nil
		},
	}
	body, err := jetstream.PruneBody{Lanes: lanes, Until: &rows.Key{Int: 99}, Keys: rows.Keys{Ints: []int64{100}}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	e := eventsOf(t, "c", 7).event(jetstream.Prune, "p", &milvuspb.DropPartitionRequest{})
	e.Body, e.Lane = body, 1
	mustApply(t, newHandlers(t, target, handlers.Options{MaxRows: 7}), e)
	if asked.After != nil || asked.Until == nil || asked.Until.Int != 99 || !slices.Equal(asked.Keep.Ints, []int64{100}) {
		t.Errorf("asked for %+v", asked)
	}
	for _, k := range all {
		if own := (rows.Keys{Ints: []int64{k}}).Hash(0)%lanes == 1; removed[k] != own {
			t.Errorf("key %d of lane 1: %v, is removed: %v", k, own, removed[k])
		}
	}
	for _, bad := range []jetstream.Event{{Lane: lanes, Body: body}, {Lane: -1, Body: body}, {Lane: 1, Body: []byte("{")}} {
		e.Lane, e.Body = bad.Lane, bad.Body
		if res := apply(t, newHandlers(t, target, handlers.Options{}), e); len(res.Stopped) != 1 || res.Stopped[0].Code != handlers.CodeEvent {
			t.Errorf("a prune on lane %d with the body %s: %+v", bad.Lane, bad.Body, res)
		}
	}
}
