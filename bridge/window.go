package bridge

import (
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"

	"kitestream/bridge/mq"
)

// window is what one tick lets out of a channel: every change up to the tick's timestamp, in the order of their effect.
type window struct {
	from    Resume // reading from here makes this window again
	to      Resume // reading from here makes the next one
	changes []change
	dropped int // producer's repeats that were left out
}

// windows cuts a channel's messages into windows. Rootcoord's tick T on a channel promises that nothing up to T comes
// any more, while several proxies' messages stand in any order before it and some are already newer than T. So it
// collects until a tick, lets out what is up to T sorted by time, and holds back the rest. Given the same messages from
// the same Resume it makes the same windows, always.
type windows struct {
	at     Resume
	replay bool // still before the tick that at.TS belongs to: what is up to at.TS was let out before
	held   []change
	recent *repeats
}

func newWindows(at Resume) *windows {
	return &windows{at: at, replay: at.Tick != "", recent: newRepeats()}
}

// add takes the channel's next message and returns the window that it closes, if any.
func (w *windows) add(c change) *window {
	if w.replay {
		if c.position == w.at.Tick {
			w.replay = false
			return nil
		}
		if c.kind == commonpb.MsgType_TimeTick || c.ts <= w.at.TS || c.broken != nil {
			return nil
		}
	}
	if c.broken != nil {
		c.ts = w.at.TS // it says no time of its own: out with the next tick
	}
	if c.kind != commonpb.MsgType_TimeTick {
		c.late = c.ts <= w.at.TS
		w.held = append(w.held, c)
		return nil
	}
	// A tick may say again what the one before said. It closes a window all the same: a channel that Milvus ticks no
	// more may end on it, and whoever waits until all is read waits for the last message.
	return w.cut(max(c.ts, w.at.TS), c.position)
}

// cut closes the window at tick T.
func (w *windows) cut(ts uint64, tick mq.Position) *window {
	out := &window{from: w.at}
	var rest []change
	for _, c := range w.held {
		switch {
		case c.ts > ts:
			rest = append(rest, c)
		case w.recent.seen(c.print):
			out.dropped++
		default:
			out.changes = append(out.changes, c)
		}
	}
	slices.SortStableFunc(out.changes, func(a, b change) int {
		switch {
		case a.ts != b.ts:
			if a.ts < b.ts {
				return -1
			}
			return 1
		default:
			return a.rank() - b.rank()
		}
	})
	w.held = rest
	w.recent.turn()
	w.at = Resume{Start: tick, Tick: tick, TS: ts}
	if len(rest) > 0 {
		w.at.Start = rest[0].position
	}
	out.to = w.at
	return out
}

// repeats remembers the messages of the last windows: a producer whose answer was lost sends the same bytes again within
// its time-out. Milvus itself looks no further than one window (msgstream's MqTtMsgStream).
type repeats struct {
	now, before map[fingerprint]struct{}
	turns       int
}

// repeatWindows is for how many windows (200 ms each) a message is surely remembered. A producer's retry comes within
// seconds; the memory is some bytes a message.
const repeatWindows = 50

func newRepeats() *repeats {
	return &repeats{now: map[fingerprint]struct{}{}, before: map[fingerprint]struct{}{}}
}

// seen reports whether the message was there before, and remembers it.
func (r *repeats) seen(f fingerprint) bool {
	if f == (fingerprint{}) {
		return false
	}
	if _, ok := r.now[f]; ok {
		return true
	}
	if _, ok := r.before[f]; ok {
		return true
	}
	r.now[f] = struct{}{}
	return false
}

// turn ends a window, and forgets what is older than two generations of them.
func (r *repeats) turn() {
	if r.turns++; r.turns%repeatWindows == 0 {
		r.now, r.before = map[fingerprint]struct{}{}, r.now
	}
}
