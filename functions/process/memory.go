package process

import (
	"os"
	"runtime/debug"
)

// Where on garbage is collected more eagerly, in bytes. What a bridge or a worker holds is bounded (windows, batches, what is
// in flight: some 60 MB at the fastest), and a NATS server in the process has the blocks that it reads besides (some 256 MB, for
// ten seconds); the rest would be garbage that waits.
const (
	SoftMemory       = 128 << 20 // of a process that does nothing but bridge or apply
	SoftMemoryServer = 512 << 20 // of one with a NATS server in it
)

// KeepMemory has the process stay small at full speed. GOMEMLIMIT, where it is set, says otherwise. Measured on a backlog of
// 1 GiB (test/bench, TestRead): a bridge is 180 MB resident at most with it, 320 MB without, with no difference in speed; and on
// catching up with 256 MiB `up` is 1.1 GB without.
func KeepMemory(limit int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
}
