package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"kitestream/functions/host"
	"kitestream/jetstream"
)

const (
	syncDefault = time.Minute // for a Sync that names no time-out
	syncMost    = time.Hour
	syncLook    = time.Second            // between looks whether the bridge that was asked is still there
	freshWait   = 3 * time.Second        // for a bridge's status that is newer than its answer
	freshLook   = 100 * time.Millisecond // between looks for it
)

// position tells how far the task is, after a Sync if one is asked for.
func (s *Service) position(ctx context.Context, c call) (any, error) {
	var r PositionRequest
	if err := decode(c.data, &r); err != nil {
		return nil, err
	}
	limit, err := r.timeout()
	if err != nil {
		return nil, err
	}
	t, err := s.task(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	var wanted []uint64
	if r.Sync {
		say := c.progress
		if !r.Progress {
			say = func(string) {}
		}
		if wanted, err = s.sync(ctx, t, limit, say); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, shortTimeout)
	defer cancel()
	return s.whereIs(ctx, t, wanted)
}

func (r PositionRequest) timeout() (time.Duration, error) {
	d := time.Duration(r.TimeoutMS) * time.Millisecond
	if r.TimeoutMS < 0 || r.TimeoutMS > syncMost.Milliseconds() {
		return 0, invalidField("timeout_ms", "timeout_ms: %d is not between 0 and %d", r.TimeoutMS, syncMost.Milliseconds())
	}
	if d == 0 {
		d = syncDefault
	}
	return d, nil
}

// sync has the task's bridge bring all that its source holds now onto the stream. It returns, by lane, the sequence
// that a target must reach to have it all.
func (s *Service) sync(ctx context.Context, t *jetstream.Task, limit time.Duration, say func(string)) ([]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := s.askBridge(ctx, t, say); err != nil {
		if ctx.Err() != nil && codeOf(err) == "" { // whatever was asked last says nothing by itself
			return nil, refuse(CodeTimeout, "the bridge of task %s was not found in time", t.Spec.Name)
		}
		return nil, err
	}
	s.awaitStatus(ctx, t, time.Now())
	return s.lastEvents(ctx, t)
}

// lastEvents are, by lane, the last events on the stream.
func (s *Service) lastEvents(ctx context.Context, t *jetstream.Task) ([]uint64, error) {
	wanted := make([]uint64, t.Spec.Lanes)
	for lane := range wanted {
		for _, filter := range jetstream.LaneSubjects(t.Spec.Name, lane) {
			e, err := jetstream.LastEvent(ctx, s.cfg.JS, t.Spec.Name, filter)
			if none(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			wanted[lane] = max(wanted[lane], e.Seq)
		}
	}
	return wanted, nil
}

// askBridge asks, and gives up when the bridge that was asked goes: its answer would never come.
func (s *Service) askBridge(ctx context.Context, t *jetstream.Task, say func(string)) error {
	name := t.Spec.Name
	first, err := s.bridgeHolder(ctx, name)
	if err != nil {
		return err
	}
	if first == "" {
		return refuse(CodeNoBridge, "no bridge of source %s holds task %s", t.Spec.Source, name)
	}
	deadline, _ := ctx.Deadline()
	answered := make(chan error, 1)
	ask, giveUp := context.WithCancel(ctx)
	var asking sync.WaitGroup
	asking.Go(func() { answered <- s.requestSync(ask, name, sooner(time.Until(deadline))) })
	defer asking.Wait()
	defer giveUp()
	look := time.NewTicker(syncLook)
	defer look.Stop()
	for {
		select {
		case err := <-answered:
			return err
		case <-look.C:
			say("the bridge of " + name + " is reading what its source holds")
			if now, err := s.bridgeHolder(ctx, name); err == nil && now != first {
				return refuse(CodeNoBridge, "the bridge of task %s, held by %s, went away while it was asked", name, first)
			}
		}
	}
}

// sooner is when whoever is asked is to give up, so that its reason still arrives in time.
func sooner(limit time.Duration) time.Duration { return limit - min(time.Second, limit/10) }

func (s *Service) requestSync(ctx context.Context, task string, limit time.Duration) error {
	_, err := s.requestBridge(ctx, task, host.SyncSubject(task), host.SyncRequest{TimeoutMS: limit.Milliseconds()})
	if errors.Is(err, context.DeadlineExceeded) {
		return refuse(CodeTimeout, "the bridge of task %s did not bring all that its source holds onto the stream in time", task)
	}
	return err
}

// requestBridge has the task's bridge do something, and gives the sequence that it answers with. That it did not in time is ctx's
// error.
func (s *Service) requestBridge(ctx context.Context, task, subject string, req any) (uint64, error) {
	m, err := s.cfg.NC.RequestWithContext(ctx, subject, encode(req))
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return 0, refuse(CodeNoBridge, "the bridge of task %s does not answer yet", task)
	case err != nil:
		return 0, fmt.Errorf("ask the bridge of task %s: %w", task, err)
	}
	var answer host.BridgeAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return 0, fmt.Errorf("read the answer of the bridge of task %s: %w", task, err)
	}
	if answer.Error != "" {
		return 0, refuse(CodeSource, "the bridge of task %s: %s", task, answer.Error)
	}
	return answer.Seq, nil
}

