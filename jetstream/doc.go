// Package jetstream is the wire between the bridge and the handlers, and the only thing that both know: an Event, the
// subject it travels on, the stream that holds it, and what is needed to write and read that stream exactly once and
// in order through crashes of everything.
//
// A task has one stream. The bridge that holds the task's lease opens a Publisher on it: events go in, in the source's
// order, and come to stand in the stream in that order, once, whatever happens on the way; a Mark runs when all that
// was published before it is acknowledged. The stream's last events are the bridge's checkpoint (LastEvent, Scan).
// On the other side a worker that holds a lane of a target opens a Lane and is given that lane's events; the consumer's
// ack floor is the target's checkpoint. What no retry can apply is parked in a stream of its own (Park).
//
// Everything else that has to survive is in KV buckets, changed by compare-and-set only: tasks, leases, barriers,
// stopped collections, statuses. Setup makes the buckets. There is no other database.
//
// DESIGN.md beside this file says what is promised and why it is done this way.
package jetstream
