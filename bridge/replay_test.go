package bridge_test

import (
	"context"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
)

// replay applies the stream to a model that forgives nothing.
func replay(ctx context.Context, t *testing.T, js natsjs.JetStream, spec jetstream.TaskSpec) *model {
	t.Helper()
	return replayTo(ctx, t, js, spec, modelTarget{name: spec.Targets[0].Name})
}

// modelTarget is for whom a stream is replayed, and from where.
type modelTarget struct {
	name   string
	behind uint64 // 0: it was there from the beginning
}

func replayTo(ctx context.Context, t *testing.T, js natsjs.JetStream, spec jetstream.TaskSpec, to modelTarget) *model {
	t.Helper()
	m := newModel(t, to)
	err := jetstream.Scan(ctx, js, spec.Name, []string{jetstream.StreamSubjects(spec.Name)}, to.behind+1, func(e *jetstream.Event) error {
		m.apply(e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newModel(t *testing.T, to modelTarget) *model {
	return &model{t: t, target: to, ids: map[string]uint64{}, dbs: map[string]*modelDatabase{"default": {id: 1}}, cols: map[string]*modelCollection{},
		aliases: map[string]string{}, sums: map[string]uint64{}, allowed: newModelAccess()}
}
