package jetstream

import (
	"context"
	"sync"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// localCopy is what a process knows of the records below one filter of a bucket: its own changes at once, others' as soon
// as it hears of them. It is a follower. Safe for concurrent use.
type localCopy[T checked] struct {
	mu     sync.Mutex
	known  map[string]knownRecord[T] // by key
	newest uint64                    // highest revision that this process wrote or heard of
	began  uint64                    // newest when the watch began whose full set is awaited
	heard  func()                    // called, if set, after something was heard of
}

// knownRecord is a record as last known. One that is gone keeps its place, so that an old value that is heard of late
// does not bring it back.
type knownRecord[T checked] struct {
	rec      T
	revision uint64
	gone     bool
}

// openCopy reads the records that there are.
func openCopy[T checked](ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, filter string) (*localCopy[T], error) {
	c := &localCopy[T]{known: map[string]knownRecord[T]{}}
	entries, err := snapshot(ctx, js.Conn(), kv, filter)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := c.learn(e); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *localCopy[T]) lookup(key string) (T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.known[key]
	if !ok || k.gone {
		var none T
		return none, false
	}
	return k.rec, true
}

func (c *localCopy[T]) list() []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []T
	for _, k := range c.known {
		if !k.gone {
			all = append(all, k.rec)
		}
	}
	return all
}

// set keeps what is newer. A removal counts as newer than the value of the same revision, which it removed.
func (c *localCopy[T]) set(key string, k knownRecord[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = max(c.newest, k.revision)
	old := c.known[key]
	if k.revision > old.revision || k.revision == old.revision && k.gone {
		c.known[key] = k
	}
}

func (c *localCopy[T]) learn(e natsjs.KeyValueEntry) error {
	rec, err := decodeRecord[T](e.Key(), e.Value())
	if err != nil {
		return err
	}
	c.set(e.Key(), knownRecord[T]{rec: rec, revision: e.Revision()})
	return nil
}

func (c *localCopy[T]) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began = c.newest
}

// full drops what is no longer there: what the set lacks though it was known before the watch began. A record that
// can't be read is left as it was known; the next process that opens the copy says so.
func (c *localCopy[T]) full(entries []natsjs.KeyValueEntry) {
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Key()] = true
		_ = c.learn(e)
	}
	c.mu.Lock()
	for key, k := range c.known {
		if !k.gone && !there[key] && k.revision <= c.began {
			k.gone = true
			c.known[key] = k
		}
	}
	c.mu.Unlock()
	c.tell()
}

func (c *localCopy[T]) change(e natsjs.KeyValueEntry) {
	if e.Operation() == natsjs.KeyValuePut {
		_ = c.learn(e)
	} else {
		c.mu.Lock()
		c.newest = max(c.newest, e.Revision())
		if k, ok := c.known[e.Key()]; ok && e.Revision() > k.revision {
			c.known[e.Key()] = knownRecord[T]{revision: e.Revision(), gone: true}
		}
		c.mu.Unlock()
	}
	c.tell()
}

func (c *localCopy[T]) tell() {
	if c.heard != nil {
		c.heard()
	}
}

// alterCopied changes a record as alterRecord does, and shows the change in the copy before it returns.
func alterCopied[T checked](ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, c *localCopy[T], key string, fn func(rec *T, there bool) (verdict, error)) (T, error) { //nolint:revive // its six have nothing in common
	var last verdict
	var found bool
	rec, rev, err := alterRecord(ctx, js.Conn(), kv, key, func(rec *T, rev uint64) (verdict, error) {
		var err error
		found = rev != 0
		last, err = fn(rec, found)
		return last, err
	})
	if err != nil {
		var none T
		return none, err
	}
	c.set(key, knownRecord[T]{rec: rec, revision: rev, gone: last == remove || last == keep && !found})
	return rec, nil
}
