// Package verify compares a target with its source: schema, partitions, indexes, aliases, and every row bit for bit, while both
// are being written to.
//
// In goes a [Config]: a task's spec, a client of either side, and a function that waits until the target has applied all that
// the source holds. Out comes a [Report]. What differs is looked at again after another wait before it counts, so that
// what is on its way is no difference. Nothing here writes to a target: what [Config.Repair] and [Config.Restate] do, they do
// through the task's bridge, in the lanes' order.
package verify
