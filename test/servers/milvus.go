// Package servers runs the real servers that tests, benchmarks and the demo need, without containers: Milvus 2.3.5
// standalone from its PyPI wheel, with its embedded etcd and, as a source, its embedded NATS queue (natsmq).
//
// What flows in is a folder and a kind of queue; what flows out are addresses. Every port is on 127.0.0.1 but those of
// Milvus's internal components, which this version opens on all interfaces whatever its settings say. Linux on amd64
// only, as the wheel.
//
// Tests take the shared servers of their test binary with Source, Target and Target2 (see Main); a test that kills or
// stops a server starts one of its own with StartMilvus. The command in the folder milvus does the same for Makefiles
// and people.
package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The kinds of message queue that a Milvus may run on.
const (
	NATSMQ  = "natsmq"  // embedded NATS JetStream server, readable over the network
	RocksMQ = "rocksmq" // inside the process, not readable
	Pulsar  = "pulsar"  // needs Set pulsar.address, pulsar.port and pulsar.webport
	Kafka   = "kafka"   // needs Set kafka.brokerList
)

// MilvusConfig says what StartMilvus starts.
type MilvusConfig struct {
	// Dir keeps everything of the server: data, etcd, queue, configuration, log, pid. Made when missing. A folder
	// that was used before is taken up again, with its data and, unless it was moved, its ports.
	Dir string
	// MQ is the kind of queue; empty is RocksMQ. It must not change while Dir holds data.
	MQ string
	// Set changes lines of milvus.yaml by their dotted path, such as "common.security.authorizationEnabled".
	Set map[string]string
	// QuickRestart makes the server take a dead predecessor's sessions for dead after 5 s, not 30: after a crash it
	// can load collections in 10 s, not 50. But it ends itself when Signal pauses it for longer than 4 s; without
	// QuickRestart, for longer than 25 s.
	QuickRestart bool
	// Detached lets the server outlive this process. Without it the kernel kills the server when this process ends,
	// however it ends.
	Detached bool
}

// Milvus is one running or stopped Milvus. Its addresses stay the same over a restart. The methods are for one caller.
type Milvus struct {
	Addr         string // host:port of the gRPC API
	URI          string // the same as http://…
	EtcdEndpoint string // host:port of the embedded etcd
	MQURL        string // nats://… of the embedded queue; empty unless it runs on NATSMQ
	MetricsAddr  string // host:port of /metrics and /healthz
	Dir          string
	Pid          int // of the process, which leads a process group; changes with a restart

	conf   MilvusConfig
	base   int       // first of the block's ports
	lock   *os.File  // keeps the block of ports ours
	cmd    *exec.Cmd // nil when another process started it
	waited chan struct{}
}

// ErrNotInstalled says that Fetch has not been run on this machine.
var ErrNotInstalled = errors.New("milvus 2.3.5 is not installed: run 'make servers'")

// ErrShared says that the server belongs to another process and is used by other tests too.
var ErrShared = errors.New("server is shared: start one of your own with StartMilvus")

// StartMilvus starts a server and returns when it is healthy, which takes about 10 s. Ctx limits the start, not the
// server's life.
func StartMilvus(ctx context.Context, c MilvusConfig) (*Milvus, error) {
	if c.MQ == "" {
		c.MQ = RocksMQ
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", c.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make folder of Milvus: %w", err)
	}
	c.Dir = dir
	m := &Milvus{conf: c}
	if old, err := readState(dir); err == nil {
		if running(old.Pid) {
			return nil, fmt.Errorf("start Milvus in %s: it runs already, as process %d", dir, old.Pid)
		}
		m.base = old.PortBase
		if m.lock, err = claim(m.base); err != nil {
			return nil, fmt.Errorf("start Milvus in %s on its old ports: %w", dir, err)
		}
	} else if m.base, m.lock, err = freeBlock(); err != nil {
		return nil, err
	}
	m.address(dir, m.base, c.MQ)
	if err := m.launch(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Open finds the server that another process runs in a folder. It can be talked to, stopped by Stop and paused by
// Signal, but not restarted.
func Open(dir string) (*Milvus, error) {
	s, err := readState(dir)
	if err != nil {
		return nil, fmt.Errorf("find Milvus in %s: %w", dir, err)
	}
	if !running(s.Pid) {
		return nil, fmt.Errorf("find Milvus in %s: process %d is not running", dir, s.Pid)
	}
	m := &Milvus{Pid: s.Pid}
	m.address(dir, s.PortBase, s.MQ)
	return m, nil
}

// SourceEnv is the environment that makes kitestream read from this server.
func (m *Milvus) SourceEnv() []string {
	return []string{
		"KITESTREAM_SOURCE_ETCD_ENDPOINTS=" + m.EtcdEndpoint,
		"KITESTREAM_SOURCE_MQ=" + NATSMQ,
		"KITESTREAM_SOURCE_MQ_URL=" + m.MQURL,
		"KITESTREAM_SOURCE_MILVUS_URI=" + m.URI,
	}
}

// Log is the end of the server's output, for messages about a failure.
func (m *Milvus) Log() string {
	b, err := os.ReadFile(filepath.Join(m.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	const tail = 4 << 10
	return strings.ToValidUTF8(string(b[max(0, len(b)-tail):]), "")
}

// Offsets of the ports inside a block. Offsets 1 to 8 are the internal components.
const (
	portEtcd    = 9
	portNATS    = 10
	portPeer    = 11
	portMetrics = 19
)

func (m *Milvus) address(dir string, base int, mq string) {
	m.Dir, m.base = dir, base
	m.Addr = loopback(base)
	m.URI = "http://" + m.Addr
	m.EtcdEndpoint = loopback(base + portEtcd)
	m.MetricsAddr = loopback(base + portMetrics)
	if mq == NATSMQ {
		m.MQURL = "nats://" + loopback(base+portNATS)
	}
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// state is what a folder remembers of its server, in the file milvus.json.
type state struct {
	PortBase int    `json:"port_base"`
	Pid      int    `json:"pid"`
	MQ       string `json:"mq"`
}

const stateFile = "milvus.json"

func readState(dir string) (state, error) {
	var s state
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", stateFile, err)
	}
	return s, nil
}

func (m *Milvus) saveState() error {
	b, err := json.Marshal(state{PortBase: m.base, Pid: m.Pid, MQ: m.conf.MQ})
	if err != nil {
		return fmt.Errorf("encode %s: %w", stateFile, err)
	}
	if err := writeFile(filepath.Join(m.Dir, stateFile), b); err != nil {
		return fmt.Errorf("save %s: %w", stateFile, err)
	}
	return nil
}

// writeFile replaces a file at once, so that a reader never sees half of it.
func writeFile(name string, b []byte) error {
	tmp := fmt.Sprintf("%s.%d", name, os.Getpid())
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
