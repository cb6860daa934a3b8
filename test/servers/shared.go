package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Role names a server that tests share. Its folder is in the environment variable of Role.Env.
type Role string

// The shared servers: a source on natsmq, and two targets.
const (
	RoleSource  Role = "SOURCE"
	RoleTarget  Role = "TARGET"
	RoleTarget2 Role = "TARGET2"
)

// Env is the name of the environment variable that says where the server of this role runs.
func (r Role) Env() string { return "KITESTREAM_TEST_" + string(r) + "_DIR" }

func (r Role) mq() string {
	if r == RoleSource {
		return NATSMQ
	}
	return RocksMQ
}

// startTime is enough for three servers that start at once on two busy cores.
const startTime = 3 * time.Minute

// Shared is a set of servers that several test binaries use.
type Shared struct {
	dir     string
	env     []string
	started []*Milvus
}

// Share starts, all at once, the servers of those roles that the environment does not name already.
func Share(ctx context.Context, roles ...Role) (*Shared, error) {
	dir, err := os.MkdirTemp("", "kitestream-servers-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for servers: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("not healthy after %s", startTime))
	defer cancel()
	s := &Shared{dir: dir}
	found := make([]*Milvus, len(roles))
	errs := make([]error, len(roles))
	var wg sync.WaitGroup
	for i, r := range roles {
		if os.Getenv(r.Env()) != "" {
			continue
		}
		own := filepath.Join(dir, string(r))
		s.env = append(s.env, r.Env()+"="+own)
		wg.Go(func() { found[i], errs[i] = StartMilvus(ctx, MilvusConfig{Dir: own, MQ: r.mq()}) })
	}
	wg.Wait()
	for _, m := range found {
		if m != nil {
			s.started = append(s.started, m)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Env says where the started servers are, as NAME=folder.
func (s *Shared) Env() []string { return s.env }

// Servers are those that were started.
func (s *Shared) Servers() []*Milvus { return s.started }

// Close stops the servers, all at once, and removes their folders.
func (s *Shared) Close() error {
	errs := make([]error, len(s.started))
	var wg sync.WaitGroup
	for i, m := range s.started {
		wg.Go(func() { errs[i] = m.Close() })
	}
	wg.Wait()
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// Main runs the tests of a binary that calls Source, Target or Target2; its result is for os.Exit. It starts what
// 'make test' has not started already:
//
//	func TestMain(m *testing.M) { os.Exit(servers.Main(m, servers.RoleSource)) }
func Main(m *testing.M, roles ...Role) int {
	s, err := Share(context.Background(), roles...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := 1
	if err = s.export(); err == nil {
		code = m.Run()
	}
	if err := errors.Join(err, s.Close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// export puts the servers into this process's environment.
func (s *Shared) export() error {
	for _, v := range s.env {
		name, dir, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, dir); err != nil {
			return fmt.Errorf("export %s: %w", name, err)
		}
	}
	return nil
}

// Source is the Milvus on natsmq that tests share. It must not be killed; names of what a test makes in it must be the
// test's own.
func Source(t testing.TB) *Milvus {
	t.Helper()
	return attach(t, RoleSource)
}

// Target is a Milvus that tests share as one to write to, like Source.
func Target(t testing.TB) *Milvus {
	t.Helper()
	return attach(t, RoleTarget)
}

// Target2 is a second Target.
func Target2(t testing.TB) *Milvus {
	t.Helper()
	return attach(t, RoleTarget2)
}

func attach(t testing.TB, r Role) *Milvus {
	t.Helper()
	dir := os.Getenv(r.Env())
	if dir == "" {
		t.Fatalf("%s is not set: run 'make test', or call servers.Main in TestMain", r.Env())
	}
	m, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
