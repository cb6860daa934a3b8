package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"kitestream/bridge/catalog"
	"kitestream/bridge/mq"
	"kitestream/jetstream"
)

// Keys of log attributes.
const (
	keyChannel    = "channel"
	keyCollection = "collection"
	keyError      = "error"
)

// Config is what one bridge of one task needs. Every field but Log, Metrics and Secret must be set.
type Config struct {
	JS      natsjs.JetStream
	KV      natsjs.KeyValue // jetstream.BucketLedger: the ledger and the resume points
	Status  natsjs.KeyValue // jetstream.BucketStatus: what `task get` shows
	Meta    Meta            // the source's catalogue
	Queue   mq.Queue        // the source's message queue
	Task    *jetstream.Task
	Holder  string // who this process is, for people
	Epoch   uint64 // of the task's lease; a bridge of a lower epoch is fenced off
	Log     *slog.Logger
	Metrics *Metrics
	Publish jetstream.PublisherConfig // Task, Holder, Epoch and Log are filled in
	Secret  *jetstream.SecretKey      // seals passwords; nil: none are published
	API     SourceAPI                 // the source's Milvus, by which existing rows are copied; nil: none are

	Needed    func(context.Context) (uint64, error) // jetstream.Needed of the task as it is now; nil: the stream is never trimmed
	TrimEvery time.Duration                         // between looks at what of the stream may go. Default: each minute, and 5 s for a stream that is nearly full
}

// Meta is the source's catalogue as a bridge uses it; *catalog.Catalog is one. All methods are safe for concurrent use.
type Meta = meta

// Bridge publishes one task. Make it with New, run it with Run once.
type Bridge struct {
	cfg      Config
	progress *progress
	ready    chan struct{} // closed when channels are being read
	orders   chan order    // for the sequencer
	flush    func(context.Context) error
	report   func(context.Context) error // writes the status
	learned  bool                        // learnSums has been done; runTrim's
}

// New makes a bridge; it does nothing until Run.
func New(cfg Config) *Bridge {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	return &Bridge{cfg: cfg, progress: newProgress(), ready: make(chan struct{}), orders: make(chan order)}
}

// Run publishes until ctx ends, and then flushes what it had handed on. jetstream.ErrFenced says that another bridge has
// taken the task over. Any other error may pass: the caller runs a new Bridge after a pause, which goes on exactly.
func (b *Bridge) Run(ctx context.Context) error {
	name := b.cfg.Task.Spec.Name
	if err := b.ensureStream(ctx); err != nil {
		return fmt.Errorf("prepare the stream of task %s: %w", name, err)
	}
	conf := b.cfg.Publish
	conf.Task, conf.Holder, conf.Epoch, conf.Log = name, b.cfg.Holder, b.cfg.Epoch, b.cfg.Log
	pub, err := jetstream.OpenPublisher(ctx, b.cfg.JS, conf)
	if err != nil {
		return fmt.Errorf("take over the stream of task %s: %w", name, err)
	}
	b.flush = pub.Flush
	b.report = func(ctx context.Context) error { return b.putStatus(ctx, pub) }
	saved := newSaver(b.cfg.KV, name, b.cfg.Epoch)
	s, err := b.restore(ctx, saved, pub)
	if err != nil {
		return fmt.Errorf("find where task %s goes on: %w", name, err)
	}
	close(b.ready)
	return b.runParts(ctx, s, saved, pub)
}

// runParts runs the sequencer, with its readers in front and the publisher behind, and stops them in that order.
func (b *Bridge) runParts(ctx context.Context, s *sequencer, saved *saver, pub *jetstream.Publisher) error {
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	behind, back := errgroup.WithContext(back)
	behind.Go(func() error { return pub.Run(back) })
	behind.Go(func() error {
		return saved.run(back, func(err error) { b.cfg.Log.Warn("resume points not saved", keyError, err) })
	})
	behind.Go(func() error { return b.reportStatus(back) })
	behind.Go(func() error { return b.runAnchors(back, saved) })
	behind.Go(func() error { return b.runTrim(back, saved) })

	front, stopFront := context.WithCancel(ctx)
	defer stopFront()
	readers, front := errgroup.WithContext(front)
	s.start = func(c *channel) {
		at, last := c.resume, mq.Position("")
		if c.done != nil {
			last = c.done.position
		}
		readers.Go(func() error {
			c.final <- c.read(front, at, last, s)
			s.notify()
			return nil
		})
	}
	s.startSide = func(c *sideChannel, behind mq.Position) {
		readers.Go(func() error { return c.read(front, behind, s) })
	}
	s.spawn = func(fn func(context.Context)) {
		readers.Go(func() error {
			fn(front)
			return nil
		})
	}
	for _, c := range s.channels {
		s.start(c)
	}
	readers.Go(func() error { return s.run(front, saved) })
	stop := context.AfterFunc(back, stopFront) // the publisher's end is everybody's
	defer stop()

	err := readers.Wait()
	if ctx.Err() != nil && back.Err() == nil {
		drain, cancel := context.WithTimeout(back, drainTimeout)
		defer cancel()
		if ferr := pub.Flush(drain); ferr != nil {
			b.cfg.Log.Warn("not everything that was read is published; it will be read again", keyError, ferr)
		}
		saved.last = time.Time{}
		s.progress.dirty()
		saved.save(s, false)
		_ = pub.Flush(drain)
		if err := saved.finish(drain); err != nil {
			b.cfg.Log.Warn("resume points not saved", keyError, err)
		}
	}
	stopBack()
	if berr := behind.Wait(); berr != nil && !errors.Is(berr, context.Canceled) {
		return berr // the cause; the front only saw its context end
	}
	return err
}

