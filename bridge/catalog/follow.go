package catalog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

var (
	// errBehind ends a watch that does not deliver what etcd holds.
	errBehind = errors.New("the watch does not deliver what etcd holds")
	// errReset ends a watch on an etcd whose revision went back: it was made anew, or restored from a backup.
	errReset = errors.New("etcd's revision went back")
	// errEnded is a watch that ended and did not say why.
	errEnded = errors.New("the watch ended")
)

// Run keeps the View up to date until ctx ends, and returns ctx's error: whatever happens to etcd, it tries on. Call it
// once.
func (c *Catalog) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.follow(ctx) })
	g.Go(func() error { return c.check(ctx) })
	return g.Wait()
}

// follow replaces a watch that ended by another, and lists anew where no watch can go on.
func (c *Catalog) follow(ctx context.Context) error {
	var pause pauses
	var cause error // of listing anew, when that is next
	for {
		began := time.Now()
		err := c.step(ctx, cause)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || time.Since(began) > maxPause {
			pause = pauses{}
		}
		switch {
		case err == nil:
			cause = nil
		case unwatchable(err):
			cause = err
			c.health.note(ctx, nil) // it did answer
		default:
			c.health.note(ctx, err)
		}
		if err := pause.wait(ctx); err != nil {
			return err
		}
	}
}

// step watches, or lists anew when there is a cause to. Only of the latter it returns nil.
func (c *Catalog) step(ctx context.Context, cause error) error {
	if cause != nil {
		return c.relist(ctx, cause)
	}
	err := c.watch(ctx)
	if ctx.Err() == nil {
		c.metrics.watchErrors.Inc()
		c.log.Debug("watch of the source's meta ended", keyError, err)
	}
	return err
}

// unwatchable reports whether a watch can't go on from the View's revision.
func unwatchable(err error) bool {
	return errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, errReset) || errors.Is(err, errBehind)
}

// relist lists all again: the View jumps over what was in between.
func (c *Catalog) relist(ctx context.Context, cause error) error {
	from := c.View().Revision
	if err := c.load(ctx); err != nil {
		return err
	}
	c.metrics.relists.Inc()
	c.log.Info("the source's meta was listed anew", "from", from, "to", c.View().Revision, "cause", cause)
	return nil
}

// watch takes in what changes, from the View's revision on. It returns only with an error.
func (c *Catalog) watch(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c.mu.Lock()
	c.stop = stop
	from := c.model.last.Revision + 1
	c.mu.Unlock()
	// One watch of the one range, not in fragments: so a response holds whole revisions, and a revision's changes are
	// seen at once or not at all.
	responses := c.client.Watch(clientv3.WithRequireLeader(ctx), c.keys.first, clientv3.WithRange(c.keys.end),
		clientv3.WithRev(from), clientv3.WithProgressNotify())
	err := errEnded
	for resp := range responses {
		if err = resp.Err(); err != nil {
			break
		}
		err = errEnded
		c.health.note(ctx, nil)
		c.absorb(&resp)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause // the client makes another error of it, or none
	}
	return fmt.Errorf("watch %s from revision %d: %w", c.keys, from, err)
}

// restart ends the watch, so that follow begins another.
func (c *Catalog) restart(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		c.stop(cause)
	}
}

// absorb takes one response in and publishes the View after it. Changes that the View has already are passed over: a
// Sync may have moved its revision on, and a member that lags may repeat old ones (etcd-io/etcd#20221).
func (c *Catalog) absorb(resp *clientv3.WatchResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.model.last.Revision
	rev := was
	e := c.model.edit()
	for _, ev := range resp.Events {
		if ev.Kv.ModRevision <= was {
			continue
		}
		// The response's header may be ahead of its events, these are not.
		rev = max(rev, ev.Kv.ModRevision)
		c.count += keysAdded(ev)
		e.add(changeOf(c.keys.prefix, ev.Kv))
	}
	if resp.IsProgressNotify() {
		rev = max(rev, resp.Header.Revision)
	}
	if rev > was {
		c.publish(e.finish(rev))
	}
}

func keysAdded(ev *clientv3.Event) int64 {
	switch {
	case ev.Type == mvccpb.DELETE:
		return -1
	case ev.IsCreate():
		return 1
	}
	return 0
}

// changeOf is a key's change. Of a deleted key etcd gives the name and revision only.
func changeOf(prefix string, kv *mvccpb.KeyValue) change {
	return change{
		key:   strings.TrimPrefix(string(kv.Key), prefix),
		value: kv.Value,
		gone:  kv.Version == 0 || string(kv.Value) == tombstone,
		rev:   kv.ModRevision,
	}
}

// The pauses between attempts grow from one to the other, and are drawn from the upper half.
const (
	minPause = 50 * time.Millisecond
	maxPause = 5 * time.Second
)

type pauses struct{ next time.Duration }

func (b *pauses) wait(ctx context.Context) error {
	if b.next == 0 {
		b.next = minPause
	}
	t := time.NewTimer(b.next/2 + rand.N(b.next/2))
	defer t.Stop()
	b.next = min(2*b.next, maxPause)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
