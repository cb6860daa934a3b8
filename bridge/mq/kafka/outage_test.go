//go:build servers

package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kitestream/bridge/mq/kafka"
	"kitestream/test/servers"
)

// lockedBuffer takes the log of several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// connectLogging makes a queue whose log is returned.
func connectLogging(t *testing.T, cfg kafka.Config) (*kafka.Queue, *lockedBuffer) {
	t.Helper()
	out := &lockedBuffer{}
	q, err := kafka.Connect(cfg, slog.New(slog.NewTextHandler(out, nil)))
	must(t, err)
	t.Cleanup(func() { _ = q.Close() })
	return q, out
}

// TestOutageIsLoggedOnce: a line when it begins and one when it is over, however long it lasts. Then the same for a
// queue that is connected while the broker is down.
func TestOutageIsLoggedOnce(t *testing.T) {
	k := startKafka(t, nil)
	w := newWriter(t, k.Addr)
	w.create(t, "channel")
	q, out := connectLogging(t, config(k.Addr))
	r := open(t, q, "channel", "")
	w.number(t, "channel", 0, 1, 8)
	expect(t, r, 0, 1)
	if lines := out.String(); lines != "" {
		t.Errorf("logged without an outage:\n%s", lines)
	}
	must(t, k.Kill())
	late, lateOut := connectLogging(t, config(k.Addr))
	lateReader := open(t, late, "channel", "")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("next = %v, want that time is up", err)
	}
	if _, err := late.Last(t.Context(), "channel"); err == nil {
		t.Error("last of a channel on a broker that is down is no error")
	}
	restart(t, k)
	w.number(t, "channel", 1, 1, 8)
	expect(t, r, 1, 2)
	expect(t, lateReader, 0, 2)
	eventually(t, "last answers again", func() bool {
		p, err := late.Last(t.Context(), "channel")
		return err == nil && offset(t, p) == 1
	})
	for _, log := range []*lockedBuffer{out, lateOut} {
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines for one outage, want 2:\n%s", n, log.String())
		}
	}
}

// TestNetworkGoesSilent is a broker that hangs: nothing arrives and nothing says so.
func TestNetworkGoesSilent(t *testing.T) {
	k := startKafka(t, nil)
	w := newWriter(t, k.Addr)
	w.create(t, "channel")
	p := newProxy(t, k.Proxy)
	r := open(t, connect(t, p.addr), "channel", "")
	n := w.number(t, "channel", 0, 10, 8)
	expect(t, r, 0, n)
	p.freeze()
	w.number(t, "channel", n, 10, 8)
	began := time.Now()
	expect(t, r, n, n+10)
	t.Logf("recovered after %v", time.Since(began))
}

// TestLogLostItsEnd is a broker whose disk had not got everything when the power failed, or a new leader that had not:
// it goes on without, and gives other messages the same offsets.
func TestLogLostItsEnd(t *testing.T) {
	k := startKafka(t, nil)
	w := newWriter(t, k.Addr)
	w.create(t, "channel")
	for i := range 30 { // each in a batch of its own, all of the same size
		w.number(t, "channel", i, 1, 100)
	}
	q := connect(t, k.Addr)
	waits, behind := open(t, q, "channel", ""), open(t, q, "channel", "")
	at := expect(t, waits, 0, 30)
	expect(t, behind, 0, 15)
	cutLog(t, k, 20.0/30)
	if end := w.end(t, "channel"); end != 20 {
		t.Fatalf("log ends at %d, want 20", end)
	}
	gap(t, waits, 30, 0)
	gap(t, open(t, q, "channel", at[25]), 25, 0)
	gap(t, open(t, q, "channel", "21"), 21, 0)
	nothing(t, open(t, q, "channel", "20"))
	expect(t, open(t, q, "channel", at[19]), 19, 20)

	other := newWriter(t, k.Addr)
	other.number(t, "channel", 1000, 20, 100)
	gap(t, open(t, q, "channel", at[25]), 25, 25)
	expect(t, open(t, q, "channel", at[19]), 19, 20)
	if i, _ := untilGap(t, behind, 15); i < 20 {
		t.Errorf("gap at %d although all before 20 are there", i)
	}
}

// cutLog kills the broker and leaves this part of the log of topic "channel".
func cutLog(t *testing.T, k *servers.Kafka, part float64) {
	t.Helper()
	must(t, k.Kill())
	file := filepath.Join(k.Dir, "data", "channel-0", "00000000000000000000.log")
	info, err := os.Stat(file)
	must(t, err)
	must(t, os.Truncate(file, int64(float64(info.Size())*part+0.5)))
	restart(t, k)
}
