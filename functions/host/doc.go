// Package host runs what a process has taken over by lease: bridges of tasks (Bridges) and lanes of targets (Lanes).
// Any number of processes may run the same; each bridge and each lane has one holder at a time, and moves to another
// process when its holder goes.
package host
