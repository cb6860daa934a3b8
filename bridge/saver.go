package bridge

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/bridge/catalog"
	"kitestream/bridge/mq"
	"kitestream/jetstream"
)

// saver keeps the ledger and the channels' resume points in a KV bucket, some moments behind. Both only shorten the
// next start: the ledger is the stream's schema events up to a sequence, and the events carry their resume points.
// What it writes is fenced by the records' revisions, so that a bridge that was taken over can't take them back.
type saver struct {
	kv        natsjs.KeyValue
	task      string
	epoch     uint64
	mu        sync.Mutex        // guards revisions and resumes, and lets one write at a time
	revisions map[string]uint64 // of the records, as last read or written
	resumes   map[string]Resume // as last read or written
	last      time.Time
	jobs      chan saveJob
	begun     atomic.Int64 // how often begin was called

	kept atomic.Uint64 // Kept of the last record that was written, or loaded
}

type saveJob struct {
	ledger  *savedLedger // nil: unchanged
	resumes map[string]Resume
	begun   int64  // when they were taken: a channel that has been opened since is not among them
	seq     uint64 // of the stream that they cover
	keep    bool   // the ledger says all that a bridge would look for on the stream up to there
}

// savedResumes is the record of the channels' resume points.
type savedResumes struct {
	Epoch    uint64            `json:"epoch"`
	Channels map[string]string `json:"channels"`
}

// saveEvery is how far the saved state may be behind.
const saveEvery = time.Second

// savedLedger is the ledger's record.
type savedLedger struct {
	Epoch       uint64              `json:"epoch"` // of the lease of the bridge that wrote it
	Version     int                 `json:"version"`
	Seq         uint64              `json:"seq"`            // every schema event up to here is in it
	Kept        uint64              `json:"kept,omitempty"` // and, up to here, all that a bridge would look for on the stream
	Databases   []*ledgerDatabase   `json:"databases"`
	Collections []*ledgerCollection `json:"collections"`
	Aliases     []ledgerAlias       `json:"aliases,omitempty"`
	Side        *mq.Position        `json:"side,omitempty"`
	Access      savedAccess         `json:"access,omitzero"`
}

type ledgerAlias struct {
	DatabaseID int64  `json:"database_id"`
	Name       string `json:"name"`
	Collection int64  `json:"collection"`
}

// ledgerVersion is that of a ledger that knows settings, users and roles. One that does not is made anew from the stream.
const ledgerVersion = 3

func newSaver(kv natsjs.KeyValue, task string, epoch uint64) *saver {
	return &saver{kv: kv, task: task, epoch: epoch, revisions: map[string]uint64{}, jobs: make(chan saveJob, 16)}
}

func (v *saver) ledgerKey() string  { return "ledger." + v.task }
func (v *saver) resumesKey() string { return "resumes." + v.task }

// load reads the ledger, with the sequence up to which it knows the stream, and the channels' resume points.
func (v *saver) load(ctx context.Context) (*ledger, uint64, map[string]Resume, error) {
	l, resumes := newLedger(), map[string]Resume{}
	var rec savedLedger
	if err := v.get(ctx, v.ledgerKey(), &rec); err != nil {
		return nil, 0, nil, err
	}
	if rec.Version != ledgerVersion {
		for _, c := range rec.Collections {
			l.stops[c.ID] = c.Stopped
		}
		rec = savedLedger{}
	}
	l.side = rec.Side
	for _, d := range rec.Databases {
		l.databases[d.ID] = d
	}
	for _, c := range rec.Collections {
		if c.Partitions == nil {
			c.Partitions = map[int64]string{}
		}
		l.collections[c.ID] = c
	}
	for _, a := range rec.Aliases {
		l.aliases[catalog.AliasKey{DatabaseID: a.DatabaseID, Name: a.Name}] = a.Collection
	}
	l.access = rec.Access.loaded()
	var saved savedResumes
	if err := v.get(ctx, v.resumesKey(), &saved); err != nil {
		return nil, 0, nil, err
	}
	for name, t := range saved.Channels {
		r, err := ParseResume(t)
		if err != nil {
			return nil, 0, nil, fmt.Errorf("record %s: channel %s: %w", v.resumesKey(), name, err)
		}
		resumes[name] = r
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.resumes = resumes
	v.kept.Store(rec.Kept)
	return l, rec.Seq, maps.Clone(resumes), nil
}

// points are the resume points from which a bridge that starts now would go on, or from later ones.
func (v *saver) points() map[string]Resume {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.resumes)
}

// get reads one record; one that is not there leaves `to` as it is.
func (v *saver) get(ctx context.Context, key string, to any) error {
	e, err := v.kv.Get(ctx, key)
	if errors.Is(err, natsjs.ErrKeyNotFound) {
		v.revisions[key] = 0
		return nil
	}
	if err != nil {
		return fmt.Errorf("read record %s: %w", key, err)
	}
	v.revisions[key] = e.Revision()
	z, err := gzip.NewReader(bytes.NewReader(e.Value()))
	if err != nil {
		return fmt.Errorf("read record %s: %w", key, err)
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxRecord))
	if err != nil {
		return fmt.Errorf("read record %s: %w", key, err)
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("read record %s: %w", key, err)
	}
	return nil
}

// maxRecord bounds an unpacked record: 10,000 collections need some megabytes.
const maxRecord = 256 << 20

