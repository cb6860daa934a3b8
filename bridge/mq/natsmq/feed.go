package natsmq

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// How the server is asked. A request waits at the server for requestWait and is kept alive by heartbeats; after
// silence without any, the consumer is taken for lost. Anything sooner (a closed connection, a deleted consumer) is
// reported by itself.
const (
	requestWait = 30 * time.Second
	heartbeat   = 2 * time.Second
	silence     = 3 * heartbeat
)

// feed pulls the messages of one consumer and holds those that the reader has not taken, within limits. It has at most
// one request at the server at a time, so it always knows what may still come; the next one goes out as soon as that
// one has ended and half of the room is free. It never mends itself: once lost, the reader makes another.
//
// nats.go's own pull loops can't bound bytes and messages at once, would hold max_payload twice over for each channel,
// and don't tell that the consumer is gone before a heartbeat has been missed twice.
type feed struct {
	nc       *nats.Conn
	sub      *nats.Subscription
	api      string // where this consumer is asked for messages
	inbox    string // requests are answered below it, each at its own subject
	maxMsgs  int
	maxBytes int
	ready    chan struct{} // holds a token when there is something new for take

	mu    sync.Mutex
	msgs  []*nats.Msg // received and not taken: msgs[head:]
	head  int
	bytes int       // of msgs[head:]
	asked request   // the last one
	large bool      // ask next for a single message of any size
	seen  time.Time // when the server was last heard of, or asked
	heard bool      // the server has answered
	lost  error
}

// request is what was asked of the server and is still to come.
type request struct {
	serial int
	reply  string
	active bool
	msgs   int
	bytes  int // 0: any
	got    bool
}

// limits of a feed.
type limits struct{ msgs, bytes int }

// startFeed begins to pull from a consumer.
func startFeed(nc *nats.Conn, stream, consumer string, max limits) (*feed, error) {
	f := &feed{
		nc: nc, api: "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer, inbox: nc.NewInbox(),
		maxMsgs: max.msgs, maxBytes: max.bytes, ready: make(chan struct{}, 1),
	}
	sub, err := nc.Subscribe(f.inbox+".*", f.receive)
	if err != nil {
		return nil, fmt.Errorf("subscribe for %s: %w", stream, err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil { // the requests are the limit
		_ = sub.Unsubscribe()
		return nil, fmt.Errorf("subscribe for %s: %w", stream, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sub = sub
	f.ask()
	return f, nil
}

// stop ends the subscription. What was not taken is dropped.
func (f *feed) stop() {
	_ = f.sub.Unsubscribe() // fails only when the connection is closed, and then it has ended already
	f.mu.Lock()
	defer f.mu.Unlock()
	f.msgs, f.head, f.bytes = nil, 0, 0
	f.fail(errStopped)
}

// receive takes what the server sends, on the subscription's goroutine.
func (f *feed) receive(m *nats.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost != nil {
		return
	}
	f.seen, f.heard = time.Now(), true
	if strings.HasPrefix(m.Subject, f.inbox) {
		f.status(m)
	} else {
		f.keep(m)
	}
	f.ask()
}

// keep queues a message and counts it on the request, as the server does.
func (f *feed) keep(m *nats.Msg) {
	if len(f.msgs) == cap(f.msgs) && f.head > len(f.msgs)/2 { // move up instead of growing
		n := copy(f.msgs, f.msgs[f.head:])
		clear(f.msgs[n:])
		f.msgs, f.head = f.msgs[:n], 0
	}
	f.msgs = append(f.msgs, m)
	f.bytes += m.Size()
	r := &f.asked
	r.got = true
	r.msgs--
	ended := r.msgs <= 0
	if r.bytes > 0 {
		r.bytes -= m.Size()
		ended = ended || r.bytes <= 0 // the server 2.9 ends a request that comes out even without a word
	}
	if ended {
		r.active = false
	}
	f.wake()
}

// status acts on a message about the request instead of one from the stream. The server addresses it by the
// request's own subject; one that belongs to an earlier request says nothing any more.
func (f *feed) status(m *nats.Msg) {
	if m.Subject != f.asked.reply {
		return
	}
	code, text := m.Header.Get("Status"), m.Header.Get("Description")
	switch {
	case code == "100": // heartbeat
	case code == "408": // waited long enough
		f.asked.active = false
	case code == "409" && strings.Contains(text, "MaxBytes"): // the next message does not fit into what is left
		f.asked.active = false
		f.large = !f.asked.got
	case code == "409" && strings.Contains(text, "Batch Completed"):
		f.asked.active = false
	default: // no responders, consumer deleted, server shutting down, …
		f.fail(fmt.Errorf("server ended the request: %s %s", code, text))
	}
}

// ask sends the next request when none is at the server and at least half of the room is free.
func (f *feed) ask() {
	held := len(f.msgs) - f.head
	if f.asked.active || f.lost != nil || held > f.maxMsgs/2 || f.bytes > f.maxBytes/2 {
		return
	}
	next := request{serial: f.asked.serial + 1, active: true, msgs: f.maxMsgs - held, bytes: f.maxBytes - f.bytes}
	if f.large {
		next.msgs, next.bytes = 1, 0
	}
	next.reply = f.inbox + "." + strconv.Itoa(next.serial)
	f.asked, f.large, f.seen = next, false, time.Now()
	body, err := json.Marshal(struct {
		Batch     int           `json:"batch"`
		MaxBytes  int           `json:"max_bytes,omitempty"`
		Expires   time.Duration `json:"expires"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
	}{next.msgs, next.bytes, requestWait, heartbeat})
	if err == nil {
		err = f.nc.PublishRequest(f.api, next.reply, body)
	}
	if err != nil {
		f.fail(fmt.Errorf("ask for messages: %w", err))
	}
}

// fail marks the feed as lost, once what it holds has been taken.
func (f *feed) fail(err error) {
	if f.lost == nil {
		f.lost = err
	}
	f.wake()
}

func (f *feed) wake() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// take returns the next message, or nil when there is none yet. The error is why there will be no more.
func (f *feed) take() (*nats.Msg, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head == len(f.msgs) {
		return nil, f.lost
	}
	m := f.msgs[f.head]
	f.msgs[f.head] = nil
	f.head++
	f.bytes -= m.Size()
	if f.head == len(f.msgs) {
		f.msgs, f.head = f.msgs[:0], 0
	}
	f.ask()
	return m, nil
}

// pulse reports whether the server has answered at all, and whether it owes a sign of life.
func (f *feed) pulse() (heard, silent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard, f.asked.active && time.Since(f.seen) > silence
}
