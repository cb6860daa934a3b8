package outage_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kitestream/bridge/mq/internal/outage"
)

// One line when an outage has lasted for a moment, one when it is over, none for less; and waits that double up to 1 s.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := outage.New(slog.New(slog.NewTextHandler(&log, nil)))
		o.Attempt()
		time.Sleep(o.Failed(errors.New("brief")))
		o.Over()
		if log.Len() > 0 {
			t.Errorf("a brief outage was logged: %s", &log)
		}
		var waits []time.Duration
		for range 10 {
			o.Attempt()
			wait := o.Failed(errors.New("no answer"))
			waits = append(waits, wait)
			time.Sleep(wait)
		}
		if waits[0] != 20*time.Millisecond || waits[1] != 40*time.Millisecond || waits[9] != time.Second {
			t.Errorf("waits = %v", waits)
		}
		o.Over()
		o.Over()
		if n := strings.Count(log.String(), "trying on"); n != 1 || strings.Count(log.String(), "read again") != 1 || strings.Contains(log.String(), "brief") {
			t.Errorf("log:\n%s", &log)
		}
	})
}

// A reader that breaks down in the middle has not tried anything yet: its outage begins then.
func TestOutageBeginsWithAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		time.Sleep(time.Hour)
		o := outage.New(slog.New(slog.NewTextHandler(&log, nil)))
		o.Failed(errors.New("broken"))
		if log.Len() > 0 {
			t.Errorf("logged at once: %s", &log)
		}
	})
}
