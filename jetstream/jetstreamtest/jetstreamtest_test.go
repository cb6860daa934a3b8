package jetstreamtest_test

import (
	"context"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream/jetstreamtest"
)

func TestStoreSurvivesRestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s := jetstreamtest.Run(t)
	js := s.JetStream()
	if _, err := js.CreateStream(ctx, natsjs.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "s", nil); err != nil {
		t.Fatal(err)
	}
	url := s.URL()
	s.Restart()
	if s.URL() != url {
		t.Errorf("URL after a restart = %s, want %s", s.URL(), url)
	}
	ack, err := s.JetStream().Publish(ctx, "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	if ack.Sequence != 2 {
		t.Errorf("sequence after a restart = %d, want 2", ack.Sequence)
	}
}

func TestCutClientsComeBack(t *testing.T) {
	s := jetstreamtest.Run(t)
	nc := s.Conn()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	s.Cut()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for nc.Stats().Reconnects == 0 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the client did not reconnect")
		}
	}
}

func TestProxyHoldsAndDrops(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s := jetstreamtest.Run(t)
	p := s.Proxy()
	js := p.JetStream()
	if _, err := js.CreateStream(ctx, natsjs.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	brief := func() error {
		ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		_, err := js.Publish(ctx, "s", nil)
		return err
	}
	p.Hold()
	if err := brief(); err == nil {
		t.Error("an answer came to what was kept back")
	}
	p.Release()
	p.Drop(func(string, []byte) bool { return true })
	if err := brief(); err == nil {
		t.Error("an answer came that was to be dropped")
	}
	p.Drop(nil)
	ack, err := js.Publish(ctx, "s", nil)
	if err != nil || ack.Sequence != 3 {
		t.Errorf("Publish = %+v, %v, want sequence 3: the others had arrived", ack, err)
	}
}

func TestClusterReplicates(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := jetstreamtest.RunCluster(t, 3)
	js := c.JetStream()
	if _, err := js.CreateStream(ctx, natsjs.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "s", nil); err != nil {
		t.Fatal(err)
	}
	gone := c.Leader("S")
	gone.Stop()
	for leader := c.Leader("S"); leader == gone; leader = c.Leader("S") {
		t.Error("a stopped server leads")
	}
}
