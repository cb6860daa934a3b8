package pulsar

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// notes is where the client library logs to. Whatever it says is for debugging only, since the reader says itself when a
// channel cannot be read; its own debugging is dropped, for it prints commands with tokens in them. Its last complaint is
// kept, because the errors that it returns seldom say why (a refused login is "connection error").
type notes struct {
	slog.Handler
	reason string // of the logger's "error" attribute
	last   *complaint
}

// complaint is the last warning and when it came.
type complaint struct {
	mu   sync.Mutex
	text string
	at   time.Time
}

func newNotes(log *slog.Logger) notes { return notes{Handler: log.Handler(), last: &complaint{}} }

// Enabled implements slog.Handler.
func (n notes) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (n notes) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		n.last.set(r.Message, n.reason)
	}
	if !n.Handler.Enabled(ctx, slog.LevelDebug) {
		return nil
	}
	r.Level = slog.LevelDebug
	return n.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (n notes) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == "error" {
			n.reason = a.Value.String()
		}
	}
	n.Handler = n.Handler.WithAttrs(attrs)
	return n
}

// WithGroup implements slog.Handler.
func (n notes) WithGroup(name string) slog.Handler {
	n.Handler = n.Handler.WithGroup(name)
	return n
}

func (c *complaint) set(text, reason string) {
	if reason != "" {
		text += ": " + reason
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text, c.at = text, time.Now()
}

// explain adds what the library complained of since a call began.
func (c *complaint) explain(err error, since time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.text == "" || c.at.Before(since) {
		return err
	}
	return fmt.Errorf("%w (%s)", err, c.text)
}
