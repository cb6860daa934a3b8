package servers

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// PulsarConfig says what StartPulsar starts.
type PulsarConfig struct {
	// Dir keeps everything of the server, as MilvusConfig.Dir.
	Dir string
	// Set changes lines of standalone.conf, such as "defaultRetentionTimeInMinutes".
	Set map[string]string
	// Detached lets the server outlive this process, as MilvusConfig.Detached.
	Detached bool
}

// Pulsar is one running or stopped Pulsar: broker, bookie and metadata in one process. It keeps messages that nobody
// subscribes to for a week. Its addresses stay the same over a restart. The methods are for one caller.
type Pulsar struct {
	process
	URL      string // pulsar://host:port
	AdminURL string // http://host:port
	Proxy    Proxy  // its clients use "pulsar://" + Proxy.Listen

	conf PulsarConfig
}

// Proxy is a way into a broker that leads through a test's own TCP proxy, such as a toxiproxy. A proxy before the
// broker's first address would not do: the broker tells clients where to connect, and that would be past it. One test
// at a time.
type Proxy struct {
	Listen   string // host:port where the proxy must listen; the broker sends clients here that came this way
	Upstream string // host:port where it must forward to
}

// Offsets of a broker's ports inside its block.
const (
	portBroker   = 0
	portWeb      = 1 // Pulsar's admin API
	portBookie   = 2
	portQuorum   = 3 // Kafka's controller
	portUpstream = 4
	portProxy    = 5 // nobody of ours listens there
)

