package jetstream

import (
	"encoding/json"
	"errors"
	"fmt"

	"kitestream/jetstream/rows"
)

// PruneBody says which keys of a range there are on the source, of one partition (the event's, or all of a collection that has a
// partition key) and of the event's lane. A target removes whatever else it has of that range, partition and lane.
type PruneBody struct {
	After *rows.Key `json:"after,omitempty"` // the range begins behind it; nil: with the first
	Until *rows.Key `json:"until,omitempty"` // the range ends with it; nil: with the last
	Lanes int       `json:"lanes"`           // how many lanes the task has: a key is of the lane that rows.Keys.Lanes says
	Keys  rows.Keys `json:"keys"`            // those that stay, in no order
}

// Encode is the body of a Prune event.
func (b PruneBody) Encode() ([]byte, error) { return json.Marshal(b) }

// ParsePrune reads the body of a Prune event. The error wraps ErrMalformed.
func ParsePrune(body []byte) (PruneBody, error) {
	var b PruneBody
	if err := json.Unmarshal(body, &b); err != nil {
		return PruneBody{}, fmt.Errorf("read prune: %w: %w", ErrMalformed, err)
	}
	if b.Lanes < 1 || b.Lanes > MaxLanes || len(b.Keys.Ints) > 0 && len(b.Keys.Strings) > 0 {
		return PruneBody{}, fmt.Errorf("read prune: %w", errors.Join(ErrMalformed, fmt.Errorf("%d lanes, %d integers and %d strings", b.Lanes, len(b.Keys.Ints), len(b.Keys.Strings))))
	}
	return b, nil
}
