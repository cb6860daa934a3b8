//go:build servers

package servers_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"kitestream/test/servers"
)

// TestLiteCrash checks that a killed Milvus Lite has its rows again, also those that it had not written to a segment, at
// the same address.
func TestLiteCrash(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	l, err := servers.StartLite(ctx, servers.LiteConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %s", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	const rows = 100
	write(ctx, t, l.Addr, rows, 4)
	addr, pid := l.Addr, l.Pid
	if err := l.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := servers.OpenLite(l.Dir); err == nil {
		t.Error("OpenLite found a killed server")
	}
	if err := l.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if l.Addr != addr || l.Pid == pid {
		t.Errorf("restarted at %s as process %d, was at %s as %d", l.Addr, l.Pid, addr, pid)
	}
	if got := count(ctx, t, l.Addr); got != rows {
		t.Errorf("%d rows after the crash, want %d", got, rows)
	}
	found, err := servers.OpenLite(l.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := found.Kill(); !errors.Is(err, servers.ErrShared) {
		t.Errorf("kill another's server: %v, want %v", err, servers.ErrShared)
	}
	if err := l.Stop(); err != nil || l.Running() {
		t.Errorf("stop: %v, running: %t", err, l.Running())
	}
}
