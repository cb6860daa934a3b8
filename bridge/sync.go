package bridge

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"kitestream/bridge/catalog"
	"kitestream/bridge/mq"
)

// Sync returns when everything that the source held when it was called is on the stream: rows, drops and what etcd
// shows. A channel that stopped for a gap is an error; collections that have stopped are in the bridge's status by then. Safe for concurrent use.
func (b *Bridge) Sync(ctx context.Context) error {
	select {
	case <-b.ready:
	case <-ctx.Done():
		return fmt.Errorf("wait for the bridge of task %s to start: %w", b.cfg.Task.Spec.Name, ctx.Err())
	}
	v, err := b.cfg.Meta.Sync(ctx)
	if err != nil {
		return fmt.Errorf("read the source's etcd: %w", err)
	}
	want := map[string]mq.Position{}
	for _, ch := range b.followed(v) {
		if want[ch], err = b.cfg.Queue.Last(ctx, ch); err != nil {
			return fmt.Errorf("read the end of channel %s: %w", ch, err)
		}
	}
	for {
		now := b.progress.view()
		behind, err := b.behind(now, want)
		if err != nil {
			return err
		}
		if behind == "" && now.revision >= v.Revision && now.waiting == 0 {
			if err := b.flush(ctx); err != nil {
				return err
			}
			return b.report(ctx) // who is told that all was read is to see what came of it
		}
		select {
		case <-now.changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the bridge of task %s to have read all that its source holds (%s%s): %w",
				b.cfg.Task.Spec.Name, behind, b.progress.obstacles(), ctx.Err())
		}
	}
}

// followed are the channels being read, and those of selected collections that are about to be.
func (b *Bridge) followed(v *catalog.View) []string {
	set := map[string]bool{}
	for name := range b.progress.resumes() {
		set[name] = true
	}
	for _, c := range v.Collections {
		if db := v.Databases[c.DatabaseID]; db != nil && c.State == catalog.Created && b.cfg.Task.Spec.Selects(db.Name, c.Name) {
			for _, ch := range c.Channels {
				set[ch] = true
			}
		}
	}
	return slices.Collect(maps.Keys(set))
}

// behind says for people which channel, the first by name, is not on the stream up to and including its wanted position;
// empty: none. One on which nothing live stands any more may never be: Milvus ticks it no more, so that what came after its last
// tick is held back for good.
func (b *Bridge) behind(now progressView, want map[string]mq.Position) (string, error) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		c, open := now.channels[name]
		if open && !slices.Contains(now.live, name) {
			continue
		}
		if open && c.err != nil {
			return "", fmt.Errorf("channel %s stopped: %w", name, c.err)
		}
		ok, err := b.reached(c, want[name])
		if err != nil {
			return "", err
		}
		if !ok {
			return fmt.Sprintf("channel %s is read up to %s of %s; ", name, c.acked, want[name]), nil
		}
	}
	return "", nil
}

// reached reports whether a channel, the zero value for one that is not read, is on the stream up to and including a position.
func (b *Bridge) reached(c channelProgress, at mq.Position) (bool, error) {
	if at == "" {
		return true, nil
	}
	if c.acked.Tick == "" {
		return false, nil
	}
	n, err := b.cfg.Queue.Compare(c.acked.Start, at)
	return n > 0 || n == 0 && !c.acked.holdsBack(), err
}
