// Package process is what all long-running verbs of the binary have in common: one NATS connection, the buckets, the
// metrics server, and Parts (control, bridges, workers) that run side by side until the process is told to stop.
//
// A process does not end because something that it needs is away. It waits for NATS, and a Part whose Run returns an
// error is run again after a pause; what it waits for is in its log and in /readyz. When told to stop it has its Parts
// finish what is in flight and give up their leases, and it does not wait for ever.
package process
