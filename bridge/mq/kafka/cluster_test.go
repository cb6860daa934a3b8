//go:build servers

package kafka_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kitestream/bridge/mq/mqtest"
	"kitestream/test/servers"
)

// TestLeaderMoves kills the broker that leads the topic, and is the only one that the reader was told of. The other one
// takes over, and gives back when the first is there again.
func TestLeaderMoves(t *testing.T) {
	first := startKafka(t, nil) // with the controller
	second, addr := joinKafka(t, first)
	w := newWriter(t, first.Addr)
	w.replicate(t, "channel", 2, 1)

	q := connect(t, addr)
	reading, waiting := mqtest.Open(t, q, "channel", ""), mqtest.Open(t, q, "channel", "")
	n := 0
	for n < 5000 {
		n = w.number(t, "channel", n, 50, 1000)
	}
	mqtest.Expect(t, reading, 0, 1000)
	at := mqtest.Expect(t, waiting, 0, n)
	mqtest.Must(t, second.Kill())
	n = w.number(t, "channel", n, 10, 1000) // by the new leader
	mqtest.Expect(t, waiting, n-10, n)
	mqtest.Expect(t, reading, 1000, n)
	mqtest.Expect(t, mqtest.Open(t, connect(t, first.Addr), "channel", at[4000]), 4000, n)

	restart(t, second)
	w.elect(t, "channel")
	n = w.number(t, "channel", n, 10, 1000)
	mqtest.Expect(t, waiting, n-10, n)
	mqtest.Expect(t, reading, n-10, n)
	mqtest.Eventually(t, "last is there", func() bool {
		p, err := q.Last(t.Context(), "channel")
		return err == nil && offset(t, p) == int64(n-1)
	})
}

// joinKafka starts a second broker in the cluster of a first.
func joinKafka(t *testing.T, first *servers.Kafka) (k *servers.Kafka, addr string) {
	t.Helper()
	addr = freeAddr(t)
	const voters = "controller.quorum.voters"
	return startKafka(t, map[string]string{
		"process.roles": "broker", "node.id": "2", "listeners": "PLAINTEXT://" + addr, "advertised.listeners": "PLAINTEXT://" + addr,
		voters: properties(t, filepath.Join(first.Dir, "server.properties"))[voters],
	}), addr
}

// replicate creates a topic with a replica on each of these brokers; the first one leads.
func (w *writer) replicate(t *testing.T, topic string, brokers ...int32) {
	t.Helper()
	mqtest.Do(t, "create topic "+topic, func(ctx context.Context) error {
		req := kmsg.NewPtrCreateTopicsRequest()
		ask := kmsg.NewCreateTopicsRequestTopic()
		ask.Topic, ask.NumPartitions, ask.ReplicationFactor = topic, -1, -1
		p := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		p.Partition, p.Replicas = 0, brokers
		ask.ReplicaAssignment = append(ask.ReplicaAssignment, p)
		req.Topics = append(req.Topics, ask)
		got, err := req.RequestWith(ctx, w.admin)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(got.Topics[0].ErrorCode)
	})
}

// elect gives a topic back to the broker that is to lead it.
func (w *writer) elect(t *testing.T, topic string) {
	t.Helper()
	mqtest.Do(t, "elect the leader of "+topic, func(ctx context.Context) error {
		req := kmsg.NewPtrElectLeadersRequest()
		ask := kmsg.NewElectLeadersRequestTopic()
		ask.Topic, ask.Partitions = topic, []int32{0}
		req.Topics, req.TimeoutMillis = append(req.Topics, ask), int32((5 * time.Second).Milliseconds())
		got, err := req.RequestWith(ctx, w.admin)
		if err != nil {
			return err
		}
		if len(got.Topics) == 0 {
			return kerr.ErrorForCode(got.ErrorCode)
		}
		return kerr.ErrorForCode(got.Topics[0].Partitions[0].ErrorCode)
	})
}
