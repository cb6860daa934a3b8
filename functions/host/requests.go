package host

import (
	"time"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// Requests between control and bridges go over core NATS below this prefix, which no stream's subjects begin with.
const requestPrefix = "ksctl."

// ResolveSubject is where any bridge of the source answers a TaskSpec with a ResolveAnswer.
func ResolveSubject(source string) string { return requestPrefix + "source." + source + ".resolve" }

// DescribeSubject is where any bridge of the source answers a DescribeRequest with a DescribeAnswer.
func DescribeSubject(source string) string { return requestPrefix + "source." + source + ".describe" }

// PlanSubject is where any worker answers a PlanRequest with a PlanAnswer.
const PlanSubject = requestPrefix + "worker.plan"

// SyncSubject is where the task's bridge answers a SyncRequest with a BridgeAnswer.
func SyncSubject(task string) string { return requestPrefix + "bridge." + task + ".sync" }

// ResnapshotSubject is where the task's bridge answers a ResnapshotRequest with a BridgeAnswer, when the copy has begun.
func ResnapshotSubject(task string) string {
	return requestPrefix + "bridge." + task + ".resnapshot"
}

// ResnapshotRequest asks a bridge to copy the rows of a collection anew.
type ResnapshotRequest struct {
	Collection jetstream.QualifiedName `json:"collection"` // by the name that `task get` shows
}

// ResolveAnswer says which collections a task selects.
type ResolveAnswer struct {
	Matched []jetstream.QualifiedName `json:"matched"`
	Missing []jetstream.QualifiedName `json:"missing,omitempty"` // named outright, not there yet
	Empty   []jetstream.QualifiedName `json:"empty,omitempty"`   // patterns that match nothing yet
	Error   string                    `json:"error,omitempty"`
}

// DescribeRequest asks what the collections are like that a task selects.
type DescribeRequest struct {
	Task  jetstream.TaskSpec      `json:"task"`
	After jetstream.QualifiedName `json:"after"` // only those after that name; the zero value: all
}

// DescribeAnswer has the next collections by name, as many as fit a message.
type DescribeAnswer struct {
	Creates [][]byte                `json:"creates"` // a milvuspb.CreateCollectionRequest each, with the source's names
	Last    jetstream.QualifiedName `json:"last"`
	More    bool                    `json:"more,omitempty"` // there are collections after Last
	Error   string                  `json:"error,omitempty"`
}

// PlanRequest asks what would become of collections on a target.
type PlanRequest struct {
	Task    jetstream.TaskSpec   `json:"task"`
	Target  jetstream.TargetSpec `json:"target"` // one of the task's
	Creates [][]byte             `json:"creates"`
}

// PlanAnswer has a plan for each of the request's collections, or says why the target could not be asked.
type PlanAnswer struct {
	Plans []handlers.Plan `json:"plans"`
	Error string          `json:"error,omitempty"`
}

// SyncRequest asks a bridge to answer when all that its source holds is on the stream.
type SyncRequest struct {
	TimeoutMS int64 `json:"timeout_ms"` // default and at most an hour
}

func (r SyncRequest) timeout() time.Duration {
	d := time.Duration(r.TimeoutMS) * time.Millisecond
	if d <= 0 || d > time.Hour {
		return time.Hour
	}
	return d
}

// BridgeAnswer is what a task's bridge says when it has done what it was asked for.
type BridgeAnswer struct {
	Seq   uint64 `json:"seq,omitempty"`   // where on the stream that is, for requests that publish
	Error string `json:"error,omitempty"` // what was in the way
}
