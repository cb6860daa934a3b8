// Package catalog knows which databases, collections, partitions, indexes and aliases a source Milvus has and what of it
// is loaded, from Milvus's own meta in etcd.
//
// What flows in are keys below {root}/{meta}/ of the source's etcd: once as a list, then as a watch. What flows out are
// Views: immutable pictures of all of it at one revision, each holding whole revisions only. Nothing is ever written to
// the source's etcd.
//
// Whoever only wants the newest View takes Catalog.View; who must not miss what Milvus has acknowledged calls
// Catalog.Sync; who waits for something takes Catalog.Changed. A Collection is to be acted on when its State is Created:
// then, and not before, its schema is complete. A Load tells the same by its own State.
//
// A value that does not decode leaves its object out of the View and stops nothing else (guarantee 6). It is counted,
// logged and listed in View.Unreadable; CollectionGone and its like tell it from an object that is gone, so that nobody
// drops on a target what merely can't be read (guarantee 5).
package catalog