// StartPulsar starts a server and returns when it serves clients, which takes about 5 s. Ctx limits the start, not the
// server's life.
func StartPulsar(ctx context.Context, c PulsarConfig) (*Pulsar, error) {
	p := newPulsar(c)
	if err := p.resume(); err != nil {
		return nil, err
	}
	p.address()
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// OpenPulsar finds the Pulsar that another process runs in a folder, as Open.
func OpenPulsar(dir string) (*Pulsar, error) {
	p := newPulsar(PulsarConfig{Dir: dir})
	if err := p.find(); err != nil {
		return nil, err
	}
	p.address()
	return p, nil
}

func newPulsar(c PulsarConfig) *Pulsar {
	p := &Pulsar{conf: c, process: process{Dir: c.Dir, detached: c.Detached, kind: kind{"Pulsar", "java"}}}
	p.program = p
	return p
}

func (p *Pulsar) address() {
	p.URL = "pulsar://" + p.addr(portBroker)
	p.AdminURL = "http://" + p.addr(portWeb)
	p.Proxy = Proxy{Listen: p.addr(portProxy), Upstream: p.addr(portUpstream)}
}

// queue is part of Broker.
func (p *Pulsar) queue() queue {
	return queue{PulsarMQ, p.URL, map[string]string{
		"pulsar.address": "127.0.0.1",
		"pulsar.port":    fmt.Sprint(p.state.PortBase + portBroker),
		"pulsar.webport": fmt.Sprint(p.state.PortBase + portWeb),
	}}
}

// command is part of program.
func (p *Pulsar) command(ctx context.Context) (*exec.Cmd, error) {
	cache, err := pulsarRelease().installed()
	if err != nil {
		return nil, err
	}
	stock, err := os.ReadFile(filepath.Join(cache, pulsarConf))
	if err != nil {
		return nil, err
	}
	conf, logging := filepath.Join(p.Dir, "standalone.conf"), filepath.Join(p.Dir, "log4j2.properties")
	settings := p.settings()
	maps.Copy(settings, p.conf.Set)
	if err := writeFile(conf, setProperties(stock, settings)); err != nil {
		return nil, err
	}
	if err := writeFile(logging, []byte(pulsarLogging)); err != nil {
		return nil, err
	}
	options := append(strings.Fields(pulsarOptions), "-Dlog4j.configurationFile=file:"+logging)
	return java(context.WithoutCancel(ctx), cache, options, "org.apache.pulsar.PulsarStandaloneStarter", "-c", conf,
		"-nfw", "-nss", "--num-bookies", "1", "--bookkeeper-port", fmt.Sprint(p.state.PortBase+portBookie),
		"--metadata-dir", filepath.Join(p.Dir, "metadata"), "--bookkeeper-dir", filepath.Join(p.Dir, "bookkeeper")), nil
}

// ready is part of program. The namespace public/default is made last.
func (p *Pulsar) ready(ctx context.Context) bool {
	return strings.HasPrefix(get(ctx, p.AdminURL+"/admin/v2/brokers/health"), "ok") &&
		strings.Contains(get(ctx, p.AdminURL+"/admin/v2/namespaces/public"), `"public/default"`)
}

// settings are those in which a server of this package differs from the distribution's standalone.conf.
func (p *Pulsar) settings() map[string]string {
	s := map[string]string{
		"clusterName":       "standalone",
		"brokerServicePort": fmt.Sprint(p.state.PortBase + portBroker),
		"webServicePort":    fmt.Sprint(p.state.PortBase + portWeb),
		// Loopback only. Clients that come in by the listener "proxied" are sent to the proxy.
		"bindAddress":          "127.0.0.1",
		"bindAddresses":        "proxied:pulsar://" + p.Proxy.Upstream,
		"advertisedAddress":    "",
		"advertisedListeners":  "internal:" + p.URL + ",proxied:pulsar://" + p.Proxy.Listen,
		"internalListenerName": "internal",
		"listeningInterface":   "lo",
		"allowLoopback":        "true",
		"allowEphemeralPorts":  "true", // reads wrong, but else the bookie takes a random port, for good
		// Topics and messages stay without a reader, as on a cluster of Milvus's Helm chart.
		"brokerDeleteInactiveTopicsEnabled": "false",
		"defaultRetentionTimeInMinutes":     "10080",
		"defaultRetentionSizeInMB":          "-1",
		// As the chart too: Milvus fills messages up to the stock limit of 5 MiB, and then adds a little.
		"maxMessageSize":         "104857600",
		"nettyMaxFrameSizeBytes": "104867840",
		// A nearly full disk is still a disk to test on.
		"diskUsageThreshold":     "0.99",
		"diskUsageWarnThreshold": "0.98",
		"diskUsageLwmThreshold":  "0.98",
		// Small caches for a small heap.
		"managedLedgerCacheSizeMB":          "32",
		"dbStorage_writeCacheMaxSizeMb":     "32",
		"dbStorage_readAheadCacheMaxSizeMb": "16",
		"dbStorage_rocksDB_blockCacheSize":  "16777216",
		"webSocketServiceEnabled":           "false",
		"webSocketNumIoThreads":             "1",
		"numHttpServerThreads":              "4",
	}
	for _, pool := range []string{
		"numIOThreads", "numOrderedExecutorThreads", "numExecutorThreadPoolSize", "numCacheExecutorThreadPoolSize",
		"topicOrderedExecutorThreadNum", "numWorkerThreadsForNonPersistentTopic", "managedLedgerNumSchedulerThreads",
		"bookkeeperClientNumWorkerThreads", "bookkeeperClientNumIoThreads",
	} {
		s[pool] = "2"
	}
	return s
}

// pulsarOptions are Java's. Standalone mode needs the drivers and the opened packages; the rest keeps it small.
const pulsarOptions = `
	-Xms64m -Xmx512m -XX:MaxDirectMemorySize=384m -Djute.maxbuffer=10485760
	-Dlog4j2.is.webapp=false -Dlog4j.shutdownHookEnabled=false
	-Dpulsar.allocator.exit_on_oom=true -Dio.netty.tryReflectionSetAccessible=true
	-Dorg.apache.pulsar.shade.io.netty.tryReflectionSetAccessible=true
	-Dio.netty.eventLoopThreads=2 -Dio.netty.allocator.numDirectArenas=2 -Dio.netty.allocator.numHeapArenas=1
	-Dbookkeeper.metadata.bookie.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataBookieDriver
	-Dbookkeeper.metadata.client.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataClientDriver
	--add-opens java.base/java.io=ALL-UNNAMED --add-opens java.base/java.util.zip=ALL-UNNAMED
	--add-opens java.base/sun.net=ALL-UNNAMED --add-opens java.management/sun.management=ALL-UNNAMED
	--add-opens jdk.management/com.sun.management.internal=ALL-UNNAMED
	--add-opens java.base/java.nio=ALL-UNNAMED --add-opens java.base/jdk.internal.misc=ALL-UNNAMED
	--add-opens java.base/jdk.internal.platform=ALL-UNNAMED`

const pulsarLogging = `status=error
appender.c.type=Console
appender.c.name=c
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d{HH:mm:ss.SSS} [%t] %-5p %c{1} - %m%n
rootLogger.level=info
rootLogger.appenderRef.c.ref=c
logger.bk.name=org.apache.bookkeeper
logger.bk.level=warn
logger.http.name=org.eclipse.jetty
logger.http.level=warn
`
