//go:build servers

// Package bench measures Kitestream end to end on real servers; README.md says what and how, and what came out.
package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/functions/control"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m, servers.RoleSource, servers.RoleTarget)) }

// bench is a source and a target with kitestream between them.
type bench struct {
	*rig.Rig
	t              *testing.T
	source, target client.Client
	standby        *servers.Milvus
}

// newBench has one process, `kitestream up`, between the two.
func newBench(t *testing.T) *bench {
	t.Helper()
	r, _ := rig.Up(t)
	return around(t, r)
}

func around(t *testing.T, r *rig.Rig) *bench {
	t.Helper()
	dst := servers.Target(t)
	return &bench{Rig: r, t: t, standby: dst,
		source: must(client.NewClient(t.Context(), client.Config{Address: r.Source.Addr}))(t),
		target: must(client.NewClient(t.Context(), client.Config{Address: dst.Addr}))(t)}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// collection makes one with an Int64 key and a vector, indexed and loaded if it is to be queried.
func (r *bench) collection(c client.Client, name string, dim int64) {
	r.t.Helper()
	ctx := r.t.Context()
	s := entity.NewSchema().WithName(name).
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName("vec").WithDataType(entity.FieldTypeFloatVector).WithDim(dim))
	if err := c.CreateCollection(ctx, s, 1); err != nil {
		r.t.Fatal(err)
	}
}

func (r *bench) load(c client.Client, name string) {
	r.t.Helper()
	idx := must(entity.NewIndexFlat(entity.L2))(r.t)
	if err := c.CreateIndex(r.t.Context(), name, "vec", idx, false); err != nil {
		r.t.Fatal(err)
	}
	if err := c.LoadCollection(r.t.Context(), name, false); err != nil {
		r.t.Fatal(err)
	}
}

// write is the SDK's Insert or Upsert.
type write = func(ctx context.Context, collection, partition string, columns ...entity.Column) (entity.Column, error)

// loop is the plain Go-SDK loop that everything is compared with: calls of 5,000 rows, one after the other. It says how
// long they took.
func (r *bench) loop(write write, name string, dim, calls int) time.Duration {
	r.t.Helper()
	const rows = 5000
	rng := rand.New(rand.NewPCG(1, uint64(dim)))
	vecs := make([][]float32, rows)
	for i := range vecs {
		vecs[i] = make([]float32, dim)
		for j := range vecs[i] {
			vecs[i][j] = rng.Float32()
		}
	}
	var took time.Duration
	for call := range calls {
		ids := make([]int64, rows)
		for i := range ids {
			ids[i] = int64(call*rows + i)
		}
		began := time.Now()
		if _, err := write(r.t.Context(), name, "", entity.NewColumnInt64("id", ids), entity.NewColumnFloatVector("vec", dim, vecs)); err != nil {
			r.t.Fatal(err)
		}
		took += time.Since(began)
	}
	return took
}

func (r *bench) count(c client.Client, name string) int64 {
	r.t.Helper()
	res, err := c.Query(r.t.Context(), name, nil, "", []string{"count(*)"}, client.WithSearchQueryConsistencyLevel(entity.ClStrong))
	if err != nil {
		r.t.Fatal(err)
	}
	return must(res.GetColumn("count(*)").GetAsInt64(0))(r.t)
}

// TestFlow measures the whole way while the source is written to as fast as one loop can: rows over the time from the
// first insert to the last acknowledgement.
func TestFlow(t *testing.T) {
	r := newBench(t)
	const dim, calls = 128, 60
	name := fmt.Sprintf("bench_flow_%d", time.Now().Unix())
	r.collection(r.target, name+"_plain", dim)
	plain := calls * 5000 / r.loop(r.target.Insert, name+"_plain", dim, calls).Seconds()
	r.collection(r.source, name, dim)
	r.task(name)
	began := time.Now()
	r.loop(r.source.Insert, name, dim, calls)
	must(r.Tasks.Wait(t.Context(), "bench", control.WaitOptions{}))(t)
	rate := calls * 5000 / time.Since(began).Seconds()
	report(t, "flow_128", map[string]float64{"rows_per_s": rate, "plain": plain, "ratio": rate / plain})
}

// task makes the task of one collection, and waits until it has begun.
func (r *bench) task(collection string) {
	r.t.Helper()
	r.Create("bench", lanes, []jetstream.Selection{{Collections: []string{collection}}}, r.standby)
	r.Wait("bench")
}

const lanes = 4

// settled waits until the stream holds all that the source does.
func (r *bench) settled() {
	r.t.Helper()
	must(r.Tasks.Position(r.t.Context(), control.PositionRequest{Name: "bench", Sync: true, TimeoutMS: 600_000}))(r.t)
}

// report prints a measure and adds it to bench.json.
func report(t *testing.T, name string, figures map[string]float64) {
	t.Helper()
	all := map[string]map[string]float64{}
	if b, err := os.ReadFile("bench.json"); err == nil {
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatal(err)
		}
	}
	if mq := os.Getenv("KITESTREAM_TEST_MQ"); mq != "" {
		name += "_" + mq
	}
	all[name] = figures
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("bench.json", append(b, '\n'), 0o644); err != nil { //nolint:gosec // figures to be read by all
		t.Fatal(err)
	}
	one, err := json.Marshal(figures)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s", name, one)
}