// drainTimeout bounds the end of a bridge, so that a process stops within ten seconds.
const drainTimeout = 4 * time.Second

// restore makes the sequencer as the stream and the records say where it stopped.
func (b *Bridge) restore(ctx context.Context, saved *saver, pub *jetstream.Publisher) (*sequencer, error) {
	name := b.cfg.Task.Spec.Name
	led, seq, resumes, err := saved.load(ctx)
	if err != nil {
		return nil, err
	}
	err = jetstream.Scan(ctx, b.cfg.JS, name, []string{jetstream.ChannelSubjects(name, jetstream.CatalogChannel)}, seq+1, led.apply)
	if err != nil {
		return nil, fmt.Errorf("read the schema's history: %w", err)
	}
	s := &sequencer{
		task: b.cfg.Task.Spec, existing: b.cfg.Task.Existing, created: b.cfg.Task.Created, queue: b.cfg.Queue, meta: b.cfg.Meta, pub: pub, metrics: b.cfg.Metrics,
		log: b.cfg.Log.With("task", name), ledger: led, progress: b.progress,
		channels: map[string]*channel{}, sums: map[sumKey]uint64{}, foreign: newForeign(),
		odd: map[commonpb.MsgType]bool{}, wake: make(chan struct{}, 1), blocked: map[string]string{}, settled: map[int64]*catalog.Collection{},
		park:   func(ctx context.Context, p jetstream.Parked) error { return jetstream.Park(ctx, b.cfg.JS, p) },
		rowSum: b.rowSum, lastOf: b.lastPosition, secret: b.cfg.Secret,
		api: b.cfg.API, rate: limiter(b.cfg.Task.Spec.SnapshotRowsPerSecond), epoch: b.cfg.Epoch, holder: b.cfg.Holder, keepEvery: cmp.Or(b.cfg.TrimEvery, keepEvery),
		answers: make(chan *reading, copyReads), runs: map[int64]*copyRun{}, orders: b.orders,
		opened: func(ctx context.Context) error { return saved.begin(ctx, b.progress.resumes()) },
	}
	if err := b.restoreSums(ctx, s); err != nil {
		return nil, err
	}
	b.progress.dirty()
	s.stale = true
	s.countCopies()
	for ch, at := range resumes {
		c, err := b.restoreChannel(ctx, ch, at)
		if err != nil {
			return nil, err
		}
		s.channels[ch] = c
		b.progress.opened(ch, c.resume)
	}
	return s, nil
}

// restoreChannel finds where a channel goes on: at the window of its last event on the stream, behind that event; or
// where the records say, when that is a later window, of which everything is on the stream already.
func (b *Bridge) restoreChannel(ctx context.Context, name string, at Resume) (*channel, error) {
	task := b.cfg.Task.Spec.Name
	c := newChannel(name, at)
	e, err := jetstream.LastEvent(ctx, b.cfg.JS, task, jetstream.ChannelSubjects(task, name))
	if errors.Is(err, jetstream.ErrNotFound) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last event of channel %s: %w", name, err)
	}
	last, err := ParseResume(e.Resume)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e.ID, err)
	}
	if last.TS < at.TS {
		return c, nil
	}
	first, err := strconv.Atoi(e.ID[strings.LastIndexByte(e.ID, ':')+1:])
	if err != nil {
		return nil, fmt.Errorf("event %s: its id names no row: %w", e.ID, err)
	}
	c.resume = last
	c.done = &done{position: mq.Position(e.Position), lane: e.Lane, rows: first + e.Rows}
	return c, nil
}

// rowSum is how many rows of a collection the stream holds for a lane, under its name and under those it had before.
func (b *Bridge) rowSum(ctx context.Context, col *ledgerCollection, lane int) (uint64, error) {
	task, sum := b.cfg.Task.Spec.Name, col.Sums[lane]
	for _, filter := range jetstream.RowSubjects(task, lane, col.Database, col.Name) {
		e, err := jetstream.LastEvent(ctx, b.cfg.JS, task, filter)
		if errors.Is(err, jetstream.ErrNotFound) || err == nil && e.CollectionID != col.ID {
			continue
		}
		if err != nil {
			return 0, err
		}
		sum = max(sum, e.RowSum)
	}
	return sum, nil
}

// notify wakes the sequencer.
func (s *sequencer) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
