package process

import (
	"os"
	"runtime/debug"
)

// softMemory is from where on garbage is collected more eagerly, in bytes. What a bridge or a worker holds is bounded
// (windows, batches, what is in flight: some 60 MB at the fastest); the rest would be garbage that waits.
const softMemory = 128 << 20

// KeepMemory has a process that does nothing but bridge or apply stay small at full speed. GOMEMLIMIT, where it is set,
// says otherwise. Measured on a backlog of 1 GiB (test/bench, TestRead): 180 MB resident at most with it, 320 MB without, no
// difference in speed.
func KeepMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
}
