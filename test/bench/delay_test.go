//go:build servers

package bench

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
)

// TestDelay inserts 5 single rows a second for 60 s, and measures from the source's answer until a Strong query sees the
// row: on the target, and as the control on the source itself.
func TestDelay(t *testing.T) {
	r := newBench(t)
	const dim = 128
	name := fmt.Sprintf("bench_delay_%d", time.Now().Unix())
	r.collection(r.source, name, dim)
	r.load(r.source, name)
	r.task(name)
	r.Until("target has the collection", func() bool { ok, err := r.target.HasCollection(t.Context(), name); return ok && err == nil })
	r.load(r.target, name)
	r.Wait("bench")

	var mu sync.Mutex
	delays := map[string][]float64{}
	var all sync.WaitGroup
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := range 300 {
		<-tick.C
		if _, err := r.source.Insert(t.Context(), name, "", entity.NewColumnInt64("id", []int64{int64(i)}),
			entity.NewColumnFloatVector("vec", dim, [][]float32{make([]float32, dim)})); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for where, c := range map[string]client.Client{"target": r.target, "source": r.source} {
			all.Go(func() {
				for !r.visible(c, name, i) {
					if time.Since(began) > 30*time.Second {
						t.Errorf("row %d is not visible on the %s after 30 s", i, where)
						return
					}
				}
				mu.Lock()
				defer mu.Unlock()
				delays[where] = append(delays[where], float64(time.Since(began).Microseconds())/1000)
			})
		}
	}
	all.Wait()
	s, d := delays["source"], delays["target"]
	report(t, "delay_ms_5_per_s_strong", map[string]float64{
		"target_p50": percentile(d, 50), "target_p95": percentile(d, 95), "target_p99": percentile(d, 99),
		"source_p50": percentile(s, 50), "source_p95": percentile(s, 95), "source_p99": percentile(s, 99),
		"p50_over_control": percentile(d, 50) - percentile(s, 50), "p99_over_control": percentile(d, 99) - percentile(s, 99),
	})
}

func (r *bench) visible(c client.Client, name string, id int) bool {
	res, err := c.Query(r.t.Context(), name, nil, fmt.Sprintf("id == %d", id), []string{"id"}, client.WithSearchQueryConsistencyLevel(entity.ClStrong))
	return err == nil && res.GetColumn("id") != nil && res.GetColumn("id").Len() == 1
}

func percentile(v []float64, p int) float64 {
	slices.Sort(v)
	return v[min(len(v)-1, len(v)*p/100)]
}
