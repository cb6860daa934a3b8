//go:build servers

package crash_test

import (
	"context"
	"io"
	"testing"
	"time"

	"kitestream/test/rig"
	"kitestream/test/servers"
)

// broker is a source's queue that can be killed. All kinds of servers of the tests have these.
type broker interface {
	servers.Broker
	io.Closer
	Kill() error
	Stop() error
	Restart(ctx context.Context) error
}

// TestKilledBroker has the queue under the source killed, and every other time stopped and started, between any two
// messages. Calls to the source fail meanwhile; whatever it holds in the end is the truth.
func TestKilledBroker(t *testing.T) {
	t.Run("pulsar", func(t *testing.T) {
		killBroker(t, func(ctx context.Context, dir string) (broker, error) {
			return servers.StartPulsar(ctx, servers.PulsarConfig{Dir: dir})
		})
	})
	t.Run("kafka", func(t *testing.T) {
		killBroker(t, func(ctx context.Context, dir string) (broker, error) {
			return servers.StartKafka(ctx, servers.KafkaConfig{Dir: dir})
		})
	})
}

func killBroker(t *testing.T, start func(context.Context, string) (broker, error)) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	b, err := start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() }) // its folder goes with it
	m, err := servers.StartMilvus(ctx, servers.MilvusConfig{Dir: t.TempDir(), Broker: b, QuickRestart: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	r := rig.New(t)
	r.From(m)
	r.Env(leaseTTL)
	for _, verb := range []string{"control", "worker", "bridge"} {
		r.Start(verb)
	}
	s := beginWith(r, "kbroker", r.LoadThrough)
	published := func() uint64 {
		revive(ctx, t, m) // it may end some time after its queue did
		return s.published()
	}
	for i := range max(2, points(t)/4) {
		s.after("the stream", 300, published)
		if i%2 == 0 {
			err = b.Kill()
		} else {
			err = b.Stop()
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Restart(ctx); err != nil {
			t.Fatal(err)
		}
	}
	s.after("the stream", 300, published)
	s.end()
}

// revive starts the source again where it could not bear the loss of its queue.
func revive(ctx context.Context, t *testing.T, m *servers.Milvus) {
	t.Helper()
	if m.Running() {
		return
	}
	t.Log("the source has ended with its queue")
	if err := m.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}
