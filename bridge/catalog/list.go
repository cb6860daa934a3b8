package catalog

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// pageSize is how many keys are asked for at a time: some 2 MB. For each page etcd counts all that are left, so many
// small ones are slow.
const pageSize = 10000

// load replaces the model by what etcd holds now, all at one revision. It begins anew, a few times, when that revision
// is compacted between two pages.
func (c *Catalog) load(ctx context.Context) error {
	const attempts = 5
	for i := 1; ; i++ {
		m := newModel(c.keys.prefix)
		e := m.edit()
		rev, count, err := c.list(ctx, e)
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.model, c.count = m, count
			c.publish(e.finish(rev))
			return nil
		}
		if i == attempts || !errors.Is(err, rpctypes.ErrCompacted) {
			return fmt.Errorf("list %s: %w", c.keys, err)
		}
	}
}

// list adds every key of the range, at the revision that the first page says.
func (c *Catalog) list(ctx context.Context, e *edit) (rev, count int64, err error) {
	for from := c.keys.first; ; {
		resp, err := c.get(ctx, from, clientv3.WithRange(c.keys.end), clientv3.WithLimit(pageSize), clientv3.WithRev(rev))
		if err != nil {
			return 0, 0, err
		}
		if rev == 0 {
			rev = resp.Header.GetRevision()
		}
		for _, kv := range resp.Kvs {
			e.add(changeOf(c.keys.prefix, kv))
		}
		count += int64(len(resp.Kvs))
		if !resp.More || len(resp.Kvs) == 0 {
			return rev, count, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// get is every request to etcd but the watch: linearizable, bounded in time, and noted.
func (c *Catalog) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	resp, err := c.client.Get(bounded, key, opts...)
	c.health.note(ctx, err)
	return resp, err
}
