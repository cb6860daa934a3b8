package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

const (
	// resyncTimeout ends a look into the stream that gets no answer.
	resyncTimeout = 2 * time.Second
	// The waits between looks that find no way on double from the first to the second.
	firstRetry, lastRetry = 20 * time.Millisecond, 2 * time.Second
	// shutOutPatience is how long a publisher that the stream does not listen to any more waits to be fenced, before it
	// gives up to be opened again.
	shutOutPatience = time.Second
	// quietTries is after how many looks in vain the log hears of it.
	quietTries = 5
)

var errShutOut = errors.New("the stream does not listen to this publisher any more")

// resync looks into the stream for what it holds of the events on the way, and begins a new generation with the rest.
// Its error is final.
//
// Guarantee 2: nothing twice. What an answer does not say for sure, the stream does, however late that is.
func (l *pipeline) resync(ctx context.Context) error {
	l.metrics.resyncs.Inc()
	l.tries++
	base := l.base
	err := attempt(ctx, l.p.nc, resyncTimeout, l.compare)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && hopeless(err) {
		return err
	}
	wait := min(firstRetry<<min(l.tries, 16), lastRetry)
	wait = wait/2 + rand.N(wait/2)
	l.retryAt = time.Now().Add(wait)
	if err != nil {
		l.again(err)
		l.wake.Reset(wait)
		return nil
	}
	l.dropKnown()
	l.generation++
	l.sent, l.out, l.got = 0, 0, 0
	l.failure = nil
	if l.base == base {
		l.window = 1 // try with one
	}
	if len(l.pending) == 0 {
		l.well()
	}
	return nil
}

// compare finds out which of the events on the way are stored.
//
// Looking at the stream's last event is enough. Event i was sent with the expectation that sequence base+i is the last,
// and until the next fence the stream takes no others: so if event i stands at its place, so do all before it.
func (l *pipeline) compare(ctx context.Context) error {
	s, err := openStream(ctx, l.p.js, l.p.cfg.Task)
	if err != nil {
		return err
	}
	info := s.CachedInfo()
	last := info.State.LastSeq
	switch {
	case !info.Created.Equal(l.p.stream.created):
		return fmt.Errorf("stream %s was deleted and made anew: %w", info.Config.Name, ErrStreamGone)
	case last < l.base:
		return fmt.Errorf("stream %s ends at %d, but acknowledged %d: the server has lost events: %w", info.Config.Name, last, l.base, ErrStreamGone)
	case last > l.base:
		if err := l.compareLast(ctx, s, last); err != nil {
			return err
		}
	}
	return l.checkWriter(info.Config)
}

func (l *pipeline) compareLast(ctx context.Context, s natsjs.Stream, last uint64) error {
	m, err := s.GetMsg(ctx, last)
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return fmt.Errorf("the last event of stream %s, %d, was removed by hand: %w", StreamName(l.p.cfg.Task), last, ErrStreamGone)
	}
	if err != nil {
		return fmt.Errorf("read last event of stream: %w", err)
	}
	id := m.Header.Get(nats.MsgIdHdr)
	if i := last - l.base - 1; i >= uint64(len(l.pending)) || l.pending[i].id != id {
		return fmt.Errorf("stream %s holds event %q of another publisher at %d: %w", StreamName(l.p.cfg.Task), id, last, ErrFenced)
	}
	l.acked(last)
	return nil
}

// checkWriter waits for whoever the stream listens to now to raise its fence, but not for long: it may be dead, or nobody.
func (l *pipeline) checkWriter(cfg natsjs.StreamConfig) error {
	switch {
	case slices.Equal(cfg.Subjects, []string{writerSubjects(l.p.cfg.Task, l.p.stream.writer)}):
		l.shutOut = time.Time{}
		return nil
	case l.shutOut.IsZero():
		l.shutOut = time.Now()
	case time.Since(l.shutOut) > shutOutPatience:
		return fmt.Errorf("stream %s listens to %q and not to this publisher: %w", cfg.Name, cfg.Subjects, ErrStreamGone)
	}
	return errShutOut
}

// dropKnown takes events off the pipeline that the stream held before they were published, say because the caller reads
// its source again from further back than it needs.
func (l *pipeline) dropKnown() {
	kept := l.pending[:0:0]
	for _, e := range l.pending {
		if !e.known {
			kept = append(kept, e)
			continue
		}
		l.metrics.known.Inc()
		l.bytes -= e.size
		if n := len(kept); n > 0 {
			kept[n-1].marks = append(kept[n-1].marks, e.marks...)
		} else {
			l.addMarks(0, e.marks...)
		}
	}
	if len(kept) < len(l.pending) { // that is a way on
		l.tries, l.retryAt = 0, time.Time{}
	}
	l.pending = kept
}

// again notes that there still is no way on, and why.
func (l *pipeline) again(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer from NATS for %v: %w", resyncTimeout, err)
	}
	l.waitBecause(err)
}

// waitBecause is what Waiting tells from now on. The since of a wait stays.
func (l *pipeline) waitBecause(err error) {
	w := &waiting{since: time.Now(), why: err}
	if old := l.p.waiting.Load(); old != nil {
		w.since = old.since
	}
	l.p.waiting.Store(w)
	l.metrics.waiting.Set(1)
	if l.tries >= quietTries && !l.said {
		l.said = true
		l.p.cfg.Log.Warn("the stream takes no events, waiting", "task", l.p.cfg.Task, "error", err)
	}
}

// well ends the waiting.
func (l *pipeline) well() {
	w := l.p.waiting.Load()
	if w == nil {
		return
	}
	l.p.waiting.Store(nil)
	l.metrics.waiting.Set(0)
	if l.said {
		l.said = false
		l.p.cfg.Log.Info("the stream takes events again", "task", l.p.cfg.Task, "waited", time.Since(w.since))
	}
}

// parseAck reads the stream's answer. Its error is what the stream said against the event.
func parseAck(m *nats.Msg) (natsjs.PubAck, error) {
	var a struct {
		natsjs.PubAck
		Error *natsjs.APIError `json:"error"`
	}
	if len(m.Data) == 0 {
		return natsjs.PubAck{}, fmt.Errorf("no stream takes the event (status %q)", m.Header.Get("Status"))
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return natsjs.PubAck{}, fmt.Errorf("read the stream's answer: %w", err)
	}
	if a.Error != nil && strings.Contains(a.Error.Description, "maximum bytes") { // there is no code for it alone
		return natsjs.PubAck{}, fmt.Errorf("the stream is full, and takes more when targets have applied some of it: %w", a.Error)
	}
	if a.Error != nil {
		return natsjs.PubAck{}, fmt.Errorf("the stream refuses the event: %w", a.Error)
	}
	return a.PubAck, nil
}
