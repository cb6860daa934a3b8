package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"kitestream/jetstream"
)

// facts are what NATS says about one task at one moment: its record, what its processes last said of themselves, who
// holds what, and how far each lane is. View is made of them and of nothing else.
type facts struct {
	at      time.Time
	task    *jetstream.Task
	bridge  *jetstream.BridgeStatus // nil: no bridge has ever said anything
	holder  string                  // of the bridge's lease; empty: nobody
	targets []targetFacts           // in the spec's order
}

type targetFacts struct {
	spec  jetstream.TargetSpec
	stops []jetstream.Stop
	unmet []jetstream.Unmet
	lanes []laneFacts        // by lane
	last  *jetstream.Verdict // nil: it was never verified
}

type laneFacts struct {
	holder string // of the lane's lease; empty: nobody
	state  jetstream.LaneStatus
	record *jetstream.LaneStatusRecord // nil: no worker has ever said anything

	// Only where the lane lags:
	next    *jetstream.Event  // the first event that is not applied, without its body; nil: none
	counted map[int64]counted // by collection: what the stream says; not of all where they are very many
}

// counted is what of a collection a lane has not applied, from the stream itself.
type counted struct {
	rows   uint64
	oldest uint64 // source timestamp of the first event of it; 0: none
}

func (l *laneFacts) lags() bool { return l.state.Pending > 0 || l.state.AckPending > 0 }

// atOnce bounds the questions about one task that are under way at once.
const atOnce = 16

// look gathers the facts of a task.
func (s *Service) look(ctx context.Context, task *jetstream.Task) (*facts, error) {
	f := &facts{at: time.Now(), task: task}
	st, err := jetstream.BridgeStatusOf(ctx, s.cfg.Buckets.Status, task.Ref())
	switch {
	case err == nil:
		f.bridge = &st
	case !errors.Is(err, jetstream.ErrNotFound):
		return nil, fmt.Errorf("read the bridge's status: %w", err)
	}
	holders, err := s.holders(ctx, task)
	if err != nil {
		return nil, err
	}
	f.holder = holders[jetstream.BridgeLease(task.Spec.Name)]
	for _, spec := range task.Spec.Targets {
		t, err := s.lookTarget(ctx, task, spec, holders)
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", spec.Name, err)
		}
		f.targets = append(f.targets, t)
	}
	if err := s.lookLanes(ctx, f); err != nil {
		return nil, err
	}
	return f, nil
}

// holders gives who holds the task's bridge and lanes, by lease key.
func (s *Service) holders(ctx context.Context, task *jetstream.Task) (map[string]string, error) {
	all := map[string]string{}
	holder, err := s.bridgeHolder(ctx, task.Spec.Name)
	if err != nil {
		return nil, err
	}
	if holder != "" {
		all[jetstream.BridgeLease(task.Spec.Name)] = holder
	}
	for _, t := range task.Spec.Targets {
		lanes, err := s.cfg.Leases.Holders(ctx, task.Ref().Target(t.Name).LeasePrefix())
		if err != nil {
			return nil, fmt.Errorf("read who holds the lanes of target %s: %w", t.Name, err)
		}
		for key, holder := range lanes {
			all[key] = holder
		}
	}
	return all, nil
}

func (s *Service) lookTarget(ctx context.Context, task *jetstream.Task, spec jetstream.TargetSpec, holders map[string]string) (targetFacts, error) {
	id := task.Ref().Target(spec.Name)
	t := targetFacts{spec: spec, lanes: make([]laneFacts, task.Spec.Lanes)}
	stops, err := jetstream.OpenStops(ctx, s.cfg.JS, s.cfg.Buckets.Lanes, id)
	if err != nil {
		return t, fmt.Errorf("read stopped collections: %w", err)
	}
	t.stops = stops.List()
	unmets, err := jetstream.OpenUnmets(ctx, s.cfg.JS, s.cfg.Buckets.Lanes, id)
	if err != nil {
		return t, fmt.Errorf("read unmet settings: %w", err)
	}
	t.unmet = unmets.List()
	records, err := jetstream.LaneStatusesOf(ctx, s.cfg.Buckets.Status, id)
	if err != nil {
		return t, err
	}
	last, err := jetstream.VerdictOf(ctx, s.cfg.Buckets.Status, id)
	switch {
	case err == nil:
		t.last = &last
	case !errors.Is(err, jetstream.ErrNotFound):
		return t, err
	}
	for n := range t.lanes {
		t.lanes[n].holder = holders[id.Lane(n).LeaseKey()]
		if r, ok := records[n]; ok {
			t.lanes[n].record = &r
		}
	}
	return t, nil
}

// lookLanes asks how far each lane is and, where it lags, what of.
func (s *Service) lookLanes(ctx context.Context, f *facts) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range f.targets {
		for n := range f.targets[i].lanes {
			id := f.task.Ref().Target(f.targets[i].spec.Name).Lane(n)
			g.Go(func() error { return s.lookLane(ctx, f, id, &f.targets[i].lanes[n]) })
		}
	}
	return g.Wait()
}

