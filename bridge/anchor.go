package bridge

import (
	"context"
	"errors"
	"maps"
	"time"

	"kitestream/bridge/mq"
)

// anchorEvery is how often the broker is told what it need not keep any more.
const anchorEvery = time.Second

// anchors has a queue that can be anchored keep what this task has still to read. What it may forget is what a bridge that
// starts anew would not read: what is before the saved resume points (Guarantee 1).
type anchors struct {
	queue mq.Anchored
	task  string
	told  map[string]mq.Position // by channel: up to where the broker was told
}

// runAnchors keeps the anchors until ctx ends. They stay in the broker then, for whoever goes on.
func (b *Bridge) runAnchors(ctx context.Context, saved *saver) error {
	q, ok := b.cfg.Queue.(mq.Anchored)
	if !ok {
		<-ctx.Done()
		return ctx.Err()
	}
	defer q.Leave(b.cfg.Task.Spec.Name)
	a := anchors{queue: q, task: b.cfg.Task.Spec.Name, told: map[string]mq.Position{}}
	t := time.NewTicker(anchorEvery)
	defer t.Stop()
	for {
		if err := a.tell(ctx, b.progress.readable(saved.points())); err != nil && ctx.Err() == nil {
			b.cfg.Log.Warn("the source's broker keeps more than it need", keyError, err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tell tells the broker what has changed since the last time.
func (a *anchors) tell(ctx context.Context, needed map[string]Resume) error {
	var errs []error
	for channel, at := range needed {
		if a.told[channel] == at.Start {
			continue
		}
		if err := a.queue.Release(ctx, a.task, channel, at.Start); err != nil {
			errs = append(errs, err)
			continue
		}
		a.told[channel] = at.Start
	}
	for channel := range a.told {
		if _, ok := needed[channel]; ok {
			continue
		}
		if err := a.queue.Abandon(ctx, a.task, channel); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(a.told, channel)
	}
	return errors.Join(errs...)
}

// Abandon gives up what the source's broker keeps for this task, which is not going to be read any more. It is for after Run.
func (b *Bridge) Abandon(ctx context.Context) error {
	q, ok := b.cfg.Queue.(mq.Anchored)
	if !ok {
		return nil
	}
	var errs []error
	for channel := range b.progress.resumes() {
		errs = append(errs, q.Abandon(ctx, b.cfg.Task.Spec.Name, channel))
	}
	return errors.Join(errs...)
}

// readable are those of the channels that are being read: of one with a gap nothing is waited for any more.
func (p *progress) readable(resumes map[string]Resume) map[string]Resume {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := maps.Clone(resumes)
	maps.DeleteFunc(out, func(name string, _ Resume) bool { return p.channels[name] == nil || p.channels[name].err != nil })
	return out
}
