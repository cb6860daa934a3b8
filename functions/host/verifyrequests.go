package host

import (
	"kitestream/functions/verify"
	"kitestream/jetstream"
)

// VerifySubject is where any worker that has the source's API answers a VerifyRequest with a VerifyAnswer, and says each second
// until then that it is at it (HeaderProgress).
func VerifySubject(source string) string { return requestPrefix + "source." + source + ".verify" }

// RepairSubject is where the task's bridge answers a bridge.RepairRequest with a BridgeAnswer.
func RepairSubject(task string) string { return requestPrefix + "bridge." + task + ".repair" }

// RestateSubject is where the task's bridge answers a bridge.RestateRequest with a BridgeAnswer.
func RestateSubject(task string) string { return requestPrefix + "bridge." + task + ".restate" }

// WelcomeSubject is where the task's bridge answers a bridge.WelcomeRequest with a BridgeAnswer, whose sequence is the one behind
// which the target is to read.
func WelcomeSubject(task string) string { return requestPrefix + "bridge." + task + ".welcome" }

// VerifyRequest asks for a comparison of one target with the source.
type VerifyRequest struct {
	Task        string                    `json:"task"`
	ID          string                    `json:"id"` // of the task
	Target      string                    `json:"target"`
	Collections []jetstream.QualifiedName `json:"collections,omitempty"` // none: all
	Sample      float64                   `json:"sample,omitempty"`      // percent of the rows; 0: all
	Seed        uint64                    `json:"seed,omitempty"`
	Search      int                       `json:"search,omitempty"`
	Repair      bool                      `json:"repair,omitempty"`
}

// whole reports whether the request's report is about all of the target.
func (r VerifyRequest) whole() bool { return len(r.Collections) == 0 && r.Sample == 0 }

// VerifyAnswer has the report, or says why there is none.
type VerifyAnswer struct {
	Report *verify.Report `json:"report,omitempty"`
	Error  string         `json:"error,omitempty"`
}
