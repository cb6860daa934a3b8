package host

import (
	"time"

	"kitestream/jetstream"
)

// Requests between control and bridges go over core NATS below this prefix, which no stream's subjects begin with.
const requestPrefix = "ksctl."

// ResolveSubject is where any bridge of the source answers a TaskSpec with a ResolveAnswer.
func ResolveSubject(source string) string { return requestPrefix + "source." + source + ".resolve" }

// SyncSubject is where the task's bridge answers a SyncRequest with a SyncAnswer.
func SyncSubject(task string) string { return requestPrefix + "bridge." + task + ".sync" }

// ResolveAnswer says which collections a task selects.
type ResolveAnswer struct {
	Matched []jetstream.QualifiedName `json:"matched"`
	Missing []jetstream.QualifiedName `json:"missing,omitempty"` // named outright, not there yet
	Empty   []jetstream.QualifiedName `json:"empty,omitempty"`   // patterns that match nothing yet
	Error   string                    `json:"error,omitempty"`
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

// SyncAnswer is empty when all went well.
type SyncAnswer struct {
	Error string `json:"error,omitempty"`
}
