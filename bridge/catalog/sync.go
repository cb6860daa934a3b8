package catalog

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// patience is how long a working watch may take to deliver what etcd has told a Sync that it holds.
const patience = 5 * time.Second

// Sync returns a View at least as new as etcd was when Sync was called: what Milvus had acknowledged then is in it. It
// tries on while etcd is away, until ctx ends. The View comes through Run, which must be running.
func (c *Catalog) Sync(ctx context.Context) (*View, error) {
	defer c.metrics.timeSync()()
	var pause pauses
	for {
		v, err := c.sync(ctx)
		if err == nil {
			return v, nil
		}
		if ctx.Err() != nil || pause.wait(ctx) != nil {
			return nil, fmt.Errorf("sync catalogue with etcd: %w, last: %w", ctx.Err(), err)
		}
	}
}

// sync is one attempt. Its first request is cheap, and enough when nothing has changed in etcd since the last Sync or
// when another caller's second one, which is dear, began after it.
func (c *Catalog) sync(ctx context.Context) (*View, error) {
	head, err := c.head(ctx)
	if err != nil {
		return nil, err
	}
	if v := c.View(); v.Revision >= head {
		return v, nil
	}
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if v := c.View(); v.Revision >= head {
		return v, nil
	}
	g, err := c.goal(ctx)
	if err != nil {
		return nil, err
	}
	return c.await(ctx, g)
}

// head is etcd's revision now.
func (c *Catalog) head(ctx context.Context) (int64, error) {
	known := c.View().Revision // before the request: a View that comes meanwhile may be newer than the answer
	resp, err := c.get(ctx, c.keys.first, clientv3.WithKeysOnly())
	if err != nil {
		return 0, fmt.Errorf("read etcd's revision: %w", err)
	}
	head := resp.Header.GetRevision()
	if head < known {
		c.restart(errReset)
		return 0, fmt.Errorf("read etcd's revision: %w from %d to %d", errReset, known, head)
	}
	return head, nil
}

// goal is what etcd held at a revision: enough to tell whether a View of an earlier one is the same.
//
// Etcd's own answer to this, the progress notification on request, can't be used: before 3.5.13 and 3.4.31 it may
// overtake the events that it speaks of (etcd-io/etcd#15220), and Milvus brings 3.5.5 along.
type goal struct {
	rev   int64
	last  int64 // no key that is there was changed after this revision
	count int64 // of the keys that are there
}

// goal asks etcd which keys have changed since the View. Etcd goes through the whole range for this, but sends little.
func (c *Catalog) goal(ctx context.Context) (goal, error) {
	known := c.View().Revision
	resp, err := c.get(ctx, c.keys.first, clientv3.WithRange(c.keys.end), clientv3.WithMinModRev(known+1),
		clientv3.WithKeysOnly())
	if err != nil {
		return goal{}, fmt.Errorf("read what has changed in etcd: %w", err)
	}
	g := goal{rev: resp.Header.GetRevision(), last: known, count: resp.Count}
	for _, kv := range resp.Kvs {
		g.last = max(g.last, kv.ModRevision)
	}
	return g, nil
}

// await waits for the watch. One that does not deliver in time is replaced.
func (c *Catalog) await(ctx context.Context, g goal) (*View, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		changed := c.Changed()
		if v := c.reach(g); v != nil {
			return v, nil
		}
		select {
		case <-changed:
		case <-late.C:
			c.restart(errBehind)
			return nil, fmt.Errorf("wait for etcd's revision %d: %w", g.rev, errBehind)
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for etcd's revision %d: %w", g.rev, ctx.Err())
		}
	}
}

// reach returns the View when it holds what etcd held at the goal's revision, and gives it that revision where its own
// is older. It is the same when no key was changed since and as many keys are there: a key that is there in etcd is
// there in the View, with the same value; so were one deleted, the View would have more of them.
//
// Moving the revision on may pass over keys that came and went between the two revisions, whose events are yet to come.
// Absorb drops both.
func (c *Catalog) reach(g goal) *View {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.model.last
	if v.Revision >= g.rev {
		return v
	}
	if v.Revision < g.last || c.count != g.count {
		return nil
	}
	v = c.model.edit().finish(g.rev)
	c.publish(v)
	return v
}

// check makes sure in intervals that etcd answers and that the watch keeps up. It also moves the View's revision on
// while nothing changes, so that a later watch seldom begins at a revision that has been compacted.
func (c *Catalog) check(ctx context.Context) error {
	t := time.NewTicker(c.cfg.CheckInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := c.Sync(ctx); err != nil {
			return ctx.Err() // a Sync tries on until then
		}
	}
}
