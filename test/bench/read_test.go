//go:build servers

package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// backlog is how much the source's queue holds before TestRead begins, in bytes of vectors.
const backlog = 1 << 30

// TestRead measures the source side alone: a backlog of 1 GiB stands in the queue when the task is made, and nobody
// applies it. Rows over the time from the task's creation until the stream has them all; and the most memory that the bridge had.
func TestRead(t *testing.T) {
	for _, dim := range []int{128, 768} {
		t.Run(strconv.Itoa(dim), func(t *testing.T) {
			b := around(t, rig.New(t, func(o *server.Options) { o.MaxPayload = 8 << 20 })) // as `up` has it
			calls := backlog / (dim * 4 * 5000)
			rows := calls * 5000
			name := fmt.Sprintf("bench_read_%d_%d", dim, time.Now().Unix())
			b.collection(b.source, name, int64(dim))
			written := float64(rows) / b.loop(b.source.Insert, name, dim, calls).Seconds()
			b.Start("control")
			bridge := b.Start("bridge")
			began := time.Now()
			b.Create("bench", lanes, []jetstream.Selection{{Collections: []string{name}}}, servers.Target(t))
			b.Until("the bridge has the task", func() bool { return b.View("bench").Bridge.Holder != "" })
			must(b.Tasks.Position(t.Context(), control.PositionRequest{Name: "bench", Sync: true, TimeoutMS: 600_000}))(t)
			took := time.Since(began).Seconds()
			if h := b.CheckStream("bench"); h.Rows != rows {
				t.Fatalf("the stream has %d rows, want %d", h.Rows, rows)
			}
			report(t, fmt.Sprintf("read_%d", dim), map[string]float64{"rows": float64(rows), "rows_per_s": float64(rows) / took,
				"mib_per_s": float64(rows*dim*4) / took / (1 << 20), "source_insert_per_s": written,
				"bridge_peak_mb": peakMemory(t, bridge)})
		})
	}
}

// peakMemory is the most that the process has had resident, in MB, as the kernel counts it.
func peakMemory(t *testing.T, p *rig.Process) float64 {
	t.Helper()
	status := must(os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid())))(t)
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return must(strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")), 64))(t) * 1024 / 1e6
		}
	}
	t.Fatalf("no VmHWM of process %d", p.Pid())
	return 0
}
