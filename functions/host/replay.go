package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream"
)

// replay makes good what a lane has passed over of a collection that had stopped and is to be tried again: its events
// from the first one passed over up to where the lane is now, read from the stream beside the lane's consumer. The lane
// itself stands still meanwhile, so that what comes after is applied after (Guarantee 3). It is done when all is
// applied; a holder that dies in between leaves the next one to begin again, which changes nothing (Guarantee 2).
type replay struct {
	collection int64
	name       string
	now, final jetstream.QualifiedName // what the target calls it where the replay is, and when it is done
	in         chan jetstream.Delivery
	cancel     context.CancelFunc
	parts      sync.WaitGroup
	done       chan struct{} // closed when all has been put into in
	err        error         // why reading ended; valid once done is closed
}

// beginReplay begins the replay of a collection that the lane is to try again. Nothing of the lane may be pending.
func (t *target) beginReplay(ctx context.Context, l *heldLane) {
	if l.replay != nil || len(l.pending) > 0 {
		return
	}
	until := l.lane.Floor()
	for _, stop := range t.stops.Turns() {
		from, behind := stop.Lanes[l.number]
		if !behind || until < stop.Barrier {
			continue
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := &replay{collection: stop.CollectionID, name: stop.Database + "." + stop.Collection, now: stop.OnTarget(), final: stop.Name(), in: make(chan jetstream.Delivery, readAhead), done: make(chan struct{}), cancel: cancel}
		var filters []string
		for _, n := range names(stop, t.past) {
			filters = append(filters, jetstream.CollectionSubjects(t.task.Spec.Name, l.number, n.Database, n.Collection)...)
		}
		r.parts.Go(func() {
			defer t.notify()
			defer close(r.done)
			r.err = jetstream.Scan(ctx, t.cfg.JS, t.task.Spec.Name, filters, from, func(e *jetstream.Event) error {
				return r.give(ctx, e, until, t.notify)
			})
		})
		l.replay = r
		t.log.Info("collection is tried again", "collection", r.name, "lane", l.number, "from", from, "until", until)
		return
	}
}

// names are all names under which events of a stopped collection may be on the stream.
func names(stop jetstream.Stop, past *jetstream.Past) []jetstream.QualifiedName {
	all := stop.Names()
	for _, n := range past.Names(stop.CollectionID) {
		if !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// give hands over an event of the collection that the lane has passed over.
func (r *replay) give(ctx context.Context, e *jetstream.Event, until uint64, wake func()) error {
	if e.CollectionID != r.collection || e.Seq > until || e.Kind == jetstream.Flush {
		return ctx.Err()
	}
	e, left, err := r.told(e)
	if !left || err != nil {
		return err
	}
	select {
	case r.in <- jetstream.Delivery{Event: e, Seq: e.Seq}:
		wake()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// told is the event with the collection's name on the target. At the first rename it is given its last name: in between others may
// have the names that it had. False: it is a later rename, of which nothing is left to do.
func (r *replay) told(e *jetstream.Event) (*jetstream.Event, bool, error) {
	told := *e
	told.Database, told.Collection = r.now.Database, r.now.Collection
	if e.Kind != jetstream.RenameCollection {
		return &told, true, nil
	}
	if r.now == r.final {
		return nil, false, nil
	}
	var req milvuspb.RenameCollectionRequest
	if err := proto.Unmarshal(e.Body, &req); err != nil {
		return e, true, nil //nolint:nilerr // for the handlers to refuse
	}
	req.DbName, req.OldName, req.NewDBName, req.NewName = r.now.Database, r.now.Collection, r.final.Database, r.final.Collection
	body, err := proto.Marshal(&req)
	if err != nil {
		return nil, false, fmt.Errorf("encode the rename of event %d: %w", e.Seq, err)
	}
	told.Body, r.now = body, r.final
	return &told, true, nil
}

// stop ends the replay where it is.
func (r *replay) stop() {
	r.cancel()
	r.parts.Wait()
}

// settleReplay ends a replay that has come to its end, or whose collection has stopped again.
func (t *target) settleReplay(ctx context.Context, l *heldLane) error {
	r := l.replay
	if r == nil {
		return nil
	}
	if stop, ok := t.stops.Lookup(r.collection); ok && !stop.Retry {
		r.stop()
		l.replay, l.pending = nil, nil
		return nil
	}
	if len(l.pending) > 0 || !r.drained() {
		return nil
	}
	l.replay = nil
	r.stop()
	if r.err != nil {
		return fmt.Errorf("read again what lane %d passed over of %s: %w", l.number, r.name, r.err)
	}
	if err := t.stops.LaneDone(ctx, r.collection, l.number); err != nil {
		return fmt.Errorf("keep that lane %d has made good %s: %w", l.number, r.name, err)
	}
	t.log.Info("collection goes on", "collection", r.name, "lane", l.number)
	return nil
}

// drained reports whether everything that the replay has read was taken and no more comes.
func (r *replay) drained() bool {
	select {
	case <-r.done:
		return len(r.in) == 0
	default:
		return false
	}
}

// errMoved ends a scan that has found what it looked for.
var errMoved = errors.New("moved")

// moved reports whether the stream gives the alias that a replayed event is about to another collection, or takes it from one, behind
// the event: the target has been told of that already, or will be, and it must not be undone.
func (t *target) moved(ctx context.Context, e *jetstream.Event) (bool, error) {
	kinds := []jetstream.Kind{jetstream.CreateAlias, jetstream.AlterAlias, jetstream.DropAlias}
	if !slices.Contains(kinds, e.Kind) {
		return false, nil
	}
	mine, err := jetstream.SettingOf(e)
	if err != nil {
		return false, nil //nolint:nilerr // an event that can't be read is for the handlers to refuse
	}
	var filters []string
	for _, k := range kinds {
		filters = append(filters, jetstream.KindSubjects(t.task.Spec.Name, k))
	}
	err = jetstream.Scan(ctx, t.cfg.JS, t.task.Spec.Name, filters, e.Seq+1, func(later *jetstream.Event) error {
		set, err := jetstream.SettingOf(later)
		if err == nil && set.Key == mine.Key && later.CollectionID != e.CollectionID && (later.Target == "" || later.Target == t.spec.Name) {
			return errMoved
		}
		return nil
	})
	if errors.Is(err, errMoved) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look what has become of the alias of event %d: %w", e.Seq, err)
	}
	return false, nil
}
