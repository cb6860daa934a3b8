package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"kitestream/jetstream"
)

// Client asks the service. Its errors are *Error wherever the service or the client can say what is the matter. Safe
// for concurrent use.
type Client struct {
	nc *nats.Conn
}

// NewClient asks over the given connection.
func NewClient(nc *nats.Conn) *Client { return &Client{nc: nc} }

const (
	answerTimeout = shortTimeout + 2*time.Second // of a request that takes no time by itself
	silence       = 6 * time.Second              // without a sign of a long request: who had it is gone
)

// Create makes a task.
func (c *Client) Create(ctx context.Context, spec jetstream.TaskSpec) (*CreateAnswer, error) {
	return request[CreateAnswer](ctx, c, subjectCreate, spec)
}

// Plan says what a task would do, without making it.
func (c *Client) Plan(ctx context.Context, spec jetstream.TaskSpec) (*PlanAnswer, error) {
	return request[PlanAnswer](ctx, c, subjectPlan, spec)
}

// List gives all tasks, by name.
func (c *Client) List(ctx context.Context) (*ListAnswer, error) {
	return request[ListAnswer](ctx, c, subjectList, ListRequest{})
}

// Get gives all there is to know about a task.
func (c *Client) Get(ctx context.Context, name string) (*View, error) {
	return request[View](ctx, c, subjectGet, NameRequest{Name: name})
}

// Pause stops applying a task.
func (c *Client) Pause(ctx context.Context, name string) (*ChangeAnswer, error) {
	return request[ChangeAnswer](ctx, c, subjectPause, NameRequest{Name: name})
}

// Resume has a task applied again, and its stopped collections tried again.
func (c *Client) Resume(ctx context.Context, name string) (*ChangeAnswer, error) {
	return request[ChangeAnswer](ctx, c, subjectResume, NameRequest{Name: name})
}

// Delete removes a task and returns when it is gone.
func (c *Client) Delete(ctx context.Context, name string) (*ChangeAnswer, error) {
	return requestLong[ChangeAnswer](ctx, c, subjectDelete, NameRequest{Name: name})
}

// Position tells how far a task is. With Sync it takes as long as the bridge needs, up to the request's time-out.
func (c *Client) Position(ctx context.Context, r PositionRequest) (*PositionAnswer, error) {
	if !r.Sync {
		return request[PositionAnswer](ctx, c, subjectPosition, r)
	}
	r.Progress = true
	return requestLong[PositionAnswer](ctx, c, subjectPosition, r)
}

// Rewind has a target apply again what it has applied before, and returns when its lanes have been put back.
func (c *Client) Rewind(ctx context.Context, r RewindRequest) (*RewindAnswer, error) {
	return requestLong[RewindAnswer](ctx, c, subjectRewind, r)
}

func request[A any](ctx context.Context, c *Client, subject string, r any) (*A, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m, err := c.nc.RequestWithContext(ctx, subjectPrefix+"."+subject, encode(r))
	if err != nil {
		return nil, c.unanswered(ctx, err)
	}
	return read[A](m)
}

// requestLong waits as long as ctx lets it while signs of progress come.
func requestLong[A any](ctx context.Context, c *Client, subject string, r any) (*A, error) {
	return requestTold[A](ctx, c, subject, r, func(string) {})
}

// requestTold is requestLong that passes on what the signs say.
func requestTold[A any](ctx context.Context, c *Client, subject string, r any, say func(string)) (*A, error) {
	m, err := await(ctx, c.nc, subjectPrefix+"."+subject, encode(r), say)
	if err != nil {
		return nil, c.unanswered(ctx, err)
	}
	return read[A](m)
}

// unanswered says why there is no answer.
func (c *Client) unanswered(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return refuse(CodeNoControl, "no control process answers on %s", c.nc.ConnectedUrlRedacted())
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil:
		return refuse(CodeTimeout, "no answer in time")
	}
	return refuse(CodeUnavailable, "no answer: %v", err)
}

func read[A any](m *nats.Msg) (*A, error) {
	if code := m.Header.Get(micro.ErrorCodeHeader); code != "" {
		e := &Error{}
		if err := json.Unmarshal(m.Data, e); err != nil || e.Code == "" {
			e = &Error{Code: Code(code), Message: m.Header.Get(micro.ErrorHeader)}
		}
		return nil, e
	}
	var a A
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return &a, nil
}
