// Package control is how tasks are made, looked at and changed: a NATS micro service named "kitestream" (Service) and
// its client (Client). JSON goes in and out; a request that is refused is answered with an Error and changes nothing.
//
// The service keeps no state. Tasks are records in KV, changed by compare-and-set only, so any number of control
// processes answer at once. What a task's processes do is read from what they leave in NATS: leases, statuses, stopped
// collections and the lanes' consumers. From these facts look.go makes the View that `task get` shows and the lag
// metrics are taken from; nothing else computes lag.
//
// A task marked for deletion is taken apart by whichever control process finds it (remove.go), also when the one that
// began was killed.
package control
