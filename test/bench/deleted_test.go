//go:build servers

package bench

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/test/rig"
)

// TestDeletedRows shows without Kitestream how many deleted rows a Milvus goes on serving: one client upserts a million rows, another
// deletes some of those that were acknowledged, and nobody writes them again. TestCopy meets the same on its target.
func TestDeletedRows(t *testing.T) {
	b := around(t, rig.New(t))
	name := fmt.Sprintf("bench_deleted_%d", time.Now().Unix())
	b.collection(b.target, name, copyDim)
	b.load(b.target, name)
	var acked atomic.Int64
	var deleted []int64
	var deleting sync.WaitGroup
	done := make(chan struct{})
	deleting.Go(func() {
		rng := rand.New(rand.NewPCG(7, 7))
		for seen := map[int64]bool{}; ; time.Sleep(25 * time.Millisecond) {
			select {
			case <-done:
				return
			default:
			}
			n := acked.Load()
			if n == 0 {
				continue
			}
			var ids []int64
			for at := rng.Int64N(n); len(ids) < 10 && at < n; at++ {
				if !seen[at] {
					seen[at], ids = true, append(ids, at)
				}
			}
			if len(ids) == 0 {
				continue
			}
			if err := b.target.DeleteByPks(t.Context(), name, "", entity.NewColumnInt64("id", ids)); err != nil {
				t.Error(err)
				return
			}
			deleted = append(deleted, ids...)
		}
	})
	vecs := make([][]float32, 5000)
	for i := range vecs {
		vecs[i] = make([]float32, copyDim)
		vecs[i][i%copyDim] = float32(i + 1)
	}
	for call := range copyCalls {
		ids := make([]int64, 5000)
		for i := range ids {
			ids[i] = int64(call*5000 + i)
		}
		must(b.target.Upsert(t.Context(), name, "", entity.NewColumnInt64("id", ids), entity.NewColumnFloatVector("vec", copyDim, vecs)))(t)
		acked.Add(5000)
	}
	close(done)
	deleting.Wait()
	b.rest()
	served := b.served(name, deleted)
	must(0, b.target.ReleaseCollection(t.Context(), name))(t)
	must(0, b.target.LoadCollection(t.Context(), name, false))(t)
	report(t, "deleted_rows_of_plain_client", map[string]float64{"deleted": float64(len(deleted)), "served": float64(served), "served_after_loading": float64(b.served(name, deleted))})
}

// served is how many of the keys the target has.
func (r *bench) served(name string, keys []int64) (n int) {
	r.t.Helper()
	for at := 0; at < len(keys); at += 1000 {
		some := keys[at:min(at+1000, len(keys))]
		got := must(r.target.QueryByPks(r.t.Context(), name, nil, entity.NewColumnInt64("id", some), []string{"id"}, client.WithSearchQueryConsistencyLevel(entity.ClStrong)))(r.t)
		if c := got.GetColumn("id"); c != nil {
			n += c.Len()
		}
	}
	return n
}
