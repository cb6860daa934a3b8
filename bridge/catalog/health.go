package catalog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Health is what is known of the source's etcd. While it is away the View stands still.
type Health struct {
	LastOK time.Time // when it last answered
	Err    error     // why it does not answer now; nil when it does
}

type health struct {
	log *slog.Logger

	mu    sync.Mutex // guards state
	state Health
}

func (h *health) read() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// note takes in how a request to etcd ended. That the caller of a request gave up says nothing of etcd.
func (h *health) note(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.state.Err
	h.state.Err = err
	if err == nil {
		h.state.LastOK = time.Now()
	}
	switch {
	case err != nil && was == nil:
		h.log.Warn("the source's etcd does not answer; trying on", keyError, err)
	case err == nil && was != nil:
		h.log.Info("the source's etcd answers again")
	}
}
