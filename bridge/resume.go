package bridge

import (
	"fmt"
	"strconv"
	"strings"

	"kitestream/bridge/mq"
)

// Resume says where reading a channel begins so that the windows after a given tick come out again exactly as they did
// the first time. Every event carries the Resume of the window before its own.
type Resume struct {
	Start mq.Position // first message to read, inclusive: the oldest one held back at the cut, else the tick itself
	Tick  mq.Position // the tick that cut the window; empty where no window has been cut yet
	TS    uint64      // the tick's timestamp: everything up to it that stands before Tick has been emitted
}

// String is the text that an event's header carries: start, tick and timestamp, joined by slashes.
func (r Resume) String() string {
	return string(r.Start) + "/" + string(r.Tick) + "/" + strconv.FormatUint(r.TS, 10)
}

// ParseResume reads back what String wrote.
func ParseResume(s string) (Resume, error) {
	p := strings.Split(s, "/")
	if len(p) != 3 {
		return Resume{}, fmt.Errorf("resume point %q is not start/tick/timestamp", s)
	}
	ts, err := strconv.ParseUint(p[2], 10, 64)
	if err != nil {
		return Resume{}, fmt.Errorf("resume point %q: timestamp: %w", s, err)
	}
	if p[1] == "" && ts != 0 {
		return Resume{}, fmt.Errorf("resume point %q has a timestamp and no tick", s)
	}
	return Resume{Start: mq.Position(p[0]), Tick: mq.Position(p[1]), TS: ts}, nil
}

// holdsBack reports whether messages read before the tick are still to be emitted.
func (r Resume) holdsBack() bool { return r.Start != r.Tick }
