package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"golang.org/x/time/rate"

	"kitestream/bridge/catalog"
	"kitestream/bridge/mq"
	"kitestream/jetstream"
)

// publisher is what the sequencer asks of jetstream.Publisher, whose contract it is: Publish hands events on in order
// and blocks for room, a Mark's function runs once everything published before it is on the stream for good.
type publisher interface {
	Publish(ctx context.Context, e *jetstream.Event) error
	Mark(fn func(lastSeq uint64))
	MaxBody() int
}

// meta is what the sequencer asks of the source's catalogue; see catalog.Catalog.
type meta interface {
	View() *catalog.View
	Sync(ctx context.Context) (*catalog.View, error)
	Changed() <-chan struct{}
}

// sequencer turns the windows of all channels, and what the catalogue says, into the one order of a task's stream. One
// goroutine runs it and owns all it holds; what others may ask is in progress.
type sequencer struct {
	task     jetstream.TaskSpec
	existing []jetstream.QualifiedName // Task.Existing
	created  time.Time                 // Task.Created
	queue    mq.Queue
	meta     meta
	pub      publisher
	park     func(ctx context.Context, p jetstream.Parked) error
	rowSum   func(ctx context.Context, c *ledgerCollection, lane int) (uint64, error) // as the stream has it
	metrics  *Metrics
	log      *slog.Logger
	ledger   *ledger
	progress *progress

	start  func(*channel)              // runs the channel's reader
	opened func(context.Context) error // saves the resume points: a channel's begin must survive, once it is read

	startSide func(c *sideChannel, behind mq.Position) // runs the replicate channel's reader
	lastOf    func(ctx context.Context, channel string) (mq.Position, error)
	side      *sideChannel         // nil: not read yet
	secret    *jetstream.SecretKey // nil: passwords are not published

	channels map[string]*channel
	sums     map[sumKey]uint64
	foreign  *foreign
	odd      map[commonpb.MsgType]bool // types of messages that were warned of
	wake     chan struct{}
	seen     int64 // the catalogue's revision that has been taken into account
	waiting  int   // objects of that revision whose time has not come
	blocked  map[string]string
	stale    bool // the status does not show the ledger as it is

	holder    string        // the bridge's
	handed    int64         // bytes that were published since keep
	keptAt    time.Time     // when keep was last done; zero: not by this bridge
	learned   bool          // sums has all that the stream tells
	keepEvery time.Duration // how long it may be ago

	api      SourceAPI     // nil: not known
	rate     *rate.Limiter // of rows read through it; nil: none
	epoch    uint64
	spawn    func(func(context.Context)) // runs it until the bridge ends
	answers  chan *reading
	reads    int // questions to the API that are open
	copied   int // readings published by this bridge
	restated int // events for one target alone, likewise
	runs     map[int64]*copyRun
	toCopy   int // collections of which existing rows are still to come, as last counted
	orders   chan order

	settled  map[int64]*catalog.Collection // what of the catalogue has been published in whole
	accessed *catalog.Access               // likewise, of users and roles
	said     map[string]int                // ids of the settings of one revision, and how often they were given
	saidAt   int64
}

type sumKey struct {
	collection int64
	lane       int
}

// run sequences until ctx ends or the task can't go on.
func (s *sequencer) run(ctx context.Context, saved *saver) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		changed := s.meta.Changed()
		moved, err := s.turn(ctx)
		if err != nil {
			return err
		}
		if saved.due() {
			s.show()
			saved.save(s, false)
		}
		if s.keepDue() {
			if err := s.keep(ctx, saved); err != nil {
				return err
			}
		}
		if moved {
			select {
			case o := <-s.orders:
				o.done <- o.do(ctx, s)
			default:
			}
			continue
		}
		select {
		case <-s.wake:
		case o := <-s.orders:
			o.done <- o.do(ctx, s)
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// statusEvery is how often an idle sequencer looks round: for its status, and for whatever it waits for.
const statusEvery = 500 * time.Millisecond

// turn takes the catalogue into account and moves every channel as far as it goes.
func (s *sequencer) turn(ctx context.Context) (moved bool, err error) {
	if err := s.catalogue(ctx); err != nil {
		return false, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.channels)) {
		ok, err := s.advance(ctx, s.channels[name])
		if err != nil {
			return false, err
		}
		moved = moved || ok
	}
	copied, err := s.copies(ctx)
	if err != nil {
		return false, err
	}
	return moved || copied, s.replicated(ctx)
}

// advance emits the channel's window, or as much of it as may be emitted now.
func (s *sequencer) advance(ctx context.Context, c *channel) (moved bool, err error) {
	if c.head == nil {
		select {
		case c.head = <-c.out:
			if err := c.skipDone(); err != nil {
				return false, err
			}
		default:
			return s.ended(c)
		}
	}
	delete(s.blocked, c.name)
	for c.next < len(c.head.changes) {
		why, err := s.emit(ctx, c, &c.head.changes[c.next])
		if err != nil {
			return false, err
		}
		if why != "" {
			s.blocked[c.name] = why
			return moved, nil
		}
		c.head.changes[c.next].payload = nil // windows are what a bridge's memory goes into
		c.next++
		moved = true
	}
	to := c.head.to
	s.metrics.repeats.Add(float64(c.head.dropped))
	c.head, c.next, c.done, c.resume = nil, 0, nil, to
	if s.stale { // who sees the window as read is to see what came of it
		s.show()
	}
	s.pub.Mark(func(seq uint64) { s.progress.reached(c.name, to, seq) })
	return true, nil
}

