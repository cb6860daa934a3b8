package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	errAbsent = errors.New("topic does not exist")
	errAnswer = errors.New("broker's answer is not about what was asked")
)

// Times that stand for an end of the log when a broker is asked for an offset.
const (
	newest int64 = -1
	oldest int64 = -2
)

// What a broker shows of transactions: all that is stored, or what Milvus's own consumers see.
const (
	uncommitted int8 = 0
	committed   int8 = 1
)

// link is a client and the four questions that are asked through it. Each reader has its own: a broker answers one
// request of a connection at a time, so the wait of one reader for the next message would hold up the others.
type link struct{ cl *kgo.Client }

// dial makes a link. It connects when something is asked, and again whenever that is necessary.
// Brokers are addresses besides those of the configuration.
func dial(cfg Config, brokers []string, more ...kgo.Opt) (*link, error) {
	opts, err := cfg.options()
	if err != nil {
		return nil, fmt.Errorf("configure Kafka client: %w", err)
	}
	opts = append(opts, kgo.SeedBrokers(slices.Concat(cfg.brokers(), brokers)...))
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("configure Kafka client: %w", err)
	}
	return &link{cl: cl}, nil
}

func (l *link) close() { l.cl.Close() }

// leader is a topic's partition 0, where Milvus writes, and the broker that has it. An answer by another broker, or by
// this one after another election, is an error.
type leader struct {
	topic  string
	id     [16]byte // differs for a topic that was created anew; zero when the broker knows none (before Kafka 2.8)
	broker int32
	epoch  int32

	brokers []string // addresses of all of the cluster
}

// lookUp finds a topic, and does not create it. errAbsent is what one broker says: one that was just started may
// not have heard of the topic yet.
func (l *link) lookUp(ctx context.Context, topic string) (leader, error) {
	req := kmsg.NewPtrMetadataRequest() // with AllowAutoTopicCreation false
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	got, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return leader{}, fmt.Errorf("look up topic %s: %w", topic, err)
	}
	for _, t := range got.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		switch {
		case t.Topic == nil || *t.Topic != topic:
			continue
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return leader{}, fmt.Errorf("look up topic %s: %w", topic, errAbsent)
		case err != nil:
			return leader{}, fmt.Errorf("look up topic %s: %w", topic, err)
		}
		for _, p := range t.Partitions {
			if p.Partition != 0 {
				continue
			}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil && p.Leader < 0 {
				return leader{}, fmt.Errorf("look up the leader of topic %s: %w", topic, err)
			}
			return leader{topic, t.TopicID, p.Leader, p.LeaderEpoch, addresses(got.Brokers)}, nil
		}
	}
	return leader{}, fmt.Errorf("look up topic %s: %w", topic, errAnswer)
}

func addresses(brokers []kmsg.MetadataResponseBroker) []string {
	all := make([]string, len(brokers))
	for i, b := range brokers {
		all[i] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	return all
}

// offset asks where the log begins (oldest) or what its next message's offset is (newest).
func (l *link) offset(ctx context.Context, at leader, end int64, isolation int8) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, isolation
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.Timestamp = 0, at.epoch, end
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = at.topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	got, err := l.cl.Broker(int(at.broker)).Request(ctx, req)
	if err != nil {
		return 0, fmt.Errorf("ask for an end of topic %s: %w", at.topic, err)
	}
	if a, ok := got.(*kmsg.ListOffsetsResponse); ok && len(a.Topics) == 1 && len(a.Topics[0].Partitions) == 1 {
		p := a.Topics[0].Partitions[0]
		err := kerr.ErrorForCode(p.ErrorCode)
		if err == nil && p.Offset >= 0 {
			return p.Offset, nil
		}
		if err != nil {
			return 0, fmt.Errorf("ask for an end of topic %s: %w", at.topic, err)
		}
	}
	return 0, fmt.Errorf("ask for an end of topic %s: %w", at.topic, errAnswer)
}

// fetchRequest is what is asked of a broker by fetch.
type fetchRequest struct {
	offset   int64
	maxBytes int32
	waitMS   int32
}

// fetch asks for messages from an offset on. The answer holds at least one batch of them if there is any by the end of
// the wait, even one larger than maxBytes, and what of the next ones fits, the last perhaps in part.
func (l *link) fetch(ctx context.Context, at leader, ask fetchRequest) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.IsolationLevel = -1, committed
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = ask.waitMS, 1, ask.maxBytes
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.FetchOffset, p.PartitionMaxBytes = 0, at.epoch, ask.offset, ask.maxBytes
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID, t.Partitions = at.topic, at.id, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	var r kmsg.Request = req
	if at.id == [16]byte{} {
		r = fetchByName{req}
	}
	got, err := l.cl.Broker(int(at.broker)).Request(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("fetch from topic %s: %w", at.topic, err)
	}
	a, ok := got.(*kmsg.FetchResponse)
	if !ok {
		return nil, fmt.Errorf("fetch from topic %s: %w", at.topic, errAnswer)
	}
	if err := kerr.ErrorForCode(a.ErrorCode); err != nil {
		return nil, fmt.Errorf("fetch from topic %s: %w", at.topic, err)
	}
	if len(a.Topics) != 1 || len(a.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("fetch from topic %s: %w", at.topic, errAnswer)
	}
	answer := &a.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return nil, fmt.Errorf("fetch from topic %s: %w", at.topic, err)
	}
	return answer, nil
}

// fetchByName is a request in the last version that names the topic instead of giving its id.
type fetchByName struct{ *kmsg.FetchRequest }

// MaxVersion implements kmsg.Request.
func (fetchByName) MaxVersion() int16 { return 12 }

// Timeout tells the client how long the broker may take.
func (r fetchByName) Timeout() int32 { return r.MaxWaitMillis }
