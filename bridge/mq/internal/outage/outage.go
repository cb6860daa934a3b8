// Package outage paces a reader's attempts while its channel can't be read, and tells the log of it: one line when an
// outage begins, one when it is over. Every kind of queue's reader has one for each channel.
package outage

import (
	"log/slog"
	"time"
)

// How long to wait between attempts: doubled from the first to the last.
const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
	brief      = 250 * time.Millisecond // trouble that is over sooner is not worth a line in the log
)

// Outage is a time in which a channel can't be read. It is for one goroutine.
type Outage struct {
	log    *slog.Logger  // that names the channel
	since  time.Time     // when it began; zero: all is well
	retry  time.Duration // the last wait between attempts
	logged bool
}

// New makes one that has not begun.
func New(log *slog.Logger) Outage { return Outage{log: log} }

// Attempt says that reading is about to be tried: an outage begins now, unless it has begun.
func (o *Outage) Attempt() {
	if o.since.IsZero() {
		o.since = time.Now()
	}
}

// Failed says that reading came to nothing, and returns how long to wait before the next attempt.
func (o *Outage) Failed(err error) time.Duration {
	o.Attempt()
	o.retry = min(max(2*o.retry, firstRetry), lastRetry)
	if !o.logged && time.Since(o.since) >= brief {
		o.logged = true
		o.log.Warn("channel cannot be read, trying on", "error", err)
	}
	return o.retry
}

// Over says that the channel is being read.
func (o *Outage) Over() {
	o.since, o.retry = time.Time{}, 0
	if o.logged {
		o.logged = false
		o.log.Info("channel is read again")
	}
}
