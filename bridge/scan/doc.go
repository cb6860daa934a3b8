// Package scan reads what a Milvus holds, through its own API, in the order of primary keys.
//
// In go a collection, a partition and a range of keys; out come pages of rows as the columns of an Insert message of the
// source's queue carries them, so that a row that was read and a row that was written are the same to what follows.
// A page reflects at least everything that was written up to a timestamp which the caller names.
//
// The package keeps nothing: where a reader is, is the key it has read last. Whether to try again after an error is for
// the caller to decide; IsTransient says which may pass.
package scan