// skipDone places a new window's begin behind what the stream holds of it already.
func (c *channel) skipDone() error {
	c.next = 0
	if c.done == nil {
		return nil
	}
	i := slices.IndexFunc(c.head.changes, func(ch change) bool { return ch.position == c.done.position })
	if i < 0 {
		return fmt.Errorf("channel %s: the stream's last event came from message %s, which the queue does not show again between %s and %s: "+
			"the stream belongs to another source; delete the task and create it anew", c.name, c.done.position, c.head.from, c.head.to)
	}
	c.next = i
	return nil
}

// ended looks whether the channel's reader has ended. A gap stops the channel and its collections, nothing else.
func (s *sequencer) ended(c *channel) (bool, error) {
	select {
	case err := <-c.final:
		gap, ok := asGap(err)
		if !ok {
			return false, err
		}
		return true, s.stopChannel(c, gap)
	default:
		return false, nil
	}
}

// stopChannel ends a channel that has a gap (Guarantee 5). One that no live collection stands on has lost nothing that
// anybody waits for: it is forgotten, and read anew from the next collection's start.
func (s *sequencer) stopChannel(c *channel, gap *mq.GapError) error {
	live := false
	for _, col := range s.ledger.collections {
		if slices.Contains(col.Channels, c.name) && !col.Unmade {
			live = true
			s.stop(col, gap)
		}
	}
	if !live && c.resume.Tick != "" {
		s.log.Info("channel forgotten: what it held is gone and no collection of the task stands on it", keyChannel, c.name, keyError, gap)
		delete(s.channels, c.name)
		s.progress.forget(c.name)
		s.lookAgain()
		return nil
	}
	c.gap = gap
	s.lookAgain()
	s.progress.failed(c.name, gap)
	s.log.Error("channel stopped", keyChannel, c.name, keyError, gap)
	return nil
}

// stop ends the publishing of one collection, for a reason that its operator has to see to (Guarantee 6: of it alone).
func (s *sequencer) stop(col *ledgerCollection, why error) {
	if col.Stopped != "" {
		return
	}
	col.Stopped = why.Error()
	s.progress.dirty()
	s.metrics.stopped.Inc()
	s.stale = true
	s.log.Error("collection stopped", keyCollection, col.Database+"."+col.Name, keyError, why)
}

// emit publishes one change of the channel, or says what it has to wait for.
func (s *sequencer) emit(ctx context.Context, c *channel, ch *change) (wait string, err error) {
	switch {
	case ch.broken != nil:
		return "", s.parkChange(ctx, c, ch, codeUnreadable, ch.broken)
	case ch.late:
		return "", s.parkChange(ctx, c, ch, codeLate, errLate)
	}
	s.metrics.read.WithLabelValues(s.task.Name, ch.kind.String()).Inc()
	switch ch.kind {
	case commonpb.MsgType_Insert, commonpb.MsgType_Delete:
		return s.rows(ctx, c, ch)
	case commonpb.MsgType_CreateCollection:
		return s.createCollection(ctx, c, ch)
	case commonpb.MsgType_DropCollection:
		return s.dropCollection(ctx, c, ch)
	case commonpb.MsgType_DropPartition:
		return s.dropPartition(ctx, c, ch)
	case commonpb.MsgType_Import:
		return "", s.imported(ctx, c, ch)
	}
	s.metrics.unknown.WithLabelValues(s.task.Name, ch.kind.String()).Inc()
	if !s.odd[ch.kind] {
		s.odd[ch.kind] = true
		s.log.Warn("messages of this type are skipped", "type", ch.kind.String(), keyChannel, c.name, "position", ch.position)
	}
	return "", nil
}

// The codes of what the bridge parks.
const (
	codeUnreadable = "KS-S-UNREADABLE" // a message that does not decode
	codeLate       = "KS-S-LATE"       // a message older than a tick before it
)

var errLate = errors.New("its timestamp is older than the tick before it, which promised that nothing so old would come any more")

// parkChange puts a message that can't be made an event of where it survives, with all that it says (Guarantee 5).
func (s *sequencer) parkChange(ctx context.Context, c *channel, ch *change, code string, why error) error {
	s.metrics.parked.WithLabelValues(s.task.Name, code).Inc()
	s.log.Error("message parked", keyChannel, c.name, "position", ch.position, "code", code, keyError, why)
	return s.park(ctx, jetstream.Parked{
		Task: s.task.Name, Code: code, Reason: why.Error(), Channel: c.name, Position: string(ch.position), Body: ch.payload,
	})
}

// allReached reports whether every channel of the collection has emitted what is older than ts: the barrier before
// a drop (Guarantee 3). Channels agree on the order of timestamps, so waiting for one another can't close a circle.
func (s *sequencer) allReached(col *ledgerCollection, ts uint64) bool {
	for _, name := range col.Channels {
		if c := s.channels[name]; c != nil && !c.reached(ts) {
			return false
		}
	}
	return true
}

// publishSchema publishes a change of schema or a setting and takes it into the ledger.
func (s *sequencer) publishSchema(ctx context.Context, e *jetstream.Event) error {
	e.Channel, e.Lane, e.Source = jetstream.CatalogChannel, jetstream.AllLanes, s.task.Source
	switch {
	case e.Kind.Setting():
		e.Lane = jetstream.SettingsLane
	case e.Kind.ForBridges():
		e.Lane = jetstream.NoLane
	}
	delete(s.settled, e.CollectionID)
	if err := s.ledger.apply(e); err != nil {
		return err
	}
	s.progress.dirty()
	s.stale = true
	return s.hand(ctx, e)
}

// hand has an event published, behind all that were handed on before.
func (s *sequencer) hand(ctx context.Context, e *jetstream.Event) error {
	s.handed += int64(len(e.Body)) + 1 // some have none
	return s.pub.Publish(ctx, e)
}
