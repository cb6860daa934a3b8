//go:build servers

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kitestream/functions/control"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// TestGap has the queue forget what a bridge that was down had not read. The collections on that channel stop and say
// what is missing, where, and what helps; others go on.
func TestGap(t *testing.T) {
	for _, kind := range []struct {
		name   string
		config func(*testing.T) servers.MilvusConfig
		forget func(ctx context.Context, t *testing.T, m *servers.Milvus, channel string) error
	}{
		{"natsmq", func(*testing.T) servers.MilvusConfig { return servers.MilvusConfig{MQ: servers.NATSMQ} }, purgeStream},
		{"pulsar", func(t *testing.T) servers.MilvusConfig { return servers.MilvusConfig{Broker: servers.SharedPulsar(t)} }, truncateTopic},
		{"kafka", func(t *testing.T) servers.MilvusConfig { return servers.MilvusConfig{Broker: servers.SharedKafka(t)} }, deleteRecords},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			c := kind.config(t)
			c.Dir = t.TempDir()
			m, err := servers.StartMilvus(ctx, c) // its own: channels are shared by all that a source holds
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = m.Close() })
			r := rig.New(t)
			r.From(m)
			gap(r, "gap"+kind.name, func(channel string) {
				if err := kind.forget(ctx, t, m, channel); err != nil {
					t.Fatalf("have the queue forget channel %s: %v", channel, err)
				}
			})
		})
	}
}

func gap(r *rig.Rig, task string, forget func(channel string)) {
	dst := servers.Target(r)
	prefix := task + "_"
	r.Clean(prefix, dst)
	r.Start("control")
	r.Start("worker")
	bridge := r.Start("bridge")
	lost, other := r.Table("default", plain(prefix+"lost"), 1), r.Table("default", plain(prefix+"other"), 1)
	r.Create(task, 2, rig.Prefix("default", prefix), dst)
	lost.Upsert("", rows(0, 100, 1)...)
	other.Upsert("", rows(0, 100, 1)...)
	r.Wait(task)
	bridge.Kill()
	lost.Upsert("", rows(0, 100, 2)...)
	other.Upsert("", rows(0, 100, 2)...)
	channel := channelOf(r, lost)
	if channel == channelOf(r, other) {
		r.Fatalf("both collections are on channel %s", channel)
	}
	forget(channel)
	lost.Upsert("", rows(0, 100, 3)...)
	r.Start("bridge")
	other.Upsert("", rows(50, 150, 3)...)
	r.Until("the other collection goes on", func() bool { return other.Is(dst) })
	var v control.CollectionView
	r.Until("the collection is said to be stopped", func() bool { v = view(r, task, prefix+"lost"); return v.State == control.Stopped })
	for _, part := range []string{channel, "position", "goes on at", "snapshot"} {
		if !strings.Contains(v.Why, part) {
			r.Errorf("the reason does not name %q: %s", part, v.Why)
		}
	}
	if v := view(r, task, prefix+"other"); v.State != control.Running {
		r.Errorf("the other collection is %s: %s", v.State, v.Why)
	}
	if got := lost.Read(dst); got.Total() != 100 {
		r.Errorf("the stopped collection has %d rows on the target, want the 100 from before the gap", got.Total())
	}
}

func channelOf(r *rig.Rig, tb *rig.Table) string {
	c, err := tb.Client.DescribeCollection(r.Context(), tb.Name)
	if err != nil {
		r.Fatal(err)
	}
	return c.PhysicalChannels[0]
}

func purgeStream(ctx context.Context, _ *testing.T, m *servers.Milvus, channel string) error {
	nc, err := nats.Connect(m.MQURL)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := natsjs.New(nc)
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, channel)
	if err != nil {
		return err
	}
	return s.Purge(ctx)
}

// truncateTopic has Pulsar begin a new ledger and remove those before it: it removes whole ledgers only.
func truncateTopic(ctx context.Context, t *testing.T, _ *servers.Milvus, channel string) error {
	topic := servers.SharedPulsar(t).AdminURL + "/admin/v2/persistent/public/default/" + channel
	if _, err := ask(ctx, http.MethodPut, topic+"/unload"); err != nil {
		return err
	}
	var state struct {
		Ledgers []struct{ LedgerID int64 }
	}
	for ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond)
		_, err := ask(ctx, http.MethodDelete, topic+"/truncate")
		if err != nil { // the topic is being loaded again
			continue
		}
		body, err := ask(ctx, http.MethodGet, topic+"/internalStats")
		if err == nil && json.Unmarshal(body, &state) == nil && len(state.Ledgers) == 1 {
			break
		}
	}
	return ctx.Err()
}

func ask(ctx context.Context, method, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return body, err
}

func deleteRecords(ctx context.Context, t *testing.T, _ *servers.Milvus, channel string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(servers.SharedKafka(t).Addr))
	if err != nil {
		return err
	}
	defer client.Close()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Offset = -1 // all that there is
	ask := kmsg.NewDeleteRecordsRequestTopic()
	ask.Topic, ask.Partitions = channel, append(ask.Partitions, p)
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Topics, req.TimeoutMillis = append(req.Topics, ask), 5000
	got, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(got.Topics[0].Partitions[0].ErrorCode)
}
