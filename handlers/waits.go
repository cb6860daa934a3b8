package handlers

import (
	"log/slog"
	"sync"
	"time"
)

// waits keeps the calls that wait for an error to pass, and tells of them.
type waits struct {
	log      *slog.Logger
	onWait   func(*Error, time.Time)
	onResume func()

	mu      sync.Mutex
	calls   int       // that wait now
	since   time.Time // zero: nothing is waiting
	current string    // code of the last error told
}

// begin is told that a call has met an error and waits. It is told once for each call.
func (w *waits) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if w.since.IsZero() {
		w.since = time.Now()
	}
}

// failed tells of another error of a call that waits.
func (w *waits) failed(err *Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.current != err.Code {
		w.current = err.Code
		w.log.Info("target is waited for", slog.String(keyCode, err.Code), slog.Any(keyError, err.Err))
	}
	w.onWait(err, w.since)
}

// end is told that a call waits no longer, and whether that is because the target has answered. If it is not, the
// target is taken to be as bad as it was.
func (w *waits) end(answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls--
	if w.calls > 0 || !answered {
		return
	}
	w.clear()
}

// fine is told that a call succeeded without waiting.
func (w *waits) fine() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls == 0 && !w.since.IsZero() {
		w.clear()
	}
}

func (w *waits) clear() {
	w.log.Info("target answers again", slog.Duration(keyAfter, time.Since(w.since)))
	w.since, w.current = time.Time{}, ""
	w.onResume()
}
