package catalog

import clientv3 "go.etcd.io/etcd/client/v3"

// ViewOf is the View of a listing that a test made itself.
func ViewOf(prefix string, resp *clientv3.GetResponse) *View {
	e := newModel(prefix).edit()
	for _, kv := range resp.Kvs {
		e.add(changeOf(prefix, kv))
	}
	return e.finish(resp.Header.Revision)
}

// Miscount makes the catalogue believe that there is one key more than there is, as if it had missed an event.
func (c *Catalog) Miscount() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
}
