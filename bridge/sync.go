package bridge

import (
	"context"
	"fmt"

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
		channels, revision, waiting, changed := b.progress.view()
		ok, err := b.reached(channels, want)
		if err != nil {
			return err
		}
		if ok && revision >= v.Revision && waiting == 0 {
			if err := b.flush(ctx); err != nil {
				return err
			}
			return b.report(ctx) // who is told that all was read is to see what came of it
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the bridge of task %s to have read all that its source holds (%s): %w",
				b.cfg.Task.Spec.Name, b.progress.obstacles(), ctx.Err())
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
	out := make([]string, 0, len(set))
	for ch := range set {
		out = append(out, ch)
	}
	return out
}

// reached reports whether each channel is on the stream up to and including its wanted position.
func (b *Bridge) reached(channels map[string]channelProgress, want map[string]mq.Position) (bool, error) {
	for name, at := range want {
		c, open := channels[name]
		if open && c.err != nil {
			return false, fmt.Errorf("channel %s stopped: %w", name, c.err)
		}
		if at == "" {
			continue
		}
		if !open || c.acked.Tick == "" {
			return false, nil
		}
		n, err := b.cfg.Queue.Compare(c.acked.Start, at)
		if err != nil {
			return false, err
		}
		if n < 0 || n == 0 && c.acked.holdsBack() {
			return false, nil
		}
	}
	return true, nil
}
