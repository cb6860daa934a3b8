//go:build servers

package kafka_test

import (
	"context"
	"testing"
	"time"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
	"kitestream/test/servers"
)

// TestMilvus has a Milvus with one channel, so that the second collection starts behind the first.
func TestMilvus(t *testing.T) {
	k := startKafka(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	m, err := servers.StartMilvus(ctx, servers.MilvusConfig{
		Dir: t.TempDir(), Broker: k, Set: map[string]string{"rootCoord.dmlChannelNum": "1"},
	})
	mqtest.Must(t, err)
	defer func() { mqtest.Must(t, m.Close()) }()
	mqtest.Milvus(t, mqtest.Source{
		Milvus: m, Queue: connect(t, k.Addr), Crash: func(t *testing.T) { crash(t, k) },
		Follows: func(last, next mq.Position) bool { return offset(t, next) == offset(t, last)+1 },
		Starts: func(collection int, at mq.Position) {
			if (offset(t, at) == 0) != (collection == 0) {
				t.Errorf("collection %d starts at %s", collection, at)
			}
		},
	})
}
