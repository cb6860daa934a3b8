//go:build servers

package kafka_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/mqtest"
	"kitestream/test/servers"
)

// TestOutageIsLoggedOnce also for a queue that is connected while the broker is down.
func TestOutageIsLoggedOnce(t *testing.T) {
	k := startKafka(t, nil)
	w := newWriter(t, k.Addr)
	w.create(t, "channel")
	q, out := mqtest.ConnectLogging(t, kafka.Connect, config(k.Addr))
	var late *kafka.Queue
	var lateOut *mqtest.Log
	var lateReader mq.Reader
	mqtest.Channel{Queue: q, Name: "channel", Append: w.append}.LoggedOnce(t, out, mqtest.Outage{
		Begin: func() {
			mqtest.Must(t, k.Kill())
			late, lateOut = mqtest.ConnectLogging(t, kafka.Connect, config(k.Addr))
			lateReader = mqtest.Open(t, late, "channel", "")
		},
		Lasts: 4 * time.Second,
		End: func() {
			if _, err := late.Last(t.Context(), "channel"); err == nil {
				t.Error("last of a channel on a broker that is down is no error")
			}
			restart(t, k)
		},
	})
	mqtest.Expect(t, lateReader, 0, 2)
	mqtest.Eventually(t, "last answers again", func() bool {
		p, err := late.Last(t.Context(), "channel")
		return err == nil && offset(t, p) == 1
	})
	if lateOut.Lines() != 2 {
		t.Errorf("%d lines for one outage, want 2:\n%s", lateOut.Lines(), lateOut)
	}
}

func TestNetworkGoesSilent(t *testing.T) {
	k := startKafka(t, nil)
	w := newWriter(t, k.Addr)
	w.create(t, "channel")
	p := mqtest.NewProxy(t, k.Proxy.Listen, k.Proxy.Upstream)
	mqtest.Channel{Queue: connect(t, p.Addr), Name: "channel", Append: w.append}.Silence(t, p)
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
	waits, behind := mqtest.Open(t, q, "channel", ""), mqtest.Open(t, q, "channel", "")
	at := mqtest.Expect(t, waits, 0, 30)
	mqtest.Expect(t, behind, 0, 15)
	cutLog(t, k, 20.0/30)
	if end := w.end(t, "channel"); end != 20 {
		t.Fatalf("log ends at %d, want 20", end)
	}
	gap(t, waits, 30, 0)
	gap(t, mqtest.Open(t, q, "channel", at[25]), 25, 0)
	gap(t, mqtest.Open(t, q, "channel", "21"), 21, 0)
	mqtest.Nothing(t, mqtest.Open(t, q, "channel", "20"))
	mqtest.Expect(t, mqtest.Open(t, q, "channel", at[19]), 19, 20)

	other := newWriter(t, k.Addr)
	other.number(t, "channel", 1000, 20, 100)
	gap(t, mqtest.Open(t, q, "channel", at[25]), 25, 25)
	mqtest.Expect(t, mqtest.Open(t, q, "channel", at[19]), 19, 20)
	if i, _ := mqtest.UntilGap(t, behind, 15); i < 20 {
		t.Errorf("gap at %d although all before 20 are there", i)
	}
}

// cutLog kills the broker and leaves this part of the log of topic "channel".
func cutLog(t *testing.T, k *servers.Kafka, part float64) {
	t.Helper()
	mqtest.Must(t, k.Kill())
	file := filepath.Join(k.Dir, "data", "channel-0", "00000000000000000000.log")
	info, err := os.Stat(file)
	mqtest.Must(t, err)
	mqtest.Must(t, os.Truncate(file, int64(float64(info.Size())*part+0.5)))
	restart(t, k)
}
