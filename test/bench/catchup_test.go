//go:build servers

package bench

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"kitestream/functions/control"
	"kitestream/test/rig"
)

// catchUpRounds is how often each way is measured, one after the other.
const catchUpRounds = 3

// TestCatchUp writes a backlog to the source while the task is paused, and measures how fast the target then takes it:
// from resume until the target has acknowledged every row. Before and after each round, in the same run, a plain loop
// into the same target: what its rounds differ by is the A/A of the noise. A Milvus acknowledges rows long before it is done
// with them, so each measure begins when both servers have come to rest; else it would pay for the one before.
func TestCatchUp(t *testing.T) {
	for _, dim := range []int{128, 768} {
		t.Run(strconv.Itoa(dim), func(t *testing.T) {
			kite, up := rig.Up(t)
			r := around(t, kite)
			calls := 100 * 128 / dim
			rows := calls * 5000
			name := fmt.Sprintf("bench_catchup_%d_%d", dim, time.Now().Unix())
			r.collection(r.source, name, int64(dim)) // what the task waits for, empty
			r.task(name + "*")
			plain, ours, source, upsert := []float64{r.plainRate(r.target.Insert, name+"_plain0", dim, calls)}, []float64{}, []float64{}, []float64{}
			for n := 1; n <= catchUpRounds; n++ {
				rate, written := r.catchUp(fmt.Sprintf("%s_%d", name, n), dim, calls)
				ours, source = append(ours, rate), append(source, written)
				plain = append(plain, r.plainRate(r.target.Insert, fmt.Sprintf("%s_plain%d", name, n), dim, calls))
				upsert = append(upsert, r.plainRate(r.target.Upsert, fmt.Sprintf("%s_upsert%d", name, n), dim, calls))
			}
			report(t, fmt.Sprintf("catch_up_%d", dim), map[string]float64{
				"rows": float64(rows), "rows_per_s": median(ours), "rows_per_s_min": slices.Min(ours), "rows_per_s_max": slices.Max(ours),
				"plain": median(plain), "plain_min": slices.Min(plain), "plain_max": slices.Max(plain), "plain_upsert": median(upsert),
				"source_insert_per_s": median(source), "ratio": median(ours) / median(plain), "ratio_upsert": median(ours) / median(upsert),
				"up_peak_mb": peakMemory(t, up),
			})
		})
	}
}

// plainRate is how many rows a second a plain loop puts into a new collection of the target.
func (r *bench) plainRate(how write, name string, dim, calls int) float64 {
	r.t.Helper()
	r.collection(r.target, name, int64(dim))
	r.rest()
	return float64(calls*5000) / r.loop(how, name, dim, calls).Seconds()
}

// catchUp is how many rows a second of a new collection the target takes from a backlog, and how many the source took.
func (r *bench) catchUp(name string, dim, calls int) (rate, source float64) {
	r.t.Helper()
	ctx, rows := r.t.Context(), calls*5000
	r.collection(r.source, name, int64(dim))
	must(r.Tasks.Pause(ctx, "bench"))(r.t)
	source = float64(rows) / r.loop(r.source.Insert, name, dim, calls).Seconds()
	r.settled()
	r.rest()
	began := time.Now()
	must(r.Tasks.Resume(ctx, "bench"))(r.t)
	must(r.Tasks.Wait(ctx, "bench", control.WaitOptions{}))(r.t)
	rate = float64(rows) / time.Since(began).Seconds()
	r.load(r.target, name)
	if n := r.count(r.target, name); n != int64(rows) {
		r.t.Fatalf("target has %d rows of %s, want %d", n, name, rows)
	}
	if err := r.target.ReleaseCollection(ctx, name); err != nil {
		r.t.Fatal(err)
	}
	return rate, source
}

// rest waits until the servers have nothing left to do but to tick.
func (r *bench) rest() {
	r.t.Helper()
	const look, idle = time.Second, 0.3 // of a core, both together: a Milvus that does nothing takes some 0.05
	was := r.processorTime()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		<-time.After(look)
		now := r.processorTime()
		if now-was < idle*look.Seconds() {
			return
		}
		was = now
	}
	r.t.Fatal("the servers did not come to rest in two minutes")
}

// processorTime is what both servers have used, in seconds.
func (r *bench) processorTime() float64 {
	r.t.Helper()
	var sum float64
	for _, pid := range []int{r.Source.Pid, r.standby.Pid} {
		sum += must(must(procfs.NewProc(pid))(r.t).Stat())(r.t).CPUTime()
	}
	return sum
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