func (s *Service) lookLane(ctx context.Context, f *facts, id jetstream.LaneID, l *laneFacts) error {
	var err error
	if l.state, err = s.laneState(ctx, id); err != nil {
		return err
	}
	if !l.lags() {
		return nil
	}
	stream, err := s.cfg.JS.Stream(ctx, jetstream.StreamName(id.Target.Task.Name))
	if err != nil {
		return fmt.Errorf("open the stream of task %s: %w", id.Target.Task.Name, err)
	}
	for _, filter := range jetstream.LaneSubjects(id.Target.Task.Name, id.Lane) {
		e, err := nextEvent(ctx, stream, filter, l.state.Floor+1)
		if err != nil {
			return fmt.Errorf("lane %d: %w", id.Lane, err)
		}
		if e != nil && (l.next == nil || e.Seq < l.next.Seq) {
			l.next = e
		}
	}
	return s.countLane(ctx, f, id, l, stream)
}

// countAtMost bounds the collections of a lane that are counted from the stream. The rest are taken from what bridge and
// worker last said, which is a second old, and older after a crash.
const countAtMost = 64

func (s *Service) countLane(ctx context.Context, f *facts, id jetstream.LaneID, l *laneFacts, stream natsjs.Stream) error {
	l.counted = map[int64]counted{}
	for _, c := range l.likelyFirst(id.Lane, f.collections()) {
		if len(l.counted) == countAtMost {
			return nil
		}
		n, err := s.count(ctx, id, c, l.state.Floor+1, stream)
		if err != nil {
			return fmt.Errorf("lane %d: collection %s.%s: %w", id.Lane, c.Database, c.Collection, err)
		}
		l.counted[c.ID] = n
	}
	return nil
}

// likelyFirst are the collections with those in front that lag by what bridge and worker last said.
func (l *laneFacts) likelyFirst(lane int, all []jetstream.CollectionStatus) []jetstream.CollectionStatus {
	var likely, rest []jetstream.CollectionStatus
	for _, c := range all {
		if c.Rows[lane] > l.applied(c.ID) {
			likely = append(likely, c)
		} else {
			rest = append(rest, c)
		}
	}
	return append(likely, rest...)
}

// count says how many rows of a collection the stream holds for the lane from a sequence on. Each event carries the sum
// up to itself, so the first and the last tell.
func (s *Service) count(ctx context.Context, id jetstream.LaneID, c jetstream.CollectionStatus, from uint64, stream natsjs.Stream) (counted, error) {
	task := id.Target.Task.Name
	var first, last *jetstream.Event
	for _, filter := range jetstream.RowSubjects(task, id.Lane, c.Database, c.Collection) {
		next, err := nextEvent(ctx, stream, filter, from)
		if err != nil {
			return counted{}, err
		}
		if next == nil {
			continue
		}
		if first == nil || next.Seq < first.Seq {
			first = next
		}
		newest, err := jetstream.LastEvent(ctx, s.cfg.JS, task, filter)
		if none(err) {
			continue
		}
		if err != nil {
			return counted{}, err
		}
		if last == nil || newest.Seq > last.Seq {
			last = newest
		}
	}
	if first == nil || last == nil || last.CollectionID != c.ID { // nothing, or of one that had the name before
		return counted{}, nil
	}
	n := counted{rows: last.RowSum, oldest: first.TS}
	if first.CollectionID == c.ID { // else all of this one is to come
		n.rows -= first.RowSum - uint64(first.Rows)
	}
	return n, nil
}

// applied is what the lane's worker last said that it had applied of a collection.
func (l *laneFacts) applied(collection int64) uint64 {
	if l.record == nil {
		return 0
	}
	return l.record.Rows[collection]
}

// laneState is zero for a task whose stream no bridge has made yet.
func (s *Service) laneState(ctx context.Context, id jetstream.LaneID) (jetstream.LaneStatus, error) {
	st, err := jetstream.LaneState(ctx, s.cfg.JS, s.cfg.Buckets.Lanes, id)
	if none(err) {
		return jetstream.LaneStatus{}, nil
	}
	return st, err
}

// none reports whether an error only says that there is nothing (yet).
func none(err error) bool {
	return errors.Is(err, jetstream.ErrNotFound) || errors.Is(err, jetstream.ErrStreamGone)
}

// nextEvent is the first event at or after a sequence that the filter lets through, without its body; nil: there is
// none. An event that can't be read says nothing but its sequence: the worker that comes to it parks it.
func nextEvent(ctx context.Context, stream natsjs.Stream, filter string, from uint64) (*jetstream.Event, error) {
	m, err := stream.GetMsg(ctx, from, natsjs.WithGetMsgSubject(filter))
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the first event that is not applied: %w", err)
	}
	e, err := jetstream.ParseEvent(m.Subject, m.Header, nil)
	if err != nil {
		e = &jetstream.Event{}
	}
	e.Seq = m.Sequence
	return e, nil
}

// collections are what the bridge last said it replicates.
func (f *facts) collections() []jetstream.CollectionStatus {
	if f.bridge == nil {
		return nil
	}
	return f.bridge.Collections
}

// bridgeLeases begins the keys of the leases on bridges, jetstream.BridgeLease.
const bridgeLeases = "bridge"

func (s *Service) bridgeHolder(ctx context.Context, task string) (string, error) {
	holders, err := s.cfg.Leases.Holders(ctx, bridgeLeases)
	if err != nil {
		return "", fmt.Errorf("read who holds the bridge of task %s: %w", task, err)
	}
	return holders[jetstream.BridgeLease(task)], nil
}
