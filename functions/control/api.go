package control

import (
	"time"

	"kitestream/functions/host"
	"kitestream/jetstream"
)

// Name and Version are what `nats service ls` shows.
const (
	Name    = "kitestream"
	Version = "0.1.0"
)

// The endpoints' subjects, below the group's prefix. A TaskSpec goes to task.create and task.plan, a ListRequest (or nothing) to
// task.list, a PositionRequest to task.position, a VerifyRequest to task.verify, a RewindRequest to task.rewind, a
// PromoteRequest to task.promote, a NameRequest to the others.
const (
	subjectPrefix     = Name
	subjectCreate     = "task.create"
	subjectPlan       = "task.plan"
	subjectList       = "task.list"
	subjectGet        = "task.get"
	subjectPause      = "task.pause"
	subjectResume     = "task.resume"
	subjectDelete     = "task.delete"
	subjectPosition   = "task.position"
	subjectResnapshot = "task.resnapshot"
	subjectVerify     = "task.verify"
	subjectRewind     = "task.rewind"
	subjectPromote    = "task.promote"

	subjectAddTarget    = "task.add-target"
	subjectRemoveTarget = "task.remove-target"
)

// NameRequest names the task that a request is about.
type NameRequest struct {
	Name string `json:"name"`
}

// ListRequest asks for all tasks.
type ListRequest struct{}

// CreateAnswer is the new task with the collections that it selects now.
type CreateAnswer struct {
	Task     Summary   `json:"task"`
	Resolved *Resolved `json:"resolved,omitempty"` // absent when no bridge of the source could be asked
	Note     string    `json:"note,omitempty"`     // what of the source or of targets could not be looked at, and why
}

// PlanAnswer is what a task would do. With Problems, task.create would refuse it.
type PlanAnswer struct {
	Name     string       `json:"name"`
	Resolved *Resolved    `json:"resolved,omitempty"` // absent when no bridge of the source could be asked
	Targets  []TargetPlan `json:"targets,omitempty"`  // absent when nothing is selected yet, or not known
	Problems []Problem    `json:"problems,omitempty"`
	Notes    []string     `json:"notes,omitempty"` // what could not be looked at, and why
}

// TargetPlan is what a task would do to one target.
type TargetPlan struct {
	Name        string           `json:"name"`
	URI         string           `json:"uri"`
	Note        string           `json:"note,omitempty"` // why it, or some of it, is not known
	Collections []CollectionPlan `json:"collections,omitempty"`
}

// CollectionPlan is what a task would do with one collection. Action is create, adopt (it is there, and as wanted), differs or
// refuse; with the latter two it can't be replicated, and Problems says why.
type CollectionPlan struct {
	Source   jetstream.QualifiedName `json:"source"`
	Target   jetstream.QualifiedName `json:"target"`
	Version  string                  `json:"version"` // the target's, in its own words
	Action   string                  `json:"action"`
	Loaded   bool                    `json:"loaded,omitempty"` // what is to be adopted is loaded: rows that the source does not have go when its rows are copied
	Problems []string                `json:"problems,omitempty"`
	Warnings []string                `json:"warnings,omitempty"` // what will not be as on the source
}

// Resolved says what a task's selections come to on its source.
type Resolved struct {
	Matched []jetstream.QualifiedName `json:"matched"`
	Missing []jetstream.QualifiedName `json:"missing,omitempty"` // named in full, and not there yet
	Empty   []jetstream.QualifiedName `json:"empty,omitempty"`   // patterns that nothing matches yet
}

// ListAnswer holds all tasks, by name.
type ListAnswer struct {
	Tasks []Summary `json:"tasks"`
	Note  string    `json:"note,omitempty"` // of records that can't be read; those are left out
}

// ChangeAnswer is a task after pause, resume or delete.
type ChangeAnswer struct {
	Task    Summary `json:"task"`
	Retried int     `json:"retried,omitempty"` // resume: stopped collections and refused settings that are tried again
}

