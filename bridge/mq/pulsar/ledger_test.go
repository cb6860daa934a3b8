//go:build servers

package pulsar_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	client "github.com/apache/pulsar-client-go/pulsar"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
	"kitestream/bridge/mq/pulsar"
	"kitestream/test/servers"
)

// testLedgers reads over the ends of many ledgers, live and as a backlog, of which one is all that it holds.
func testLedgers(t *testing.T, p *servers.Pulsar, w *writer) {
	q := connect(t, p.URL)
	w.create(t, "ledgers")
	live := mqtest.Open(t, q, "ledgers", "")
	var at []mq.Position
	for i := range 9 {
		w.roll(t, "ledgers")
		at = append(at, w.append(t, "ledgers", mqtest.Numbered(10*i, 9-i, 100)...)...)
		w.roll(t, "ledgers") // twice: an empty ledger in between
		at = append(at, w.append(t, "ledgers", mqtest.Numbered(10*i+9-i, i+1, 100)...)...)
		mqtest.Expect(t, live, 10*i, 10*i+10)
	}
	began := time.Now()
	mqtest.Expect(t, mqtest.Open(t, q, "ledgers", ""), 0, 90)
	t.Logf("a backlog in %d ledgers read in %v", len(w.ledgers(t, "ledgers")), time.Since(began))
	for _, i := range []int{9, 10, 18, 19, 55} {
		mqtest.Expect(t, mqtest.Open(t, q, "ledgers", at[i]), i, 90)
	}
}

// testRetention has retention itself trim a topic, as it does when its time has come.
func testRetention(t *testing.T, p *servers.Pulsar, w *writer) {
	const channel = "retention"
	q := connect(t, p.URL)
	at := w.append(t, channel, mqtest.Numbered(0, 10, 100)...)
	read := mqtest.Expect(t, mqtest.Open(t, q, channel, ""), 0, 10)
	w.roll(t, channel)
	at = append(at, w.append(t, channel, mqtest.Numbered(10, 10, 100)...)...)
	old, _ := place(t, at[0])
	mqtest.Must(t, errorUnless(w.post(t, channel+"/retention", `{"retentionTimeInMinutes":0,"retentionSizeInMB":0}`)))
	for deadline := time.Now().Add(mqtest.Patience); slices.Contains(w.ledgers(t, channel), old); time.Sleep(100 * time.Millisecond) {
		mqtest.Must(t, errorUnless(w.post(t, channel+"/trim", "")))
		if time.Now().After(deadline) {
			t.Fatal("retention keeps the ledger")
		}
	}
	gap := expectGap(t, mqtest.Open(t, q, channel, read[3]), 3, 3)
	if c, err := q.Compare(gap.Found, at[10]); err != nil || c != 0 || gap.Wanted != read[3] {
		t.Errorf("gap from %s to %s, want from %s to %s", gap.Wanted, gap.Found, read[3], at[10])
	}
	if !strings.Contains(gap.Error(), "snapshot") {
		t.Errorf("gap names no way out: %v", gap)
	}
	mqtest.Expect(t, mqtest.Open(t, q, channel, at[10]), 10, 20)
	mqtest.Expect(t, mqtest.Open(t, q, channel, ""), 10, 20)
}

// few is a queue whose readers hold two messages at most, so that where the broker's cursor stands is known.
func few(t *testing.T, p *servers.Pulsar) *pulsar.Queue {
	t.Helper()
	cfg := pulsar.DefaultConfig()
	cfg.URL, cfg.PrefetchMessages = p.URL, 2
	return mqtest.Connect(t, pulsar.Connect, cfg)
}

// testExpiry: a topic's time to live moves the cursor of a reader that is far behind on, most often to the end of a ledger.
// The messages are there all the same.
func testExpiry(t *testing.T, p *servers.Pulsar, w *writer) {
	readers := map[int]mq.Reader{}
	for _, taken := range []int{50, 95, 96, 97, 98, 99, 100} { // with two or so ahead, one cursor is at the end of a ledger
		channel := fmt.Sprintf("expiry-%d", taken)
		for i := range 4 {
			w.append(t, channel, mqtest.Numbered(100*i, 100, 100)...)
			w.roll(t, channel)
		}
		readers[taken] = mqtest.Open(t, few(t, p), channel, "")
		mqtest.Expect(t, readers[taken], 0, taken)
	}
	time.Sleep(4 * time.Second)
	for taken, r := range readers {
		channel := fmt.Sprintf("expiry-%d", taken)
		w.append(t, channel, mqtest.Numbered(400, 5, 100)...)
		mqtest.Must(t, errorUnless(w.post(t, channel+"/all_subscription/expireMessages/2", "")))
		time.Sleep(100 * time.Millisecond)
		t.Run(fmt.Sprint(taken), func(t *testing.T) { mqtest.Expect(t, r, taken, 405) })
	}
}

