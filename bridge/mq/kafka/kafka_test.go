//go:build servers

package kafka_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/mqtest"
	"kitestream/test/servers"
)

// maxMessage is message.max.bytes of the test's broker, which counts a batch with its header.
const maxMessage = 10 << 20

func TestContract(t *testing.T) {
	k := startKafka(t, map[string]string{
		"log.flush.start.offset.checkpoint.interval.ms": "20", "log.initial.task.delay.ms": "100",
	})
	b := newBroker(t, k.Addr, kafka.Connect, func(t *testing.T) { crash(t, k) })
	trim := b.Trim
	b.Trim = func(t *testing.T, channel string, to mq.Position) {
		trim(t, channel, to)
		trimmed(t, k, channel, offset(t, to))
	}
	mqtest.Run(t, b)
}

// TestContractBefore28 is the contract where only timestamps tell one topic from another.
func TestContractBefore28(t *testing.T) {
	k := startKafka(t, nil)
	mqtest.Run(t, newBroker(t, k.Addr, kafka.ConnectAsBefore28, nil))
}

// trimmed returns when a trim is on the broker's disk. One that is killed before, a minute by default, has the records
// again. (Retention removes files: what that takes does not come back.)
func trimmed(t *testing.T, k *servers.Kafka, topic string, to int64) {
	t.Helper()
	file := filepath.Join(k.Dir, "data", "log-start-offset-checkpoint")
	mqtest.Eventually(t, "the trim is on disk", func() bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(b), fmt.Sprintf("%s 0 %d\n", topic, to))
	})
}

// startKafka starts a broker for one test, with these settings changed.
func startKafka(t testing.TB, set map[string]string) *servers.Kafka {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	k, err := servers.StartKafka(ctx, servers.KafkaConfig{Dir: t.TempDir(), Set: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mqtest.Must(t, k.Close()) })
	return k
}

// crash kills the broker and starts it again.
func crash(t testing.TB, k *servers.Kafka) {
	t.Helper()
	mqtest.Must(t, k.Kill())
	restart(t, k)
}

func restart(t testing.TB, k *servers.Kafka) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	mqtest.Must(t, k.Restart(ctx))
}

// connector is Connect or one of its restricted kinds.
type connector func(kafka.Config, *slog.Logger) (*kafka.Queue, error)

// newBroker lets the contract suite loose on a broker.
func newBroker(t *testing.T, addr string, connect connector, restart func(*testing.T)) mqtest.Broker {
	w := newWriter(t, addr)
	return mqtest.Broker{
		Connect: func(t *testing.T) mq.Queue { return mqtest.Connect(t, connect, config(addr)) },
		Create:  w.create,
		Append:  w.append,
		Trim:    func(t *testing.T, channel string, to mq.Position) { w.trim(t, channel, offset(t, to)) },
		Delete:  w.remove,
		Restart: restart,
		Ahead: func(t *testing.T, channel string, n int) mq.Position {
			return mq.Position(fmt.Sprint(w.end(t, channel) + int64(n) - 1))
		},
		Milvus: func(t *testing.T, p mq.Position) []byte {
			return binary.LittleEndian.AppendUint64(nil, uint64(offset(t, p)))
		},
		NoPositions: []mq.Position{"-1", "-2", "+1", "01", "x", "1@", "1@x", "1@-5", "1@0", "1 ", "@5", "9223372036854775808"},
		NoBytes: [][]byte{nil, {}, {1}, make([]byte, 9), []byte("\x08\x01\x10\x02"),
			{255, 255, 255, 255, 255, 255, 255, 255}, {254, 255, 255, 255, 255, 255, 255, 255}},
		MaxPayload: maxMessage,
		Prefetch:   kafka.DefaultConfig().PrefetchBytes,
		Foreign:    []string{"kitestream/test/servers", "kafka_test.(*writer)"},
	}
}

// connect makes a queue with default limits that logs to the test.
func connect(t testing.TB, addr string) *kafka.Queue {
	t.Helper()
	return mqtest.Connect(t, kafka.Connect, config(addr))
}

func offset(t testing.TB, p mq.Position) int64 {
	t.Helper()
	var n int64
	text, _, _ := strings.Cut(string(p), "@")
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatalf("position %q: %v", p, err)
	}
	return n
}

// writer is the test's own hold on a broker.
type writer struct {
	admin     *kgo.Client
	opts      []kgo.Opt
	producers map[string]*kgo.Client // by topic, of the topic as it is now
}

