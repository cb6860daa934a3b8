package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

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
	names, err := VerifyRequest{Collections: r.Collections}.check()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		e := refuse(CodeInvalid, "collections: there is none; name what is to be copied anew as DATABASE.COLLECTION")
		e.Field = "collections"
		return nil, e
	}
	if _, err := s.task(ctx, r.Name); err != nil {
		return nil, err
	}
	for _, n := range names {
		if err := s.askResnapshot(ctx, r.Name, n); err != nil {
			return nil, err
		}
	}
	return ResnapshotAnswer{Name: r.Name, Collections: names}, nil
}

func (s *Service) askResnapshot(ctx context.Context, task string, n jetstream.QualifiedName) error {
	m, err := s.cfg.NC.RequestWithContext(ctx, host.ResnapshotSubject(task), encode(host.ResnapshotRequest{Collection: n}))
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return refuse(CodeNoBridge, "the bridge of task %s does not answer yet", task)
	case errors.Is(err, context.DeadlineExceeded):
		return refuse(CodeTimeout, "the bridge of task %s did not begin to copy %s in time", task, n)
	case err != nil:
		return fmt.Errorf("ask the bridge of task %s: %w", task, err)
	}
	var answer host.ResnapshotAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("read the answer of the bridge of task %s: %w", task, err)
	}
	if answer.Error != "" {
		return refuse(CodeSource, "the bridge of task %s: %s", task, answer.Error)
	}
	return nil
}
