package pulsar_test

import (
	"log/slog"
	"testing"

	"kitestream/bridge/mq/pulsar"
)

func connectWith(t testing.TB, cfg pulsar.Config) *pulsar.Queue {
	t.Helper()
	q, err := pulsar.Connect(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	must(t, err)
	t.Cleanup(func() { _ = q.Close() })
	return q
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
