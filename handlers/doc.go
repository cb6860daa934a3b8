// Package handlers applies the events of a task to one target, and makes sure that applying them twice is the same as
// applying them once (guarantee 2).
//
// In come events in stream order, of one lane or of several: [Handlers.Apply] takes a batch of them. Out go calls to a
// [Target]: rows as upserts and deletes, folded so that of each row only the last change in the batch is sent, and
// changes of schema by one small handler for each kind, each of which makes it so and is content when it is so already.
// The client of a real target is a child package: see handlers/milvus.
//
// What fails is told apart in one place. What passes by itself is waited for; what concerns one collection stops that
// collection on that target and nothing else (guarantee 6); and when Apply returns without an error, everything in the
// batch but the collections it names has been answered for by the target, so that the batch may be acked (guarantee 1).
package handlers
