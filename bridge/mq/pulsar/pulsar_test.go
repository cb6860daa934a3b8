//go:build servers

package pulsar_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	client "github.com/apache/pulsar-client-go/pulsar"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
	"kitestream/bridge/mq/pulsar"
	"kitestream/test/servers"
)

// maxPayload is the stock maxMessageSize of a broker. Milvus's chart sets 100 MiB and Milvus writes 5 MiB.
const maxPayload = 5 << 20

// TestPulsar has one real Pulsar for all that is tested on it, since a start takes 10 s.
func TestPulsar(t *testing.T) {
	p := start(t, map[string]string{"maxMessageSize": fmt.Sprint(maxPayload), "nettyMaxFrameSizeBytes": fmt.Sprint(maxPayload + 10<<10)})
	w := newWriter(t, p)
	for name, test := range map[string]func(*testing.T, *servers.Pulsar, *writer){
		"ledgers_end_without_a_gap":         testLedgers,
		"retention_makes_a_gap":             testRetention,
		"another_message_at_the_position":   testWiped,
		"no_topic_is_made":                  testNoTopicIsMade,
		"topics_with_similar_names":         testSiblings,
		"compressed_messages":               testCompression,
		"time_to_live_skips_nothing":        testExpiry,
		"unproven_is_a_gap":                 testUnproven,
		"hole_that_stays_is_a_gap":          testHole,
		"partitions":                        testPartitions,
		"batches":                           testBatches,
		"connection_is_cut_again_and_again": testCut,
		"network_goes_silent":               testSilence,
		"read_ahead_is_bounded":             testReadAhead,
		"outage_is_logged_once":             testOutageLog,
	} {
		t.Run(name, func(t *testing.T) { test(t, p, w) })
	}
	t.Run("contract", func(t *testing.T) { mqtest.Run(t, newBroker(t, p)) })
}

// start runs a Pulsar for this test.
func start(t testing.TB, set map[string]string) *servers.Pulsar {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	p, err := servers.StartPulsar(ctx, servers.PulsarConfig{Dir: t.TempDir(), Set: set})
	mqtest.Must(t, err)
	t.Cleanup(func() { mqtest.Must(t, p.Close()) })
	return p
}

// crash kills the broker, and with it the bookie and the metadata, and starts it again.
func crash(t testing.TB, p *servers.Pulsar) {
	t.Helper()
	mqtest.Must(t, p.Kill())
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	mqtest.Must(t, p.Restart(ctx))
}

// newBroker lets the contract suite loose on a Pulsar.
func newBroker(t *testing.T, p *servers.Pulsar) mqtest.Broker {
	w := newWriter(t, p)
	return mqtest.Broker{
		Connect: func(t *testing.T) mq.Queue { return connect(t, p.URL) },
		Create:  w.create,
		Append:  w.append,
		Cut:     w.roll,
		Trim:    func(t *testing.T, channel string, _ mq.Position) { w.truncate(t, channel) },
		Delete:  w.remove,
		Restart: func(t *testing.T) {
			for channel := range w.producers {
				w.release(channel)
			}
			crash(t, p)
		},
		Ahead: func(t *testing.T, channel string, n int) mq.Position {
			ledger, entry := place(t, w.last[channel])
			return mq.Position(fmt.Sprintf("%d:%d", ledger, entry+int64(n)))
		},
		Milvus: func(t *testing.T, p mq.Position) []byte {
			ledger, entry := place(t, p)
			return client.NewMessageID(ledger, entry, -1, 0).Serialize()
		},
		NoPositions: noPositions(),
		NoBytes:     noBytes(),
		MaxPayload:  maxPayload,
		Prefetch:    pulsar.DefaultConfig().PrefetchBytes,
		Foreign:     []string{"net/http.", "kitestream/test/servers"},
	}
}

// connect makes a queue with default limits that logs to the test.
func connect(t testing.TB, url string) *pulsar.Queue {
	t.Helper()
	cfg := pulsar.DefaultConfig()
	cfg.URL = url
	return mqtest.Connect(t, pulsar.Connect, cfg)
}