// testUnproven removes the ledger that a reader is about to have read to its end: what comes next can't be proven to.
func testUnproven(t *testing.T, p *servers.Pulsar, w *writer) {
	const channel = "unproven"
	w.append(t, channel, mqtest.Numbered(0, 5, 100)...)
	w.roll(t, channel)
	w.append(t, channel, mqtest.Numbered(5, 5, 100)...)
	r := mqtest.Open(t, few(t, p), channel, "")
	mqtest.Expect(t, r, 0, 2)
	w.truncate(t, channel)
	for i := 2; ; i++ {
		m, err := r.Next(t.Context())
		var gap *mq.GapError
		if errors.As(err, &gap) {
			break
		}
		mqtest.Must(t, err)
		if n := mqtest.Number(m); n != i || i >= 5 {
			t.Fatalf("message %d came where %d was to, after its ledger was removed", n, i)
		}
	}
}

// testHole has entries that are never given as messages of their own: a hole in a ledger that stays.
func testHole(t *testing.T, p *servers.Pulsar, w *writer) {
	at := w.append(t, "hole", mqtest.Numbered(0, 3, 8)...)
	pr := w.produce(t, client.ProducerOptions{
		Topic: "persistent://public/default/hole", DisableBatching: true, EnableChunking: true, ChunkMaxMessageSize: 1000,
	})
	chunked := send(t, pr, mqtest.Numbered(3, 1, 5000)...)
	pr.Close()
	w.append(t, "hole", mqtest.Numbered(4, 3, 8)...)
	for i := range 3 {
		gap := expectGap(t, mqtest.Open(t, connect(t, p.URL), "hole", at[i]), i, 3)
		if ledger, entry := place(t, at[2]); gap.Wanted != mq.Position(fmt.Sprintf("%d:%d", ledger, entry+1)) {
			t.Errorf("gap from %s to %s (%s)", gap.Wanted, gap.Found, chunked)
		}
	}
}

// testWiped has a position of a cluster that was wiped: another message stands there.
func testWiped(t *testing.T, p *servers.Pulsar, w *writer) {
	at := w.append(t, "wiped", mqtest.Numbered(0, 3, 8)...)
	q := connect(t, p.URL)
	if g := expectGap(t, mqtest.Open(t, q, "wiped", at[1]+"@1763844204024"), 1, 1); !strings.Contains(g.Reason, "another message") {
		t.Errorf("gap = %v", g)
	}
}

// testNoTopicIsMade: the broker makes topics for whoever asks, and the reader must not ask.
func testNoTopicIsMade(t *testing.T, p *servers.Pulsar, w *writer) {
	q := connect(t, p.URL)
	r := mqtest.Open(t, q, "never", "")
	if at, err := q.Last(t.Context(), "never"); err != nil || at != "" {
		t.Errorf("last = %q, %v", at, err)
	}
	time.Sleep(2 * time.Second)
	expectGap(t, mqtest.Open(t, q, "never", "1:1"), 0, 0)
	mqtest.Must(t, r.Close())
	if status, answer := w.call(t, http.MethodGet, "never/stats", ""); status != http.StatusNotFound {
		t.Errorf("a topic that only a reader asked for: %d %s", status, answer)
	}
}

// testPartitions: one partition is a topic, several have no order over them.
func testPartitions(t *testing.T, p *servers.Pulsar, w *writer) {
	cfg := pulsar.DefaultConfig()
	cfg.URL = p.URL
	q, out := mqtest.ConnectLogging(t, pulsar.Connect, cfg)
	for channel, partitions := range map[string]string{"one": "1", "two": "2"} {
		status, answer := w.call(t, http.MethodPut, channel+"/partitions", partitions)
		mqtest.Must(t, errorUnless(status, answer))
		w.append(t, channel, mqtest.Numbered(0, 10, 8)...)
	}
	at := mqtest.Expect(t, mqtest.Open(t, q, "one", ""), 0, 10)
	mqtest.Expect(t, mqtest.Open(t, q, "one", at[4]), 4, 10)
	r := mqtest.Open(t, q, "two", "")
	mqtest.Eventually(t, "the log says why", func() bool { return strings.Contains(out.String(), "2 partitions") })
	mqtest.Must(t, r.Close())
}

