//go:build servers

package natsmq_test

import (
	"context"
	"testing"
	"time"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
	"kitestream/test/servers"
)

// milvusUp is how long Milvus may take to start.
const milvusUp = 3 * time.Minute

// TestMilvus has a Milvus of its own, since it kills it, and with it the NATS server inside.
func TestMilvus(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), milvusUp)
	defer cancel()
	m, err := servers.StartMilvus(ctx, servers.MilvusConfig{Dir: t.TempDir(), MQ: servers.NATSMQ, QuickRestart: true})
	mqtest.Must(t, err)
	defer func() { mqtest.Must(t, m.Close()) }()
	crash := func(t *testing.T) {
		t.Helper()
		mqtest.Must(t, m.Kill())
		ctx, cancel := context.WithTimeout(t.Context(), milvusUp)
		defer cancel()
		mqtest.Must(t, m.Restart(ctx))
	}
	t.Run("channel", func(t *testing.T) {
		mqtest.Milvus(t, mqtest.Source{
			Milvus: m, Queue: connect(t, m.MQURL), Crash: crash,
			Follows: func(last, next mq.Position) bool { return sequence(t, next) == sequence(t, last)+1 },
		})
	})
	t.Run("contract", func(t *testing.T) { mqtest.Run(t, newBroker(t, m.MQURL, crash)) })
}
