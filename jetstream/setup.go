package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// The buckets and the stream that all tasks share. Setup makes them.
const (
	BucketTasks  = "KS_TASKS"  // task records
	BucketLeases = "KS_LEASES" // leases: each key lives as long as its holder renews it
	BucketLanes  = "KS_LANES"  // lane checkpoints, barriers, stopped collections
	BucketLedger = "KS_LEDGER" // what bridges have published of the schema, and where their channels go on
	BucketStatus = "KS_STATUS" // what bridges and workers last said of themselves
	StreamParked = "KS_PARKED" // events that no retry can apply
)

const (
	// needsLevel is JetStream's API level that has per-key TTLs, which leases are made of. nats-server 2.11 has it.
	needsLevel = 1
	// needsPayload is the least max_payload of the server that leaves room for rows beside an event's headers.
	needsPayload = 64 << 10
	// markerTTL is how long the mark of an expired lease stays, for watchers that were away when it expired.
	markerTTL = time.Minute
)

// buckets are the KV buckets as data.
func buckets(replicas int) []natsjs.KeyValueConfig {
	return []natsjs.KeyValueConfig{
		{Bucket: BucketTasks, Description: "Kitestream: tasks", Replicas: replicas},
		{Bucket: BucketLeases, Description: "Kitestream: leases", Replicas: replicas, LimitMarkerTTL: markerTTL},
		{Bucket: BucketLanes, Description: "Kitestream: lane checkpoints, barriers, stops", Replicas: replicas},
		{Bucket: BucketLedger, Description: "Kitestream: ledgers and resume points", Replicas: replicas},
		{Bucket: BucketStatus, Description: "Kitestream: statuses", Replicas: replicas},
	}
}

// parkedStream is the dead-letter stream as data. It has no limit: what is parked stays until somebody removes it.
func parkedStream(replicas int) natsjs.StreamConfig {
	return natsjs.StreamConfig{
		Name: StreamParked, Description: "Kitestream: parked events", Subjects: []string{parkedPrefix + ".>"},
		Storage: natsjs.FileStorage, Retention: natsjs.LimitsPolicy, Discard: natsjs.DiscardNew, Replicas: max(replicas, 1),
	}
}

// Setup makes what all tasks share, or brings it to the wanted settings where it is there already. Every process calls
// it at its start; several may at once. It refuses a server that is too old to fence with.
func Setup(ctx context.Context, js natsjs.JetStream, replicas int) error {
	if err := checkServer(ctx, js); err != nil {
		return err
	}
	for _, b := range buckets(replicas) {
		if _, err := js.CreateOrUpdateKeyValue(ctx, b); err != nil {
			return fmt.Errorf("make bucket %s: %w", b.Bucket, err)
		}
	}
	if _, err := js.CreateOrUpdateStream(ctx, parkedStream(replicas)); err != nil {
		return fmt.Errorf("make stream %s: %w", StreamParked, err)
	}
	return nil
}

func checkServer(ctx context.Context, js natsjs.JetStream) error {
	nc := js.Conn()
	info, err := js.AccountInfo(ctx)
	switch {
	case errors.Is(err, natsjs.ErrJetStreamNotEnabled) || errors.Is(err, natsjs.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("nats-server at %s runs without JetStream: start it with -js, or enable it for this account: %w",
			nc.ConnectedUrlRedacted(), err)
	case err != nil:
		return fmt.Errorf("ask nats-server at %s for JetStream: %w", nc.ConnectedUrlRedacted(), err)
	case info.API.Level < needsLevel:
		return fmt.Errorf("nats-server at %s is version %s with JetStream API level %d: Kitestream needs version 2.11 or later (level %d)",
			nc.ConnectedUrlRedacted(), nc.ConnectedServerVersion(), info.API.Level, needsLevel)
	case nc.MaxPayload() < needsPayload:
		return fmt.Errorf("nats-server at %s has max_payload %d: Kitestream needs at least %d, better 1048576 or more",
			nc.ConnectedUrlRedacted(), nc.MaxPayload(), needsPayload)
	}
	return nil
}

// Buckets are the buckets that Setup makes, opened.
type Buckets struct {
	Tasks, Leases, Lanes, Ledger, Status natsjs.KeyValue
}

// OpenBuckets opens what Setup has made.
func OpenBuckets(ctx context.Context, js natsjs.JetStream) (*Buckets, error) {
	var b Buckets
	for name, kv := range map[string]*natsjs.KeyValue{
		BucketTasks: &b.Tasks, BucketLeases: &b.Leases, BucketLanes: &b.Lanes, BucketLedger: &b.Ledger, BucketStatus: &b.Status,
	} {
		var err error
		if *kv, err = js.KeyValue(ctx, name); err != nil {
			return nil, fmt.Errorf("open bucket %s: %w", name, err)
		}
	}
	return &b, nil
}