// testSiblings: a topic whose name contains the channel's, or is one by the rules of patterns, is not the channel.
func testSiblings(t *testing.T, p *servers.Pulsar, w *writer) {
	for _, other := range []string{"dml_10", "adml_1", "dml-1", "dml_1-x"} {
		w.append(t, other, mqtest.Numbered(100, 1, 8)...)
	}
	q := connect(t, p.URL)
	for _, channel := range []string{"dml_1", "dml.1"} {
		if at, err := q.Last(t.Context(), channel); err != nil || at != "" {
			t.Errorf("last of %s = %q, %v", channel, at, err)
		}
	}
	w.append(t, "dml_1", mqtest.Numbered(0, 1, 8)...)
	mqtest.Expect(t, mqtest.Open(t, q, "dml_1", ""), 0, 1)
}

func testCompression(t *testing.T, p *servers.Pulsar, w *writer) {
	q := connect(t, p.URL)
	for name, kind := range map[string]client.CompressionType{"zstd": client.ZSTD, "lz4": client.LZ4, "zlib": client.ZLib, "snappy": client.SNAPPY} {
		for _, single := range []bool{true, false} {
			channel := name + map[bool]string{true: "-single", false: "-batched"}[single]
			pr := w.produce(t, client.ProducerOptions{Topic: "persistent://public/default/" + channel, DisableBatching: single, CompressionType: kind})
			at := send(t, pr, mqtest.Numbered(0, 50, 10_000)...)
			pr.Close()
			mqtest.Expect(t, mqtest.Open(t, q, channel, ""), 0, 50)
			mqtest.Expect(t, mqtest.Open(t, q, channel, at[17]), 17, 50)
		}
	}
}

// testBatches reads what stands many in an entry, from every place and over a cut in the middle of one.
func testBatches(t *testing.T, p *servers.Pulsar, w *writer) {
	px := mqtest.NewProxy(t, p.Proxy.Listen, p.Proxy.Upstream)
	q := connect(t, "pulsar://"+px.Addr)
	pr := w.produce(t, client.ProducerOptions{
		Topic: "persistent://public/default/batches", BatchingMaxMessages: 7, BatchingMaxPublishDelay: time.Second,
	})
	defer pr.Close()
	at := send(t, pr, mqtest.Numbered(0, 60, 100)...)
	read := mqtest.Expect(t, mqtest.Open(t, q, "batches", ""), 0, 60)
	batched := 0
	for i := range at {
		if c, err := q.Compare(at[i], read[i]); err != nil || c != 0 {
			t.Errorf("message %d written at %s and read at %s (%d, %v)", i, at[i], read[i], c, err)
		}
		if strings.Count(string(at[i]), ":") == 2 {
			batched++
		}
		r := mqtest.Open(t, q, "batches", at[i])
		mqtest.Expect(t, r, i, min(i+2, 60))
		mqtest.Must(t, r.Close())
	}
	if batched < 40 {
		t.Fatalf("only %d of 60 messages stand in a batch", batched)
	}
	r := mqtest.Open(t, q, "batches", read[3])
	mqtest.Expect(t, r, 3, 60)
	px.Cut()
	last := send(t, pr, mqtest.Numbered(60, 5, 100)...)
	mqtest.Expect(t, r, 60, 65)
	if at, err := q.Last(t.Context(), "batches"); err != nil || at != last[4] {
		t.Errorf("last = %q, %v; want %q", at, err, last[4])
	}
}

// ledgers are the numbers of a topic's ledgers.
func (w *writer) ledgers(t testing.TB, channel string) []int64 {
	t.Helper()
	var stats struct {
		Ledgers []struct{ LedgerID int64 }
	}
	mqtest.Must(t, json.Unmarshal([]byte(w.do(t, http.MethodGet, channel+"/internalStats")), &stats))
	var ids []int64
	for _, l := range stats.Ledgers {
		ids = append(ids, l.LedgerID)
	}
	return ids
}
