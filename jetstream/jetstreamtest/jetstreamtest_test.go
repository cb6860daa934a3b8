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
