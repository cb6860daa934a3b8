package kafka_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kitestream/bridge/mq/kafka"
)

// TestLastWaitsForElection asks a broker that does not know yet that it leads the topic, as one does right after the
// topic was made. No broker can be made to say that for certain, so this one is fake.
func TestLastWaitsForElection(t *testing.T) {
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "channel"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	refusals := 0
	broker.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if refusals == 2 {
			return nil, nil, false
		}
		refusals++
		broker.KeepControl()
		return notLeader(req), nil, true
	})
	cfg := kafka.DefaultConfig()
	cfg.Brokers = strings.Join(broker.ListenAddrs(), ",")
	q, err := kafka.Connect(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	if at, err := q.Last(t.Context(), "channel"); at != "" || err != nil || refusals != 2 {
		t.Errorf("last after %d refusals = %q, %v", refusals, at, err)
	}
}

// notLeader answers a request for the topic's ends.
func notLeader(req kmsg.Request) kmsg.Response {
	answer, ok := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	if !ok {
		return nil
	}
	p := kmsg.NewListOffsetsResponseTopicPartition()
	p.ErrorCode = kerr.NotLeaderForPartition.Code
	topic := kmsg.NewListOffsetsResponseTopic()
	topic.Topic, topic.Partitions = "channel", append(topic.Partitions, p)
	answer.Topics = append(answer.Topics, topic)
	return answer
}
