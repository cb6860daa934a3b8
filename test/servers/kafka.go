package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// KafkaConfig says what StartKafka starts.
type KafkaConfig struct {
	// Dir keeps everything of the server, as MilvusConfig.Dir.
	Dir string
	// Set changes lines of server.properties, such as "log.retention.ms".
	Set map[string]string
	// Detached lets the server outlive this process, as MilvusConfig.Detached.
	Detached bool
}

// Kafka is one running or stopped Kafka: broker and controller in one process (KRaft). Its addresses stay the same over
// a restart. The methods are for one caller.
type Kafka struct {
	process
	Addr  string // host:port
	Proxy Proxy  // its clients use Proxy.Listen

	conf KafkaConfig
}

// StartKafka starts a server and returns when it serves clients, which takes about 2 s, and 8 s after a Kill: then
// Kafka waits for its own old session. Ctx limits the start, not the server's life.
func StartKafka(ctx context.Context, c KafkaConfig) (*Kafka, error) {
	k := newKafka(c)
	if err := k.resume(); err != nil {
		return nil, err
	}
	k.address()
	if err := k.start(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// OpenKafka finds the Kafka that another process runs in a folder, as Open.
func OpenKafka(dir string) (*Kafka, error) {
	k := newKafka(KafkaConfig{Dir: dir})
	if err := k.find(); err != nil {
		return nil, err
	}
	k.address()
	return k, nil
}

func newKafka(c KafkaConfig) *Kafka {
	k := &Kafka{conf: c, process: process{Dir: c.Dir, detached: c.Detached, kind: kind{"Kafka", "java"}}}
	k.program = k
	return k
}

func (k *Kafka) address() {
	k.Addr = k.addr(portBroker)
	k.Proxy = Proxy{Listen: k.addr(portProxy), Upstream: k.addr(portUpstream)}
}

// queue is part of Broker.
func (k *Kafka) queue() queue {
	return queue{KafkaMQ, k.Addr, map[string]string{"kafka.brokerList": k.Addr}}
}

// command is part of program. It formats a new folder, which is a command of Kafka's own.
func (k *Kafka) command(ctx context.Context) (*exec.Cmd, error) {
	cache, err := kafkaRelease().installed()
	if err != nil {
		return nil, err
	}
	conf, logging := filepath.Join(k.Dir, "server.properties"), filepath.Join(k.Dir, "log4j.properties")
	settings := k.settings()
	maps.Copy(settings, k.conf.Set)
	if err := writeFile(conf, setProperties(nil, settings)); err != nil {
		return nil, err
	}
	if err := writeFile(logging, []byte(kafkaLogging)); err != nil {
		return nil, err
	}
	options := append(strings.Fields(kafkaOptions), "-Dlog4j.configuration=file:"+logging)
	_, err = os.Stat(filepath.Join(k.dataDir(), "meta.properties"))
	if errors.Is(err, fs.ErrNotExist) {
		format := java(ctx, cache, options, "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", conf)
		if out, err := format.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("format %s: %w\n%s", k.dataDir(), err, out)
		}
	} else if err != nil {
		return nil, err
	}
	return java(context.WithoutCancel(ctx), cache, options, "kafka.Kafka", conf), nil
}

// clusterID is 16 bytes in base64, as Kafka wants one.
const clusterID = "kitestream-for-testing"

func (k *Kafka) dataDir() string { return filepath.Join(k.Dir, "data") }

// ready is part of program. A broker that answers is not yet one that the controller lets lead partitions; it logs when
// it is.
func (k *Kafka) ready(context.Context) bool {
	f, err := os.Open(k.logFile())
	if err != nil {
		return false
	}
	defer f.Close()
	if _, err := f.Seek(k.logged, io.SeekStart); err != nil {
		return false
	}
	b, err := io.ReadAll(f)
	return err == nil && bytes.Contains(b, []byte("Kafka Server started"))
}

// settings are all but Kafka's defaults.
func (k *Kafka) settings() map[string]string {
	quorum := k.addr(portQuorum)
	return map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        "1",
		"controller.quorum.voters":       "1@" + quorum,
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "PLAINTEXT",
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT",
		"listeners":                      "PLAINTEXT://" + k.Addr + ",CONTROLLER://" + quorum + ",PROXIED://" + k.Proxy.Upstream,
		"advertised.listeners":           "PLAINTEXT://" + k.Addr + ",PROXIED://" + k.Proxy.Listen,
		"log.dirs":                       k.dataDir(),
		// What Milvus's Helm chart sets: Milvus sends messages of several megabytes.
		"message.max.bytes":       "10485760",
		"replica.fetch.max.bytes": "10485760",
		// One node.
		"offsets.topic.replication.factor":         "1",
		"offsets.topic.num.partitions":             "1",
		"transaction.state.log.replication.factor": "1",
		"transaction.state.log.min.isr":            "1",
		"transaction.state.log.num.partitions":     "1",
		"group.initial.rebalance.delay.ms":         "0",
		// A broker that was killed waits for its old session when it starts again, which takes 9 s by default.
		"broker.session.timeout.ms":    "4000",
		"broker.heartbeat.interval.ms": "1000",
		// Small.
		"num.network.threads":            "2",
		"num.io.threads":                 "2",
		"background.threads":             "2",
		"log.cleaner.threads":            "1",
		"log.cleaner.dedupe.buffer.size": "4194304",
	}
}

const kafkaOptions = "-Xms64m -Xmx384m -XX:MaxDirectMemorySize=128m"

const kafkaLogging = `log4j.rootLogger=INFO, c
log4j.appender.c=org.apache.log4j.ConsoleAppender
log4j.appender.c.layout=org.apache.log4j.PatternLayout
log4j.appender.c.layout.ConversionPattern=[%d] %p %m (%c)%n
`
