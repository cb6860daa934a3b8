package jetstream

import "time"

// Promotion is the switch-over from a task's source to one of its targets. As long as it is not Done, whoever holds the lease
// PromoteLease is at it; without a holder it was abandoned and is to be rolled back.
type Promotion struct {
	ID     string    `json:"id"` // random: tells one try from another
	Target string    `json:"target"`
	At     time.Time `json:"at"`             // when it began
	Done   bool      `json:"done,omitempty"` // nothing of the task is applied any more, for good
	// Reverse is the task in the other direction that it makes, if it is to make one.
	Reverse *TaskRef `json:"reverse,omitempty"`
}

// PromoteLease is the key of the lease under which one process at a time promotes a target of the task.
func (r TaskRef) PromoteLease() string { return "promote." + r.ID }