// put writes a record, unless a bridge of a later epoch has written it since (Guarantee 4).
func (v *saver) put(ctx context.Context, key string, rec any) error {
	raw, err := pack(rec)
	if err != nil {
		return fmt.Errorf("write record %s: %w", key, err)
	}
	rev, err := v.replace(ctx, key, raw)
	if errors.Is(err, natsjs.ErrKeyExists) || errors.Is(err, natsjs.ErrKeyRevisionMismatch) {
		// Another's; or our own, of which the answer was lost.
		var was struct {
			Epoch uint64 `json:"epoch"`
		}
		known := v.revisions[key] != 0
		if err := v.get(ctx, key, &was); err != nil {
			return err
		}
		if was.Epoch > v.epoch || known && v.revisions[key] == 0 { // or removed: the task was deleted
			return fmt.Errorf("write record %s: %w", key, jetstream.ErrFenced)
		}
		rev, err = v.replace(ctx, key, raw)
	}
	if err != nil {
		return fmt.Errorf("write record %s: %w", key, err)
	}
	v.revisions[key] = rev
	return nil
}

// replace writes over the known revision. Without one, there is none, or the mark that an earlier task of the name left
// when it was deleted, which only Create writes over.
func (v *saver) replace(ctx context.Context, key string, raw []byte) (uint64, error) {
	if rev := v.revisions[key]; rev != 0 {
		return v.kv.Update(ctx, key, raw, rev)
	}
	return v.kv.Create(ctx, key, raw)
}

// pack makes a record: JSON, compressed, for a value may be no larger than a message and clusters have many collections.
func pack(rec any) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := errors.Join(json.NewEncoder(z).Encode(rec), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (v *saver) due() bool { return time.Since(v.last) >= saveEvery }

// save takes the sequencer's state now, to be written when all that went before is on the stream; keep says that it is from
// sequencer.keep, and all of it. Only the sequencer's goroutine calls it.
func (v *saver) save(s *sequencer, keep bool) {
	v.last = time.Now()
	var led *savedLedger
	if s.progress.takeDirty() {
		led = s.ledger.saved(v.epoch)
	}
	s.pub.Mark(func(seq uint64) {
		if led != nil {
			if led.Seq, led.Kept = seq, v.kept.Load(); keep {
				led.Kept = seq
			}
		}
		job := saveJob{ledger: led, begun: v.begun.Load(), seq: seq, keep: keep}
		job.resumes = s.progress.resumes()
		select {
		case v.jobs <- job:
		default: // NATS is slow; the next one says more
			if led != nil {
				s.progress.dirty()
			}
		}
	})
}

// saved is a copy of the ledger as a record.
func (l *ledger) saved(epoch uint64) *savedLedger {
	rec := &savedLedger{Epoch: epoch, Version: ledgerVersion, Side: l.side}
	for _, id := range slices.Sorted(maps.Keys(l.databases)) {
		rec.Databases = append(rec.Databases, l.databases[id])
	}
	for _, id := range slices.Sorted(maps.Keys(l.collections)) {
		c := *l.collections[id]
		c.Partitions, c.Gone = maps.Clone(c.Partitions), slices.Clone(c.Gone)
		rec.Collections = append(rec.Collections, &c)
	}
	rec.Access = l.access.saved()
	for _, k := range l.sortedAliases() {
		rec.Aliases = append(rec.Aliases, ledgerAlias{k.DatabaseID, k.Name, l.aliases[k]})
	}
	return rec
}

// run writes what save has taken. A NATS that does not answer is no reason to stop: the state is in the stream.
func (v *saver) run(ctx context.Context, warn func(error)) error {
	for {
		select {
		case j := <-v.jobs:
			if err := v.write(ctx, j); errors.Is(err, jetstream.ErrFenced) {
				return err
			} else if err != nil {
				warn(err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin writes the resume points at once: a channel's first one is nowhere else until it has published something.
func (v *saver) begin(ctx context.Context, resumes map[string]Resume) error {
	v.begun.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.putResumes(ctx, resumes)
}

// putResumes writes the record of resume points; mu is held.
func (v *saver) putResumes(ctx context.Context, resumes map[string]Resume) error {
	rec := savedResumes{Epoch: v.epoch, Channels: make(map[string]string, len(resumes))}
	for name, at := range resumes {
		rec.Channels[name] = at.String()
	}
	if err := v.put(ctx, v.resumesKey(), rec); err != nil {
		return err
	}
	v.resumes = resumes
	return nil
}

// finish writes what save has taken, before the end.
func (v *saver) finish(ctx context.Context) error {
	for {
		select {
		case j := <-v.jobs:
			if err := v.write(ctx, j); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (v *saver) write(ctx context.Context, j saveJob) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // half a write helps nobody
	defer cancel()
	v.mu.Lock()
	defer v.mu.Unlock()
	if j.ledger != nil {
		if err := v.put(ctx, v.ledgerKey(), j.ledger); err != nil {
			return err
		}
	}
	if j.begun != v.begun.Load() {
		return nil // begin wrote what is newer, and a channel's only resume point
	}
	err := v.putResumes(ctx, j.resumes)
	if err == nil && j.keep && j.ledger != nil {
		v.kept.Store(j.seq)
	}
	return err
}
