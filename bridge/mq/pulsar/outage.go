package pulsar

import (
	"log/slog"
	"time"
)

// How long to wait between attempts to read a channel that can't be read: doubled from the first to the last. A new
// connection ends the wait at once.
const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
	brief      = 250 * time.Millisecond // trouble that is over sooner is not worth a line in the log
)

// outage is a time in which a channel can't be read: one line in the log when it begins, one when it is over.
type outage struct {
	log    *slog.Logger
	since  time.Time     // when the first attempt without success began; zero: all is well
	retry  time.Duration // the last wait between attempts
	logged bool
}

// attempt says that reading is about to be tried.
func (o *outage) attempt() {
	if o.since.IsZero() {
		o.since = time.Now()
	}
}

// failed says that the attempt came to nothing and returns how long to wait before the next.
func (o *outage) failed(err error) time.Duration {
	o.attempt()
	o.retry = min(max(2*o.retry, firstRetry), lastRetry)
	if !o.logged && time.Since(o.since) >= brief {
		o.logged = true
		o.log.Warn("channel cannot be read, trying on", keyError, err)
	}
	return o.retry
}

// over says that the channel is being read.
func (o *outage) over() {
	o.since, o.retry = time.Time{}, 0
	if o.logged {
		o.logged = false
		o.log.Info("channel is read again")
	}
}
