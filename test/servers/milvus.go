package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The kinds of message queue that a Milvus may run on.
const (
	NATSMQ   = "natsmq"  // embedded NATS JetStream server, readable over the network
	RocksMQ  = "rocksmq" // inside the process, not readable
	PulsarMQ = "pulsar"  // the Broker, a *Pulsar
	KafkaMQ  = "kafka"   // the Broker, a *Kafka
)

// MilvusConfig says what StartMilvus starts.
type MilvusConfig struct {
	// Dir keeps everything of the server: data, etcd, queue, configuration, log, pid. Made when missing. A folder
	// that was used before is taken up again, with its data and, unless it was moved, its ports.
	Dir string
	// MQ is the kind of queue; empty is the Broker's kind, or RocksMQ. It must not change while Dir holds data.
	MQ string
	// Broker is a running Pulsar or Kafka to keep the queue in. Several Milvus may share one: their channels have
	// different names.
	Broker Broker
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

// Broker is a *Pulsar or a *Kafka.
type Broker interface {
	// queue is how a Milvus on the broker is set up.
	queue() queue
}

// queue is a kind of queue, its address as kitestream wants it, and the lines of milvus.yaml that lead Milvus there.
type queue struct {
	mq, url  string
	settings map[string]string
}

// Milvus is one running or stopped Milvus. Its addresses stay the same over a restart. The methods are for one caller.
type Milvus struct {
	process
	Addr         string // host:port of the gRPC API
	URI          string // the same as http://…
	EtcdEndpoint string // host:port of the embedded etcd
	MQ           string // kind of queue, such as NATSMQ
	MQURL        string // the queue's address as KITESTREAM_SOURCE_MQ_URL wants it; empty for RocksMQ
	MetricsAddr  string // host:port of /metrics and /healthz

	conf MilvusConfig
}

// ErrNotInstalled says that Fetch, FetchLite or FetchBrokers has not been run on this machine.
var ErrNotInstalled = errors.New("server is not installed: run 'make servers'")

// ErrShared says that the server belongs to another process and is used by other tests too.
var ErrShared = errors.New("server is shared: start one of your own")

// StartMilvus starts a server and returns when it is healthy, which takes about 3 s. Ctx limits the start, not the
// server's life.
func StartMilvus(ctx context.Context, c MilvusConfig) (*Milvus, error) {
	m := newMilvus(c)
	if err := m.setQueue(); err != nil {
		return nil, err
	}
	if err := m.resume(); err != nil {
		return nil, err
	}
	m.state.MQ = m.conf.MQ
	if m.conf.Broker != nil {
		m.state.MQURL = m.conf.Broker.queue().url
		if m.state.Channels == "" {
			m.state.Channels = "ks-" + rand.Text()[:8]
		}
	}
	m.address()
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// Open finds the Milvus that another process runs in a folder. It can be talked to, stopped by Stop and paused by
// Signal, but not restarted.
func Open(dir string) (*Milvus, error) {
	m := newMilvus(MilvusConfig{Dir: dir})
	if err := m.find(); err != nil {
		return nil, err
	}
	m.address()
	return m, nil
}

func newMilvus(c MilvusConfig) *Milvus {
	m := &Milvus{conf: c, process: process{Dir: c.Dir, detached: c.Detached, kind: kind{"Milvus", "milvus"}}}
	m.program = m
	return m
}

// setQueue checks that kind of queue and broker go together.
func (m *Milvus) setQueue() error {
	c := &m.conf
	if c.Broker != nil {
		q := c.Broker.queue()
		if c.MQ != "" && c.MQ != q.mq {
			return fmt.Errorf("start Milvus on %s: the broker is a %s", c.MQ, q.mq)
		}
		c.MQ = q.mq
		return nil
	}
	switch c.MQ {
	case "":
		c.MQ = RocksMQ
	case PulsarMQ, KafkaMQ:
		return fmt.Errorf("start Milvus on %s: a Broker is missing", c.MQ)
	}
	return nil
}

// SourceEnv is the environment that makes kitestream read from this server.
func (m *Milvus) SourceEnv() []string {
	return []string{
		"KITESTREAM_SOURCE_ETCD_ENDPOINTS=" + m.EtcdEndpoint,
		"KITESTREAM_SOURCE_MQ=" + m.MQ,
		"KITESTREAM_SOURCE_MQ_URL=" + m.MQURL,
		"KITESTREAM_SOURCE_MILVUS_URI=" + m.URI,
	}
}

// Offsets of the ports inside a block. Offsets 1 to 8 are the internal components.
const (
	portEtcd    = 9
	portNATS    = 10
	portPeer    = 11
	portMetrics = 19
)

func (m *Milvus) address() {
	m.Addr = m.addr(0)
	m.URI = "http://" + m.Addr
	m.EtcdEndpoint = m.addr(portEtcd)
	m.MetricsAddr = m.addr(portMetrics)
	m.MQ, m.MQURL = m.state.MQ, m.state.MQURL
	if m.MQ == NATSMQ {
		m.MQURL = "nats://" + m.addr(portNATS)
	}
}

// command is part of program.
func (m *Milvus) command(context.Context) (*exec.Cmd, error) {
	cache, err := milvusRelease().installed()
	if err != nil {
		return nil, err
	}
	if err := m.render(cache); err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(cache, "bin", "milvus"), "run", "standalone")
	cmd.Env = append(os.Environ(), "MILVUSCONF="+filepath.Join(m.Dir, "configs"), "DEPLOY_MODE=STANDALONE",
		fmt.Sprintf("METRICS_PORT=%d", m.state.PortBase+portMetrics), "MILVUS_RUN_DIR="+filepath.Join(m.Dir, "run"),
		"LD_LIBRARY_PATH="+filepath.Join(cache, "bin"))
	return cmd, nil
}

// ready is part of program.
func (m *Milvus) ready(ctx context.Context) bool {
	return get(ctx, "http://"+m.MetricsAddr+"/healthz") == "OK"
}
