package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// What the keys of statuses begin with.
const (
	bridgeStatusKind = "bridge"
	laneStatusKind   = "lane"
)

// BridgeStatus is what a task's bridge last said of itself. It is for people to read; nothing depends on it.
type BridgeStatus struct {
	Worker      string                   `json:"worker"`
	At          time.Time                `json:"at"`    // when it was said
	State       string                   `json:"state"` // starting, running, waiting, stopped
	Error       string                   `json:"error,omitempty"`
	Since       time.Time                `json:"since"`        // of State and Error
	WatermarkTS uint64                   `json:"watermark_ts"` // everything of the source up to this source timestamp is on the stream
	Seq         uint64                   `json:"seq"`          // stream sequence that was last acknowledged
	Channels    map[string]ChannelStatus `json:"channels,omitempty"`
	Collections []CollectionStatus       `json:"collections,omitempty"`
	Databases   []string                 `json:"databases,omitempty"`
	Waiting     []QualifiedName          `json:"waiting,omitempty"` // selected by name, and not there yet
	Empty       []QualifiedName          `json:"empty,omitempty"`   // selected by a pattern that matches nothing yet
	Blocked     []string                 `json:"blocked,omitempty"` // channels that wait for something, and for what
}

// ChannelStatus is how far one channel of the source is read.
type ChannelStatus struct {
	Resume string `json:"resume"`
	TS     uint64 `json:"ts"`
	Error  string `json:"error,omitempty"`
}

// CollectionStatus is a collection that a bridge replicates.
type CollectionStatus struct {
	ID         int64          `json:"id"`
	Database   string         `json:"database"`
	Collection string         `json:"collection"`
	State      string         `json:"state"`
	Error      string         `json:"error,omitempty"`
	Rows       map[int]uint64 `json:"rows,omitempty"` // by lane: rows and keys that were published, Event.RowSum

	Snapshot *SnapshotStatus `json:"snapshot,omitempty"` // the copy of its existing rows; nil: there was none
}

// SnapshotStatus is how far the copy of a collection's existing rows is.
type SnapshotStatus struct {
	Target  string  `json:"target,omitempty"`          // the only target that it is for; empty: it is for all
	Number  int     `json:"number"`                    // which copy of the collection it is, from 1
	Done    bool    `json:"done,omitempty"`            // all are on the stream
	Rows    int64   `json:"rows"`                      // read and published so far
	Total   int64   `json:"total,omitempty"`           // rows that there were when this bridge began; 0: not known
	Rate    float64 `json:"rows_per_second,omitempty"` // since then
	Seconds float64 `json:"seconds_left,omitempty"`    // at that rate
	Error   string  `json:"error,omitempty"`           // why it waits
}

// LaneStatusRecord is what the worker of one lane of a target last said. It is for people; checkpoints are elsewhere.
type LaneStatusRecord struct {
	Worker string           `json:"worker"`
	At     time.Time        `json:"at"`    // when it was said
	Seq    uint64           `json:"seq"`   // stream sequence of the last event that was applied
	TS     uint64           `json:"ts"`    // its source timestamp
	State  string           `json:"state"` // running, waiting, barrier, paused
	Error  string           `json:"error,omitempty"`
	Code   string           `json:"code,omitempty"`
	Since  time.Time        `json:"since"`          // of State and Error
	Rows   map[int64]uint64 `json:"rows,omitempty"` // by source collection id: rows and keys that were applied, Event.RowSum
}

func (s BridgeStatus) check() error {
	if s.Worker == "" {
		return errors.New("no worker")
	}
	return nil
}

func (s LaneStatusRecord) check() error {
	if s.Worker == "" {
		return errors.New("no worker")
	}
	return nil
}

// PutBridgeStatus keeps the status of a task's bridge instead of the one before. How often is up to the caller.
func PutBridgeStatus(ctx context.Context, kv natsjs.KeyValue, task TaskRef, s BridgeStatus) error {
	return putStatus(ctx, kv, bridgeStatusKey(task), s)
}

// BridgeStatusOf reads the last status of a task's bridge. The error wraps ErrNotFound when there is none yet.
func BridgeStatusOf(ctx context.Context, kv natsjs.KeyValue, task TaskRef) (BridgeStatus, error) {
	s, rev, err := loadRecord[BridgeStatus](ctx, kv, bridgeStatusKey(task))
	if err == nil && rev == 0 {
		err = fmt.Errorf("bridge status of %s: %w", task.Name, ErrNotFound)
	}
	return s, err
}

// PutLaneStatus keeps the status of a lane instead of the one before. How often is up to the caller.
func PutLaneStatus(ctx context.Context, kv natsjs.KeyValue, id LaneID, s LaneStatusRecord) error {
	return putStatus(ctx, kv, id.record(laneStatusKind), s)
}

// LaneStatusesOf reads the last status of each lane of a target that has one, by lane. A record that can't be read is
// left out and is in the error, beside the others.
func LaneStatusesOf(ctx context.Context, kv natsjs.KeyValue, target TargetID) (map[int]LaneStatusRecord, error) {
	entries, err := snapshot(ctx, nil, kv, target.record(laneStatusKind, "*"))
	if err != nil {
		return nil, fmt.Errorf("read lane statuses of %s: %w", target, err)
	}
	all := make(map[int]LaneStatusRecord, len(entries))
	var errs []error
	for _, e := range entries {
		lane, err := strconv.Atoi(e.Key()[strings.LastIndexByte(e.Key(), '.')+1:])
		if err != nil {
			errs = append(errs, fmt.Errorf("record %s: %w", e.Key(), ErrMalformed))
			continue
		}
		s, err := decodeRecord[LaneStatusRecord](e.Key(), e.Value())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all[lane] = s
	}
	return all, errors.Join(errs...)
}

func bridgeStatusKey(task TaskRef) string {
	return strings.Join([]string{bridgeStatusKind, token(task.Name), token(task.ID)}, ".")
}

func putStatus(ctx context.Context, kv natsjs.KeyValue, key string, s any) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode status %s: %w", key, err)
	}
	if _, err := kv.Put(ctx, key, data); err != nil {
		return fmt.Errorf("keep status %s: %w", key, err)
	}
	return nil
}
