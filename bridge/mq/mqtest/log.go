package mqtest

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// Log keeps what is logged, by whatever goroutine, for the test to look at.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Logger writes to the log from a level on.
func (l *Log) Logger(from slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: from}))
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what has been logged.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Lines is how many lines have been logged.
func (l *Log) Lines() int { return strings.Count(l.String(), "\n") }
