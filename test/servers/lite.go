package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// LiteConfig says what StartLite starts.
type LiteConfig struct {
	// Dir keeps everything of the server, as MilvusConfig.Dir.
	Dir string
	// Detached lets the server outlive this process, as MilvusConfig.Detached.
	Detached bool
}

// Lite is one running or stopped Milvus Lite 3.2.2: the newer protocol of Milvus 2.5 and 2.6 in one Python process, with
// nullable fields, sparse vectors and functions. Its address stays the same over a restart. The methods are for one
// caller.
type Lite struct {
	process
	Addr string // host:port of the gRPC API
	URI  string // the same as http://…
}

// StartLite starts a server and returns when it answers, which takes about 2 s. Ctx limits the start, not the server's
// life.
func StartLite(ctx context.Context, c LiteConfig) (*Lite, error) {
	l, err := newLite(c)
	if err != nil {
		return nil, err
	}
	if err := l.resume(); err != nil {
		return nil, err
	}
	l.address()
	if err := l.start(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// OpenLite finds the Milvus Lite that another process runs in a folder, as Open.
func OpenLite(dir string) (*Lite, error) {
	l, err := newLite(LiteConfig{Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := l.find(); err != nil {
		return nil, err
	}
	l.address()
	return l, nil
}

func newLite(c LiteConfig) (*Lite, error) {
	cache, err := liteRelease().installed()
	if err != nil {
		return nil, err
	}
	python, err := os.Readlink(filepath.Join(cache, litePython))
	if err != nil {
		return nil, fmt.Errorf("find the Python of Milvus Lite: %w", err)
	}
	l := &Lite{process: process{Dir: c.Dir, detached: c.Detached, kind: kind{"Milvus-Lite", filepath.Base(python)}}}
	l.program = l
	return l, nil
}

func (l *Lite) address() {
	l.Addr = l.addr(0)
	l.URI = "http://" + l.Addr
}

// command is part of program.
func (l *Lite) command(context.Context) (*exec.Cmd, error) {
	cache, err := liteRelease().installed()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(cache, litePython), "-m", "milvus_lite.cmdline", "server",
		"--data-dir", filepath.Join(l.Dir, "data"), "--host", "127.0.0.1", "--port", fmt.Sprint(l.state.PortBase))
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(cache, litePackages), "PYTHONUNBUFFERED=1")
	return cmd, nil
}

// ready is part of program.
func (l *Lite) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := grpc.NewClient(l.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return false
	}
	defer conn.Close()
	h, err := milvuspb.NewMilvusServiceClient(conn).CheckHealth(ctx, &milvuspb.CheckHealthRequest{})
	return err == nil && h.GetIsHealthy()
}
