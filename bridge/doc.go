// Package bridge reads a source Milvus and publishes what changes there as ordered events on a task's stream.
//
// In flow, for each task: one reader per physical queue channel (package mq) and the source's meta in etcd (package
// catalog). Out: the events of package jetstream, each once, in an order that a target may apply as it comes.
//
//	queue channel ─▶ window (cut at time ticks, sort) ─┐
//	queue channel ─▶ window ───────────────────────────┼─▶ sequencer (ledger, barriers, lanes) ─▶ publisher
//	etcd catalogue ────────────────────────────────────┘
//
// The bridge keeps no position of its own: the last event of a channel says where reading goes on (Resume), so it moves
// atomically with the data. What has been published of the source's schema, the ledger, can be rebuilt from the stream.
// The package's DESIGN.md says why it is exact.
package bridge
