//go:build servers

package servers_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"
	"github.com/nats-io/nats.go"

	"kitestream/test/servers"
)

func TestMain(m *testing.M) {
	os.Exit(servers.Main(m, servers.RoleTarget, servers.RoleSourcePulsar, servers.RoleSourceKafka))
}

// TestMilvusCrash is what every crash test stands on: a killed Milvus has its rows and its queue again.
func TestMilvusCrash(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	m, err := servers.StartMilvus(ctx, servers.MilvusConfig{Dir: t.TempDir(), MQ: servers.NATSMQ, QuickRestart: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := servers.StartMilvus(ctx, servers.MilvusConfig{Dir: m.Dir}); err == nil {
		t.Fatal("a second Milvus started on the same folder")
	}
	const rows = 100
	write(ctx, t, m.Addr, rows, 4)
	addr, pid := m.Addr, m.Pid
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := servers.Open(m.Dir); err == nil {
		t.Error("Open found a killed server")
	}
	if err := m.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if m.Addr != addr || m.Pid == pid {
		t.Errorf("restarted at %s as process %d, was at %s as %d", m.Addr, m.Pid, addr, pid)
	}
	if got := count(ctx, t, m.Addr); got != rows {
		t.Errorf("%d rows after the crash, want %d", got, rows)
	}
	nc, err := nats.Connect(m.MQURL)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

// TestShared checks what a test may do to a server that is not its own.
func TestShared(t *testing.T) {
	m := servers.Target(t)
	for name, err := range map[string]error{"kill": m.Kill(), "restart": m.Restart(t.Context())} {
		if !errors.Is(err, servers.ErrShared) {
			t.Errorf("%s a shared server: %v, want %v", name, err, servers.ErrShared)
		}
	}
	if err := errors.Join(m.Signal(syscall.SIGSTOP), m.Signal(syscall.SIGCONT)); err != nil {
		t.Error(err)
	}
	c, err := client.NewClient(t.Context(), client.Config{Address: m.Addr})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ListCollections(t.Context()); err != nil {
		t.Error(err)
	}
}

const collection = "crash"

// write makes the collection and inserts so many rows in one call.
func write(ctx context.Context, t *testing.T, addr string, rows, dim int) {
	t.Helper()
	c, err := client.NewClient(ctx, client.Config{Address: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	schema := entity.NewSchema().WithName(collection).
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName("v").WithDataType(entity.FieldTypeFloatVector).WithDim(int64(dim)))
	if err := c.CreateCollection(ctx, schema, 2); err != nil {
		t.Fatal(err)
	}
	ids, vectors := make([]int64, rows), make([][]float32, rows)
	for i := range rows {
		ids[i], vectors[i] = int64(i), make([]float32, dim)
		vectors[i][0] = float32(i)
	}
	if _, err := c.Insert(ctx, collection, "", entity.NewColumnInt64("id", ids), entity.NewColumnFloatVector("v", dim, vectors)); err != nil {
		t.Fatal(err)
	}
}

func count(ctx context.Context, t *testing.T, addr string) int64 {
	t.Helper()
	c, err := client.NewClient(ctx, client.Config{Address: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	index, err := entity.NewIndexFlat(entity.L2)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.CreateIndex(ctx, collection, "v", index, false), c.LoadCollection(ctx, collection, false)); err != nil {
		t.Fatal(err)
	}
	res, err := c.Query(ctx, collection, nil, "", []string{"count(*)"}, client.WithSearchQueryConsistencyLevel(entity.ClStrong))
	if err != nil {
		t.Fatal(err)
	}
	n, err := res.GetColumn("count(*)").GetAsInt64(0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