// RewindRequest has a target apply again what it has applied before.
type RewindRequest struct {
	Name   string `json:"name"`
	Target string `json:"target"`
	// To is where it begins again: a sequence of the task's stream ("1200"), or a time, as RFC 3339 or as how long ago ("2h"): the
	// first event that was published then or later.
	To string `json:"to"`
}

// RewindAnswer says where the target begins again. Its workers take its lanes within seconds.
type RewindAnswer struct {
	Task      Summary   `json:"task"`
	Target    string    `json:"target"`
	Seq       uint64    `json:"seq"`       // the first event that is applied again
	Published time.Time `json:"published"` // when that was published
	Reached   uint64    `json:"reached"`   // how far the target had come
}

// Summary is a task as task.list shows it. State is one of the States below; Why says what is in the way and Do what
// can be done about it.
type Summary struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"` // tells the lives of a name apart
	Source  string    `json:"source"`
	State   State     `json:"state"`
	Why     string    `json:"why,omitempty"`
	Do      string    `json:"do,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Lanes   int       `json:"lanes"`
	Targets []string  `json:"targets"`
	Created time.Time `json:"created"`
}

// State is what a task, a target or a collection is doing. There is no state without a reason to be in it: everything
// but Running comes with a Why.
type State string

// The states.
const (
	Running  State = "running"
	Waiting  State = "waiting"  // goes on by itself when what Why names is there
	Paused   State = "paused"   // goes on after task.resume
	Stopped  State = "stopped"  // goes on after Do
	Deleting State = "deleting" // soon gone
)

// View is all that task.get shows.
type View struct {
	Summary
	Select     []jetstream.Selection     `json:"select"`
	Bridge     BridgeView                `json:"bridge"`
	Resolved   []jetstream.QualifiedName `json:"resolved"`          // what is being replicated
	WaitingFor []jetstream.QualifiedName `json:"waiting,omitempty"` // named in full, and not there yet on the source
	Empty      []jetstream.QualifiedName `json:"empty,omitempty"`   // patterns that nothing on the source matches yet
	Promoted   *jetstream.Promotion      `json:"promoted,omitempty"`
	Targets    []TargetView              `json:"targets"` // instead of Summary's names
}

// Lag is how far a target, or one collection on it, is behind the source. Text is for people: "0s", "12s, 340 rows",
// "paused", "stopped" or "unknown". The numbers are absent where there is nothing to say: when paused, and for Seconds
// when no bridge has ever told the source's time.
type Lag struct {
	Text    string   `json:"lag"`
	Seconds *float64 `json:"lag_seconds,omitempty"` // now, less the source time up to which everything is applied; 0 when idle
	Rows    *uint64  `json:"lag_rows,omitempty"`    // rows and keys on the stream that are not applied yet
}

// BridgeView is the reading side of a task.
type BridgeView struct {
	Holder    string    `json:"holder,omitempty"` // the process that holds the task's bridge; empty: none
	State     State     `json:"state"`
	Why       string    `json:"why,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	At        time.Time `json:"at,omitzero"`        // when the bridge last gave a sign
	Watermark time.Time `json:"watermark,omitzero"` // source time up to which everything is on the stream
	Seq       uint64    `json:"seq,omitempty"`      // last event on the stream
	Blocked   []string  `json:"blocked,omitempty"`  // channels that wait for others, and why
}

