package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Role names a server that tests share. Its folder is in the environment variable of Role.Env.
type Role string

// The shared servers: a source on natsmq, two targets, a Milvus Lite, the brokers, and a source on each of them.
const (
	RoleSource       Role = "SOURCE"
	RoleTarget       Role = "TARGET"
	RoleTarget2      Role = "TARGET2"
	RoleLite         Role = "LITE"
	RolePulsar       Role = "PULSAR"
	RoleKafka        Role = "KAFKA"
	RoleSourcePulsar Role = "SOURCE_PULSAR"
	RoleSourceKafka  Role = "SOURCE_KAFKA"
)

// Roles are all of them.
func Roles() []Role {
	return []Role{RoleSource, RoleTarget, RoleTarget2, RoleLite, RolePulsar, RoleKafka, RoleSourcePulsar, RoleSourceKafka}
}

// Env is the name of the environment variable that says where the server of this role runs.
func (r Role) Env() string { return "KITESTREAM_TEST_" + string(r) + "_DIR" }

// broker is the role that this one's server keeps its queue in; empty for none.
func (r Role) broker() Role {
	switch r {
	case RoleSourcePulsar:
		return RolePulsar
	case RoleSourceKafka:
		return RoleKafka
	}
	return ""
}

// startTime is enough for all servers to start on two busy cores.
const startTime = 5 * time.Minute

// Shared is a set of servers that several test binaries use.
type Shared struct {
	dir     string
	env     []string
	started [][]io.Closer // those of the second start stand on those of the first
}

// Share starts the servers of those roles that the environment does not name already, and the brokers that they need:
// first, all at once, what needs no broker, then the rest.
func Share(ctx context.Context, roles ...Role) (*Shared, error) {
	dir, err := os.MkdirTemp("", "kitestream-servers-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for servers: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("not ready after %s", startTime))
	defer cancel()
	s := &Shared{dir: dir}
	first, second := missing(played(roles))
	if err = s.start(ctx, first); err == nil {
		err = s.start(ctx, second)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// envMQ names the kind of queue that RoleSource has in this run of tests, if not natsmq: the same tests on another queue.
const envMQ = "KITESTREAM_TEST_MQ"

// played has the source that envMQ names play RoleSource.
func played(roles []Role) []Role {
	out := slices.Clone(roles)
	for i, r := range out {
		if r == RoleSource {
			out[i] = sourceRole(os.Getenv(envMQ))
		}
	}
	return out
}

// sourceRole is the role of the source on a kind of queue.
func sourceRole(mq string) Role {
	switch mq {
	case "", NATSMQ:
		return RoleSource
	case PulsarMQ:
		return RoleSourcePulsar
	case KafkaMQ:
		return RoleSourceKafka
	}
	return Role("SOURCE on " + mq) // which startOne refuses
}

// missing are the roles to start: those that need no broker, and those that do.
func missing(roles []Role) (first, second []Role) {
	for _, r := range roles {
		switch {
		case os.Getenv(r.Env()) != "":
		case r.broker() == "":
			first = append(first, r)
		default:
			second = append(second, r)
			if os.Getenv(r.broker().Env()) == "" {
				first = append(first, r.broker())
			}
		}
	}
	for _, l := range []*[]Role{&first, &second} {
		slices.Sort(*l)
		*l = slices.Compact(*l)
	}
	return first, second
}

// start starts the servers of the roles, all at once.
func (s *Shared) start(ctx context.Context, roles []Role) error {
	found := make([]io.Closer, len(roles))
	errs := make([]error, len(roles))
	var wg sync.WaitGroup
	for i, r := range roles {
		wg.Go(func() { found[i], errs[i] = s.startOne(ctx, r) })
	}
	wg.Wait()
	var started []io.Closer
	for i, r := range roles {
		if errs[i] == nil {
			started = append(started, found[i])
			s.env = append(s.env, r.Env()+"="+s.folder(r))
		}
	}
	s.started = append(s.started, started)
	return errors.Join(errs...)
}

func (s *Shared) startOne(ctx context.Context, r Role) (io.Closer, error) {
	c := MilvusConfig{Dir: s.folder(r)}
	var err error
	switch r {
	case RolePulsar:
		return StartPulsar(ctx, PulsarConfig{Dir: c.Dir})
	case RoleLite:
		return StartLite(ctx, LiteConfig{Dir: c.Dir})
	case RoleKafka:
		return StartKafka(ctx, KafkaConfig{Dir: c.Dir})
	case RoleSourcePulsar:
		c.Broker, err = OpenPulsar(s.folder(RolePulsar))
	case RoleSourceKafka:
		c.Broker, err = OpenKafka(s.folder(RoleKafka))
	case RoleSource:
		c.MQ = NATSMQ
	case RoleTarget, RoleTarget2:
	default:
		err = fmt.Errorf("no server has the role %q", r)
	}
	if err != nil {
		return nil, err
	}
	return StartMilvus(ctx, c)
}

// folder is where the server of the role runs, or shall.
func (s *Shared) folder(r Role) string {
	if dir := os.Getenv(r.Env()); dir != "" {
		return dir
	}
	return filepath.Join(s.dir, string(r))
}

// Env says where the started servers are, as NAME=folder.
func (s *Shared) Env() []string { return s.env }

// Close stops the servers, each Milvus before its broker, and removes their folders.
func (s *Shared) Close() error {
	var errs []error
	for _, started := range slices.Backward(s.started) {
		failed := make([]error, len(started))
		var wg sync.WaitGroup
		for i, server := range started {
			wg.Go(func() { failed[i] = server.Close() })
		}
		wg.Wait()
		errs = append(errs, failed...)
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// Main runs the tests of a binary that calls Source, Target and so on; its result is for os.Exit. It starts what 'make
// test' has not started already:
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

// Source is the Milvus that tests share as one to read from: on natsmq, or on the queue that KITESTREAM_TEST_MQ names. It
// must not be killed; names of what a test makes in it must be the test's own.
func Source(t testing.TB) *Milvus {
	t.Helper()
	return SourceOn(t, os.Getenv(envMQ))
}

// SourceOn is the Milvus on that kind of queue that tests share, like Source: NATSMQ, PulsarMQ or KafkaMQ.
func SourceOn(t testing.TB, mq string) *Milvus {
	t.Helper()
	return attach(t, sourceRole(mq), Open)
}

// Target is a Milvus that tests share as one to write to, like Source.
func Target(t testing.TB) *Milvus {
	t.Helper()
	return attach(t, RoleTarget, Open)
}

// Target2 is a second Target.
func Target2(t testing.TB) *Milvus {
	t.Helper()
	return attach(t, RoleTarget2, Open)
}

// SharedLite is the Milvus Lite that tests share as a target of a newer version, like Source.
func SharedLite(t testing.TB) *Lite {
	t.Helper()
	return attach(t, RoleLite, OpenLite)
}

// SharedPulsar is the Pulsar that tests share, also under SourceOn. Names of topics must be the test's own.
func SharedPulsar(t testing.TB) *Pulsar {
	t.Helper()
	return attach(t, RolePulsar, OpenPulsar)
}

// SharedKafka is the Kafka that tests share, like SharedPulsar.
func SharedKafka(t testing.TB) *Kafka {
	t.Helper()
	return attach(t, RoleKafka, OpenKafka)
}

func attach[S any](t testing.TB, r Role, open func(dir string) (*S, error)) *S {
	t.Helper()
	dir := os.Getenv(r.Env())
	if dir == "" {
		t.Fatalf("%s is not set: run 'make test', or call servers.Main in TestMain", r.Env())
	}
	s, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
