package control

import (
	"context"
	"errors"

	"kitestream/functions/host"
	"kitestream/jetstream"
)

// ResnapshotRequest asks for the existing rows of collections to be copied anew.
type ResnapshotRequest struct {
	Name        string   `json:"name"`
	Collections []string `json:"collections"` // of the source, as DATABASE.COLLECTION; at least one
}

// ResnapshotAnswer names the collections that have begun to be copied.
type ResnapshotAnswer struct {
	Name        string                    `json:"name"`
	Collections []jetstream.QualifiedName `json:"collections"`
}

// Resnapshot has existing rows copied anew, and returns when that has begun; Wait waits for its end too.
func (c *Client) Resnapshot(ctx context.Context, r ResnapshotRequest) (*ResnapshotAnswer, error) {
	return requestLong[ResnapshotAnswer](ctx, c, subjectResnapshot, r)
}

func (s *Service) resnapshot(ctx context.Context, c call) (any, error) {
	var r ResnapshotRequest
	if err := decode(c.data, &r); err != nil {
		return nil, err
	}
	names, err := collectionNames(r.Collections)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, invalidField("collections", "collections: there is none; name what is to be copied anew as DATABASE.COLLECTION")
	}
	if _, err := s.task(ctx, r.Name); err != nil {
		return nil, err
	}
	for _, n := range names {
		_, err := s.requestBridge(ctx, r.Name, host.ResnapshotSubject(r.Name), host.ResnapshotRequest{Collection: n})
		if errors.Is(err, context.DeadlineExceeded) {
			err = refuse(CodeTimeout, "the bridge of task %s did not begin to copy %s in time", r.Name, n)
		}
		if err != nil {
			return nil, err
		}
	}
	return ResnapshotAnswer{Name: r.Name, Collections: names}, nil
}
