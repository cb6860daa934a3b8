// Package natsd is the NATS server inside `kitestream up`: JetStream on disk, so that one process and one folder are
// all that a single machine needs. Start returns when it takes clients; it installs no signal handlers and stops when
// told to, which is after everything that uses it.
package natsd
