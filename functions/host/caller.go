package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// HeaderProgress marks a message that is not the answer yet. What it holds says for people how far things are.
const HeaderProgress = "Kitestream-Progress"

// sayEvery is how often a caller is told how far a long request is. Silence of some times that means that who had it is gone.
const sayEvery = time.Second

// Caller is who waits for the answer to a long request.
type Caller struct {
	nc    *nats.Conn
	reply string // where the caller listens
	inbox string // where the server says that nobody does

	mu   sync.Mutex
	text string // what Say said last
}

// ErrCallerGone is the cause of the end of a request's context when nobody waits for the answer any more.
var ErrCallerGone = errors.New("who asked is gone")

// Attend tells the caller each second how far its request is. The context ends when the caller is gone; stop is called when
// the answer has been given.
func Attend(ctx context.Context, nc *nats.Conn, reply string) (c *Caller, attended context.Context, stop func(), err error) {
	if reply == "" {
		return nil, nil, nil, ErrCallerGone
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c = &Caller{nc: nc, reply: reply, inbox: nc.NewInbox(), text: "it has begun"}
	// A message that has a reply subject and that nobody listens for is answered by the server.
	sub, err := nc.Subscribe(c.inbox, func(m *nats.Msg) {
		if m.Header.Get("Status") == "503" {
			cancel(ErrCallerGone)
		}
	})
	if err != nil {
		cancel(err)
		return nil, nil, nil, fmt.Errorf("listen whether the caller is there: %w", err)
	}
	var telling sync.WaitGroup
	telling.Go(func() { c.tell(ctx) })
	return c, ctx, func() {
		cancel(nil)
		telling.Wait()
		_ = sub.Unsubscribe() // fails only with the connection
	}, nil
}

func (c *Caller) tell(ctx context.Context) {
	t := time.NewTicker(sayEvery)
	defer t.Stop()
	for {
		c.mu.Lock()
		text := c.text
		c.mu.Unlock()
		// It may fail: the caller sees silence then.
		_ = c.nc.PublishMsg(&nats.Msg{Subject: c.reply, Reply: c.inbox, Header: nats.Header{HeaderProgress: {text}}})
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// Say has the caller told this from now on.
func (c *Caller) Say(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = text
}
