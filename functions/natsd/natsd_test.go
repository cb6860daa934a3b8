package natsd_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/functions/natsd"
)

func start(t *testing.T, listen, dir string) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(t.Context(), listen, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeepsItsStore(t *testing.T) {
	dir := t.TempDir() + "/not/yet/there"
	for _, want := range []uint64{1, 2} {
		s := start(t, "127.0.0.1:0", dir)
		nc, err := nats.Connect(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		js, err := natsjs.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateOrUpdateStream(t.Context(), natsjs.StreamConfig{Name: "X", Subjects: []string{"x"}}); err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(t.Context(), "x", make([]byte, 7<<20))
		if err != nil || ack.Sequence != want {
			t.Errorf("publish 7 MiB: %+v, %v, want sequence %d", ack, err, want)
		}
		nc.Close()
		s.Stop()
	}
}

func TestInProcessClient(t *testing.T) {
	s := start(t, "127.0.0.1:0", t.TempDir())
	defer s.Stop()
	nc, err := nats.Connect("", s.InProcess())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Flush(); err != nil {
		t.Error(err)
	}
}

// text is a log that may be read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *text) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *text) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	s := start(t, "127.0.0.1:0", dir)
	defer s.Stop()
	addr := strings.TrimPrefix(s.URL(), "nats://")
	for name, tc := range map[string]struct{ listen, dir, says string }{
		"folder_in_use":  {"127.0.0.1:0", dir, "in use by another process"},
		"address_in_use": {addr, t.TempDir(), "address already in use"},
		"no_address":     {"here", t.TempDir(), "missing port"},
		"no_folder":      {"127.0.0.1:0", "/dev/null/x", "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			log := &text{}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := natsd.Start(ctx, tc.listen, tc.dir, slog.New(slog.NewTextHandler(log, nil)))
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("start: %v, want %q; log:\n%s", err, tc.says, log)
			}
		})
	}
	// What was refused has let go of what it had.
	again := start(t, "127.0.0.1:0", t.TempDir())
	again.Stop()
}

func TestStartIsQuiet(t *testing.T) {
	log := &text{}
	s, err := natsd.Start(t.Context(), "127.0.0.1:0", t.TempDir(), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if log.String() != "" {
		t.Errorf("log:\n%s", log)
	}
}