// awaitStatus waits for a status of the bridge that is newer than a moment: a collection that stopped on the source
// shows in it. One that does not come in time is nothing to wait longer for.
func (s *Service) awaitStatus(ctx context.Context, t *jetstream.Task, after time.Time) {
	ctx, cancel := context.WithTimeout(ctx, freshWait)
	defer cancel()
	look := time.NewTicker(freshLook)
	defer look.Stop()
	for {
		st, err := jetstream.BridgeStatusOf(ctx, s.cfg.Buckets.Status, t.Ref())
		if err == nil && st.At.After(after) {
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// whereIs reads the lanes first and the stopped collections after: a lane that passed over an event had noted so before.
func (s *Service) whereIs(ctx context.Context, t *jetstream.Task, wanted []uint64) (*PositionAnswer, error) {
	a := &PositionAnswer{Name: t.Spec.Name, ID: t.ID, State: summary(t).State, Channels: []ChannelPosition{}}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	a.Targets = make([]TargetPosition, len(t.Spec.Targets))
	for i, spec := range t.Spec.Targets {
		a.Targets[i] = TargetPosition{Name: spec.Name, Lanes: make([]LanePosition, t.Spec.Lanes)}
		for n := range a.Targets[i].Lanes {
			at := &a.Targets[i].Lanes[n]
			at.Lane = n
			if wanted != nil {
				at.Wanted = wanted[n]
			}
			g.Go(func() error {
				st, err := s.laneState(gctx, t.Ref().Target(spec.Name).Lane(n))
				at.Floor, at.Pending = st.Floor, st.Pending+uint64(max(0, st.AckPending))
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return a, s.addStops(ctx, t, a)
}

// addStops adds what the target and the bridge have stopped, and the bridge's channels.
func (s *Service) addStops(ctx context.Context, t *jetstream.Task, a *PositionAnswer) error {
	st, err := jetstream.BridgeStatusOf(ctx, s.cfg.Buckets.Status, t.Ref())
	if err != nil && !errors.Is(err, jetstream.ErrNotFound) {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(st.Channels)) {
		c := st.Channels[name]
		a.Channels = append(a.Channels, ChannelPosition{Channel: name, Resume: c.Resume, Watermark: moment(c.TS), Error: c.Error})
	}
	for i := range a.Targets {
		for _, c := range st.Collections {
			if c.Error != "" {
				a.Targets[i].Stopped = append(a.Targets[i].Stopped, StoppedCollection{
					Database: c.Database, Collection: c.Collection, Reason: "on the source: " + c.Error,
				})
			}
		}
		stops, err := jetstream.OpenStops(ctx, s.cfg.JS, s.cfg.Buckets.Lanes, t.Ref().Target(a.Targets[i].Name))
		if err != nil {
			return err
		}
		for _, stop := range stops.List() {
			a.Targets[i].Stopped = append(a.Targets[i].Stopped, StoppedCollection{
				Database: stop.Database, Collection: stop.Collection, Code: stop.Code, Reason: stop.Reason, Since: stop.Since, Retrying: stop.Retry,
			})
		}
	}
	return nil
}
