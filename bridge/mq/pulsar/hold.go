package pulsar

import (
	"sync"

	"kitestream/bridge/mq"
)

// overhead is what a message is counted for besides its payload and properties.
const overhead = 150

// hold is what has been read and checked and the caller has not taken: between the goroutine that reads and the caller.
type hold struct {
	maxMessages, maxBytes int
	ready                 chan struct{} // holds a token when there is something new for take
	room                  chan struct{} // holds a token when take has made room

	mu    sync.Mutex
	msgs  []mq.Message // msgs[head:] are held
	head  int
	bytes int
	final error // what comes after the messages
}

func newHold(messages, bytes int) *hold {
	return &hold{
		maxMessages: messages, maxBytes: bytes,
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

func size(m mq.Message) int {
	n := len(m.Payload) + overhead
	for k, v := range m.Properties {
		n += len(k) + len(v)
	}
	return n
}

// put adds a message, whether there is room or not.
func (h *hold) put(m mq.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.msgs) == cap(h.msgs) && h.head > len(h.msgs)/2 { // move up instead of growing
		n := copy(h.msgs, h.msgs[h.head:])
		clear(h.msgs[n:])
		h.msgs, h.head = h.msgs[:n], 0
	}
	h.msgs = append(h.msgs, m)
	h.bytes += size(m)
	wake(h.ready)
}

// finish adds the error that ends reading.
func (h *hold) finish(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.final = err
	wake(h.ready)
}

// take returns the next message, or false when there is none yet, or the error that there will be none.
func (h *hold) take() (mq.Message, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.head == len(h.msgs) {
		return mq.Message{}, false, h.final
	}
	m := h.msgs[h.head]
	h.msgs[h.head] = mq.Message{}
	h.head++
	h.bytes -= size(m)
	if h.head == len(h.msgs) {
		h.msgs, h.head = h.msgs[:0], 0
	}
	wake(h.room)
	return m, true, nil
}

// full reports that no more may be read; after that, half reports when it may again.
func (h *hold) full() bool { return h.over(1) }

// half reports that no more than half of the room is taken.
func (h *hold) half() bool { return !h.over(2) }

func (h *hold) over(part int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.msgs)-h.head >= max(h.maxMessages/part, 1) || h.bytes >= max(h.maxBytes/part, 1)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
