//go:build servers

package pulsar_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
	"kitestream/bridge/mq/pulsar"
	"kitestream/test/servers"
)

// expectGap reads until the gap, which must come at the message with that number.
func expectGap(t testing.TB, r mq.Reader, from, at int) *mq.GapError {
	t.Helper()
	i, gap := mqtest.UntilGap(t, r, from)
	if i != at {
		t.Fatalf("gap at message %d, want one at %d", i, at)
	}
	return gap
}

// proxied is a channel on a queue that goes by a proxy.
func proxied(t *testing.T, p *servers.Pulsar, w *writer, channel string) (mqtest.Channel, *mqtest.Proxy) {
	t.Helper()
	px := mqtest.NewProxy(t, p.Proxy.Listen, p.Proxy.Upstream)
	w.create(t, channel)
	return mqtest.Channel{Queue: connect(t, "pulsar://"+px.Addr), Name: channel, Append: w.append}, px
}

func testCut(t *testing.T, p *servers.Pulsar, w *writer) {
	c, px := proxied(t, p, w, "cut")
	c.Cuts(t, 10_000, 10, px.Cut)
}

func testSilence(t *testing.T, p *servers.Pulsar, w *writer) {
	c, px := proxied(t, p, w, "silence")
	c.Silence(t, px)
}

// testReadAhead counts what passes the wire while nobody takes a message.
func testReadAhead(t *testing.T, p *servers.Pulsar, w *writer) {
	px := mqtest.NewProxy(t, p.Proxy.Listen, p.Proxy.Upstream)
	for _, size := range []int{8, 1000, 100_000, 700_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			channel := fmt.Sprintf("ahead-%d", size)
			n := min(5000, 24<<20/size)
			w.append(t, channel, mqtest.Numbered(0, n, size)...)
			defer w.remove(t, channel)
			cfg := pulsar.DefaultConfig()
			cfg.URL, cfg.PrefetchBytes, cfg.PrefetchMessages = "pulsar://"+px.Addr, 1<<20, 1000
			// Until the size of messages is known, eight of them may be on their way besides.
			bound := min(cfg.PrefetchBytes+10*size, cfg.PrefetchMessages*(size+200)) + 64<<10
			mqtest.Channel{Queue: mqtest.Connect(t, pulsar.Connect, cfg), Name: channel}.ReadAhead(t, px, n, bound)
		})
	}
}

func testOutageLog(t *testing.T, p *servers.Pulsar, w *writer) {
	px := mqtest.NewProxy(t, p.Proxy.Listen, p.Proxy.Upstream)
	w.create(t, "outage")
	cfg := pulsar.DefaultConfig()
	cfg.URL = "pulsar://" + px.Addr
	q, out := mqtest.ConnectLogging(t, pulsar.Connect, cfg)
	mqtest.Channel{Queue: q, Name: "outage", Append: w.append}.LoggedOnce(t, out, mqtest.Outage{
		Begin: px.Down, End: func() { px.Up(t) }, Lasts: 12 * time.Second,
	})
	if !strings.Contains(out.String(), "connection refused") {
		t.Errorf("the log names no reason:\n%s", out)
	}
}
