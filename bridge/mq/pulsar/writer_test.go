//go:build servers

package pulsar_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/apache/pulsar-client-go/pulsar"
	clientlog "github.com/apache/pulsar-client-go/pulsar/log"
	"github.com/prometheus/client_golang/prometheus"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
	"kitestream/test/servers"
)

// writer is the test's own hold on a Pulsar. It makes topics and writes messages as Milvus does.
type writer struct {
	url       string
	admin     string
	client    client.Client
	producers map[string]client.Producer
	last      map[string]mq.Position // by channel
}

func newWriter(t testing.TB, p *servers.Pulsar) *writer {
	t.Helper()
	return newWriterWith(t, p.AdminURL, client.ClientOptions{URL: p.URL})
}

func newWriterWith(t testing.TB, admin string, o client.ClientOptions) *writer {
	t.Helper()
	o.Logger = clientlog.NewLoggerWithSlog(slog.New(slog.DiscardHandler))
	o.MetricsRegisterer = prometheus.NewRegistry()
	o.OperationTimeout = mqtest.Patience
	c, err := client.NewClient(o)
	mqtest.Must(t, err)
	t.Cleanup(c.Close)
	return &writer{
		url:   o.URL,
		admin: admin + "/admin/v2/persistent/public/default/", client: c,
		producers: map[string]client.Producer{}, last: map[string]mq.Position{},
	}
}

// call asks the admin API, until it answers, and returns the status and the body.
func (w *writer) call(t testing.TB, method, path, body string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), mqtest.Patience) // also in clean-ups, when t.Context() has ended
	defer cancel()
	for {
		status, answer, err := w.try(ctx, method, path, body)
		if err == nil && status < 500 {
			return status, answer
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
		}
	}
}

func (w *writer) try(ctx context.Context, method, path, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.admin+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, string(answer), err
}

// do is call for what must succeed, or have been done already.
func (w *writer) do(t testing.TB, method, path string, also ...int) string {
	t.Helper()
	status, answer := w.call(t, method, path, "")
	for _, ok := range append(also, 200, 204) {
		if status == ok {
			return answer
		}
	}
	t.Fatalf("%s %s: %d %s", method, path, status, answer)
	return ""
}

// post is for calls that have a body.
func (w *writer) post(t testing.TB, path, body string) (int, string) {
	t.Helper()
	return w.call(t, http.MethodPost, path, body)
}

func errorUnless(status int, answer string) error {
	if status == 200 || status == 204 {
		return nil
	}
	return fmt.Errorf("answer %d: %s", status, answer)
}

// create makes a topic. A reader whose topic was deleted may have made it meanwhile.
func (w *writer) create(t testing.TB, channel string) {
	t.Helper()
	w.do(t, http.MethodPut, channel, http.StatusConflict)
}

func (w *writer) remove(t testing.TB, channel string) {
	t.Helper()
	w.release(channel)
	w.do(t, http.MethodDelete, channel+"?force=true", http.StatusNotFound)
}

// release closes the producer, if there is one. The library's producers are not free of races when they reconnect, so none
// is there when that would happen.
func (w *writer) release(channel string) {
	if p := w.producers[channel]; p != nil {
		p.Close()
		delete(w.producers, channel)
	}
}

// roll ends the topic's ledger: what is appended next stands in a new one.
func (w *writer) roll(t testing.TB, channel string) {
	t.Helper()
	w.release(channel)
	w.do(t, http.MethodPut, channel+"/unload")
}

// truncate removes all ledgers but the current one.
func (w *writer) truncate(t testing.TB, channel string) {
	t.Helper()
	w.do(t, http.MethodDelete, channel+"/truncate")
}

func (w *writer) producer(t testing.TB, channel string) client.Producer {
	t.Helper()
	if p := w.producers[channel]; p != nil {
		return p
	}
	p := w.produce(t, client.ProducerOptions{Topic: "persistent://public/default/" + channel, DisableBatching: true})
	w.producers[channel] = p
	return p
}

func (w *writer) produce(t testing.TB, o client.ProducerOptions) client.Producer {
	t.Helper()
	for deadline := time.Now().Add(mqtest.Patience); ; {
		p, err := w.client.CreateProducer(o)
		if err == nil {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("make producer: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// append writes messages one by one, as Milvus does, as fast as the broker takes them.
func (w *writer) append(t testing.TB, channel string, msgs ...mqtest.Message) []mq.Position {
	t.Helper()
	at := send(t, w.producer(t, channel), msgs...)
	w.last[channel] = at[len(at)-1]
	return at
}

func send(t testing.TB, p client.Producer, msgs ...mqtest.Message) []mq.Position {
	t.Helper()
	at := make([]mq.Position, len(msgs))
	errs := make([]error, len(msgs))
	var wg sync.WaitGroup
	wg.Add(len(msgs))
	for i, m := range msgs {
		msg := &client.ProducerMessage{Payload: m.Payload, Properties: m.Properties}
		p.SendAsync(context.Background(), msg, func(id client.MessageID, _ *client.ProducerMessage, err error) {
			defer wg.Done()
			if errs[i] = err; err == nil {
				at[i] = positionOf(id)
			}
		})
	}
	mqtest.Must(t, p.FlushWithCtx(t.Context()))
	wg.Wait()
	mqtest.Must(t, errors.Join(errs...))
	return at
}

// positionOf is the position of a message that was written; only the reader learns when it was.
func positionOf(id client.MessageID) mq.Position {
	p := fmt.Sprintf("%d:%d", id.LedgerID(), id.EntryID())
	if id.BatchIdx() > 0 {
		p += fmt.Sprintf(":%d", id.BatchIdx())
	}
	return mq.Position(p)
}

// place takes a position apart.
func place(t testing.TB, p mq.Position) (ledger, entry int64) {
	t.Helper()
	if n, err := fmt.Sscanf(string(p), "%d:%d", &ledger, &entry); n != 2 {
		t.Fatalf("position %q: %v", p, err)
	}
	return ledger, entry
}