// TargetView is one target of a task.
type TargetView struct {
	Name  string    `json:"name"`
	URI   string    `json:"uri"`
	State State     `json:"state"`
	Code  string    `json:"code,omitempty"`
	Why   string    `json:"why,omitempty"`
	Do    string    `json:"do,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Lag
	Collections []CollectionView `json:"collections"`
	Lanes       []LaneView       `json:"lanes"`
	Unmet       []UnmetView      `json:"unmet,omitempty"`
	Verified    *VerifiedView    `json:"verified,omitempty"` // absent: it never was
	Rewound     *RewoundView     `json:"rewound,omitempty"`  // absent: it never was
}

// VerifiedView is how the last verification of a whole target ended, and how long ago.
type VerifiedView struct {
	jetstream.Verdict
	AgeSeconds float64 `json:"age_seconds"`
}

// RewoundView is a target's last rewind.
type RewoundView struct {
	Seq uint64    `json:"seq"` // from there on everything was applied again, or is to be
	At  time.Time `json:"at"`
}

// UnmetView is a setting that a target refused and goes on without.
type UnmetView struct {
	Database   string         `json:"database,omitempty"` // the source's name; empty for users and roles
	Collection string         `json:"collection,omitempty"`
	Kind       jetstream.Kind `json:"kind"`    // of the event that was refused
	Setting    string         `json:"setting"` // what it sets, told from others of its kind
	Code       string         `json:"code"`
	Why        string         `json:"why"`
	Do         string         `json:"do"`
	Since      time.Time      `json:"since"`
}

// CollectionView is one collection on one target.
type CollectionView struct {
	Database   string    `json:"database"`
	Collection string    `json:"collection"`
	ID         int64     `json:"id"` // the source's
	State      State     `json:"state"`
	Code       string    `json:"code,omitempty"`
	Why        string    `json:"why,omitempty"`
	Do         string    `json:"do,omitempty"`
	Since      time.Time `json:"since,omitzero"`
	Lag

	Snapshot *jetstream.SnapshotStatus `json:"snapshot,omitempty"` // the copy of existing rows; nil: there was none
}

// LaneView is one lane of one target.
type LaneView struct {
	Lane    int       `json:"lane"`
	Holder  string    `json:"holder,omitempty"` // the worker that applies it; empty: none
	State   State     `json:"state"`
	Code    string    `json:"code,omitempty"`
	Why     string    `json:"why,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Floor   uint64    `json:"floor"`   // every event of the lane up to this sequence is applied
	Pending uint64    `json:"pending"` // events that are not
}

// PositionRequest asks how far a task is.
type PositionRequest struct {
	Name string `json:"name"`

	// Sync: answer when everything that the source holds now is on the stream, with the sequences that a target has to
	// reach to have it all.
	Sync bool `json:"sync,omitempty"`
	// TimeoutMS bounds Sync. 0: a minute; an hour at most.
	TimeoutMS int64 `json:"timeout_ms,omitempty"`
	// Progress: while Sync goes on, send a message with the header HeaderProgress each second, so that the caller can
	// tell a long wait from a control process that has died. Then the answer is the first message without that header.
	Progress bool `json:"progress,omitempty"`
}

// HeaderProgress marks a message that is not the answer yet.
const HeaderProgress = host.HeaderProgress

// PositionAnswer is how far a task is. Compare positions of one ID only.
type PositionAnswer struct {
	Name     string            `json:"name"`
	ID       string            `json:"id"`
	State    State             `json:"state"`
	Channels []ChannelPosition `json:"channels"`
	Targets  []TargetPosition  `json:"targets"`
}

// ChannelPosition is how far one of the source's channels is on the stream.
type ChannelPosition struct {
	Channel   string    `json:"channel"`
	Resume    string    `json:"resume"`             // where its reading would begin again
	Watermark time.Time `json:"watermark,omitzero"` // source time up to which it is on the stream
	Error     string    `json:"error,omitempty"`
}

// TargetPosition is how far one target is.
type TargetPosition struct {
	Name    string              `json:"name"`
	Lanes   []LanePosition      `json:"lanes"`
	Stopped []StoppedCollection `json:"stopped,omitempty"`
}

// LanePosition is how far one lane of a target is. The target has all of the lane that the source held at a Sync when
// Floor, here or in a later answer, is at least Wanted.
type LanePosition struct {
	Lane    int    `json:"lane"`
	Floor   uint64 `json:"floor"`
	Pending uint64 `json:"pending"`
	Wanted  uint64 `json:"wanted,omitempty"` // with Sync
}

// StoppedCollection is a collection that a target does not follow any more.
type StoppedCollection struct {
	Database   string    `json:"database"`
	Collection string    `json:"collection"`
	Code       string    `json:"code,omitempty"`
	Reason     string    `json:"reason"`
	Since      time.Time `json:"since,omitzero"`
	Retrying   bool      `json:"retrying,omitempty"` // what was passed over is being replayed
}
