package jetstream

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// TaskRef names one life of a task: a task that is deleted and created again under its name has another ID. Records are
// kept under both, so that what a sleeper of the earlier life still writes is not seen by the later one.
type TaskRef struct {
	Name string
	ID   string // Task.ID
}

// TargetID names one target of a task.
type TargetID struct {
	Task TaskRef
	Name string
}

// LaneID names one lane of a target.
type LaneID struct {
	Target TargetID
	Lane   int
}

// Target is the task's target of that name.
func (r TaskRef) Target(name string) TargetID { return TargetID{Task: r, Name: name} }

// Lane is the target's lane of that number.
func (t TargetID) Lane(n int) LaneID { return LaneID{Target: t, Lane: n} }

// String is the target as people read it, task/target.
func (t TargetID) String() string { return t.Task.Name + "/" + t.Name }

// String is the lane as people read it, task/target/lane.
func (id LaneID) String() string { return fmt.Sprintf("%s/%d", id.Target, id.Lane) }

// BridgeLease is the key of the lease that makes a process the task's only bridge.
func BridgeLease(task string) string { return "bridge." + token(task) }

// LeaseKey is the key of the lease that makes a process the lane's only worker.
func (id LaneID) LeaseKey() string { return id.Target.LeasePrefix() + "." + strconv.Itoa(id.Lane) }

// LeasePrefix is what the lease keys of the target's lanes begin with.
func (t TargetID) LeasePrefix() string { return "lane." + token(t.Task.Name) + "." + token(t.Name) }

// ForgetTask removes every record of a task, of all its lives, from a bucket that is kept by task: lane checkpoints,
// barriers and stops, or statuses. A compare-and-set by somebody who knew one of them fails from then on.
func ForgetTask(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, task string) error {
	return purge(ctx, js, kv, "*."+token(task)+".>")
}

// purge removes the keys that match. It is one purge of the stream below: KV's own would leave a marker for each key, for ever.
func purge(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, keys string) error {
	s, err := js.Stream(ctx, "KV_"+kv.Bucket())
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", kv.Bucket(), err)
	}
	filter := kvSubject(kv, keys)
	if err := s.Purge(ctx, natsjs.WithPurgeSubject(filter)); err != nil {
		return fmt.Errorf("purge %s: %w", filter, err)
	}
	return nil
}

// record is a key of a target's record: <kind>.<task>.<life>.<target>[.<more>].
func (t TargetID) record(kind string, more ...string) string {
	tokens := []string{kind, token(t.Task.Name), token(t.Task.ID), token(t.Name)}
	return strings.Join(append(tokens, more...), ".")
}

func (id LaneID) record(kind string) string { return id.Target.record(kind, strconv.Itoa(id.Lane)) }

func kvSubject(kv natsjs.KeyValue, key string) string { return "$KV." + kv.Bucket() + "." + key }