func newWriter(t testing.TB, addr string, opts ...kgo.Opt) *writer {
	t.Helper()
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.DisableClientMetrics(), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(maxMessage),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}, opts...)
	admin, err := kgo.NewClient(opts...)
	mqtest.Must(t, err)
	w := &writer{admin: admin, opts: opts, producers: map[string]*kgo.Client{}}
	t.Cleanup(func() {
		admin.Close()
		for _, p := range w.producers {
			p.Close()
		}
	})
	return w
}

func (w *writer) create(t testing.TB, topic string) {
	t.Helper()
	w.createWith(t, topic, nil)
}

func (w *writer) createWith(t testing.TB, topic string, settings map[string]string) {
	t.Helper()
	mqtest.Do(t, "create topic "+topic, func(ctx context.Context) error {
		req := kmsg.NewPtrCreateTopicsRequest()
		ask := kmsg.NewCreateTopicsRequestTopic()
		ask.Topic, ask.NumPartitions, ask.ReplicationFactor = topic, 1, 1
		for k, v := range settings {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = k, &v
			ask.Configs = append(ask.Configs, c)
		}
		req.Topics = append(req.Topics, ask)
		got, err := req.RequestWith(ctx, w.admin)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(got.Topics[0].ErrorCode)
	})
}

func (w *writer) remove(t testing.TB, topic string) {
	t.Helper()
	if p := w.producers[topic]; p != nil {
		p.Close()
		delete(w.producers, topic)
	}
	mqtest.Do(t, "delete topic "+topic, func(ctx context.Context) error {
		req := kmsg.NewPtrDeleteTopicsRequest()
		ask := kmsg.NewDeleteTopicsRequestTopic()
		ask.Topic = &topic
		req.Topics, req.TopicNames = append(req.Topics, ask), []string{topic}
		got, err := req.RequestWith(ctx, w.admin)
		if err != nil {
			return err
		}
		err = kerr.ErrorForCode(got.Topics[0].ErrorCode)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return nil
		}
		return err
	})
}

// trim deletes the records before an offset, as an operator would.
func (w *writer) trim(t testing.TB, topic string, to int64) {
	t.Helper()
	mqtest.Do(t, "delete records of "+topic, func(ctx context.Context) error {
		req := kmsg.NewPtrDeleteRecordsRequest()
		ask := kmsg.NewDeleteRecordsRequestTopic()
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = 0, to
		ask.Topic, ask.Partitions = topic, append(ask.Partitions, p)
		req.Topics, req.TimeoutMillis = append(req.Topics, ask), 5000
		got, err := req.RequestWith(ctx, w.admin)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(got.Topics[0].Partitions[0].ErrorCode)
	})
}

// end is the offset of the next message.
func (w *writer) end(t testing.TB, topic string) int64 {
	t.Helper()
	var end int64
	mqtest.Do(t, "ask for the end of "+topic, func(ctx context.Context) error {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		ask := kmsg.NewListOffsetsRequestTopic()
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = 0, -1
		ask.Topic, ask.Partitions = topic, append(ask.Partitions, p)
		req.Topics = append(req.Topics, ask)
		got, err := req.RequestWith(ctx, w.admin)
		if err != nil {
			return err
		}
		end = got.Topics[0].Partitions[0].Offset
		return kerr.ErrorForCode(got.Topics[0].Partitions[0].ErrorCode)
	})
	return end
}

// producer is a topic's own: one that outlives its topic would go on counting where it was.
func (w *writer) producer(t testing.TB, topic string) *kgo.Client {
	t.Helper()
	if w.producers[topic] == nil {
		p, err := kgo.NewClient(w.opts...)
		mqtest.Must(t, err)
		w.producers[topic] = p
	}
	return w.producers[topic]
}

// append produces as fast as the broker takes it.
func (w *writer) append(t testing.TB, topic string, msgs ...mqtest.Message) []mq.Position {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), mqtest.Patience)
	defer cancel()
	records := make([]*kgo.Record, len(msgs))
	for i, m := range msgs {
		records[i] = &kgo.Record{Topic: topic, Value: m.Payload}
		for k, v := range m.Properties {
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
		}
	}
	if err := w.producer(t, topic).ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("append to %s: %v", topic, err)
	}
	at := make([]mq.Position, len(msgs))
	for i, r := range records {
		at[i] = mq.Position(fmt.Sprintf("%d@%d", r.Offset, r.Timestamp.UnixMilli()))
	}
	return at
}
