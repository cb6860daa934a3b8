//go:build servers

package pulsar_test

import (
	"context"
	"testing"
	"time"

	"kitestream/bridge/mq/mqtest"
	"kitestream/test/servers"
)

func TestMilvus(t *testing.T) {
	p := start(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	m, err := servers.StartMilvus(ctx, servers.MilvusConfig{Dir: t.TempDir(), Broker: p})
	mqtest.Must(t, err)
	defer func() { mqtest.Must(t, m.Close()) }()
	mqtest.Milvus(t, mqtest.Source{Milvus: m, Queue: connect(t, p.URL), Crash: func(t *testing.T) { crash(t, p) }})
}
