package natsmq_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
	"kitestream/bridge/mq/natsmq"
	"kitestream/jetstream/jetstreamtest"
)

// milvusPayload is the max payload of Milvus's embedded server.
const milvusPayload = 8 << 20

func TestContract(t *testing.T) {
	s := jetstreamtest.Run(t, func(o *server.Options) { o.MaxPayload = milvusPayload })
	mqtest.Run(t, newBroker(t, s.URL(), func(t *testing.T) { s.Restart() }))
}

// writer is the test's own hold on a NATS server. It makes streams as Milvus does.
type writer struct {
	nc *nats.Conn
	js natsjs.JetStream
}

func newWriter(t testing.TB, url string, login ...nats.Option) *writer {
	t.Helper()
	nc, err := nats.Connect(url, append(login, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))...)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc, natsjs.WithPublishAsyncMaxPending(256))
	if err != nil {
		t.Fatal(err)
	}
	return &writer{nc: nc, js: js}
}

// newBroker lets the contract suite loose on a server.
func newBroker(t *testing.T, url string, restart func(*testing.T)) mqtest.Broker {
	w := newWriter(t, url)
	return mqtest.Broker{
		Connect: func(t *testing.T) mq.Queue { return connect(t, url) },
		Create:  w.create,
		Append:  w.append,
		Trim:    func(t *testing.T, channel string, to mq.Position) { w.purge(t, channel, sequence(t, to)) },
		Delete:  w.remove,
		Restart: restart,
		Ahead: func(t *testing.T, channel string, n int) mq.Position {
			return mq.Position(fmt.Sprint(w.state(t, channel).LastSeq + uint64(n)))
		},
		Milvus: func(t *testing.T, p mq.Position) []byte {
			return binary.LittleEndian.AppendUint64(nil, sequence(t, p))
		},
		NoPositions: []mq.Position{"0", "-1", "+1", "01", "x", "1@", "1@x", "1@-5", "1@0", "1 ", "@5", "18446744073709551616"},
		NoBytes:     [][]byte{nil, {}, {1}, make([]byte, 8), make([]byte, 9), []byte("\x08\x01\x10\x02")},
		MaxPayload:  int(w.nc.MaxPayload()),
		Prefetch:    natsmq.DefaultConfig().PrefetchBytes,
		Foreign:     []string{"nats-server/v2", "kitestream/test/servers"},
	}
}

func config(url string) natsmq.Config {
	cfg := natsmq.DefaultConfig()
	cfg.URL = url
	return cfg
}

// connect makes a queue with default limits that logs to the test.
func connect(t testing.TB, url string) *natsmq.Queue {
	t.Helper()
	return mqtest.Connect(t, natsmq.Connect, config(url))
}

func sequence(t testing.TB, p mq.Position) uint64 {
	t.Helper()
	var n uint64
	seq, _, _ := strings.Cut(string(p), "@")
	if _, err := fmt.Sscan(seq, &n); err != nil {
		t.Fatalf("position %q: %v", p, err)
	}
	return n
}

func (w *writer) create(t testing.TB, channel string) {
	t.Helper()
	mqtest.Do(t, "create stream "+channel, func(ctx context.Context) error {
		_, err := w.js.CreateStream(ctx, natsjs.StreamConfig{
			Name: channel, Subjects: []string{channel}, Storage: natsjs.FileStorage, MaxAge: 72 * time.Hour,
		})
		return err
	})
}

func (w *writer) remove(t testing.TB, channel string) {
	t.Helper()
	mqtest.Do(t, "delete stream "+channel, func(ctx context.Context) error {
		err := w.js.DeleteStream(ctx, channel)
		if errors.Is(err, natsjs.ErrStreamNotFound) {
			return nil
		}
		return err
	})
}

func (w *writer) purge(t testing.TB, channel string, to uint64) {
	t.Helper()
	mqtest.Do(t, "purge stream "+channel, func(ctx context.Context) error {
		s, err := w.js.Stream(ctx, channel)
		if err != nil {
			return err
		}
		return s.Purge(ctx, natsjs.WithPurgeSequence(to))
	})
}

func (w *writer) state(t testing.TB, channel string) natsjs.StreamState {
	t.Helper()
	var state natsjs.StreamState
	mqtest.Do(t, "look up stream "+channel, func(ctx context.Context) error {
		s, err := w.js.Stream(ctx, channel)
		if err != nil {
			return err
		}
		state = s.CachedInfo().State
		return nil
	})
	return state
}

// append publishes as fast as the server takes it.
func (w *writer) append(t testing.TB, channel string, msgs ...mqtest.Message) []mq.Position {
	t.Helper()
	mqtest.Do(t, "reach the server", func(ctx context.Context) error { _, err := w.js.Stream(ctx, channel); return err })
	acks := make([]natsjs.PubAckFuture, len(msgs))
	for i, m := range msgs {
		msg := &nats.Msg{Subject: channel, Data: m.Payload}
		for k, v := range m.Properties {
			if msg.Header == nil {
				msg.Header = nats.Header{}
			}
			msg.Header[k] = []string{v}
		}
		var err error
		if acks[i], err = w.js.PublishMsgAsync(msg, natsjs.WithStallWait(mqtest.Patience)); err != nil {
			t.Fatalf("append to %s: %v", channel, err)
		}
	}
	at := make([]mq.Position, len(msgs))
	for i, a := range acks {
		select {
		case ack := <-a.Ok():
			at[i] = mq.Position(fmt.Sprint(ack.Sequence))
		case err := <-a.Err():
			t.Fatalf("append to %s: %v", channel, err)
		case <-time.After(mqtest.Patience):
			t.Fatalf("append to %s: no answer", channel)
		}
	}
	return at
}
