package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// metaVersion is the stream's metadata key that says which version of the wire its events are in.
const metaVersion = "kitestream.version"

// DefaultDuplicates is for how long the server itself knows an event's id again. What comes later than that is caught
// by the publisher; see DESIGN.md.
const DefaultDuplicates = 2 * time.Minute

// StreamConfig is what may be chosen about a task's stream. The zero value is the default.
type StreamConfig struct {
	Replicas   int           // copies in the NATS cluster, 1…5; default 1. More than the cluster has servers is refused by the server.
	MaxBytes   int64         // size at which the stream takes no more and the bridge waits; default no limit
	Duplicates time.Duration // the server's dedupe window, at least 100 ms; default DefaultDuplicates
}

// config is the wanted stream as data.
func (c StreamConfig) config(task string) natsjs.StreamConfig {
	want := natsjs.StreamConfig{
		Name: StreamName(task), Description: "Kitestream: events of task " + task,
		Subjects: []string{writerSubjects(task, noWriter)}, SubjectTransform: writerTransform(task),
		Storage: natsjs.FileStorage, Retention: natsjs.LimitsPolicy, Discard: natsjs.DiscardNew,
		Replicas: max(c.Replicas, 1), MaxBytes: c.MaxBytes, Duplicates: c.Duplicates,
		MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1, MaxConsumers: -1,
		// A direct get may be answered by a replica that lags behind: a bridge would take an old event for the last one.
		AllowDirect: false,
		Metadata:    map[string]string{metaVersion: strconv.Itoa(Version)},
	}
	if want.MaxBytes == 0 {
		want.MaxBytes = -1
	}
	if want.Duplicates == 0 {
		want.Duplicates = DefaultDuplicates
	}
	return want
}

// EnsureStream makes the task's stream, or brings it to the wanted settings. What can't be changed and would lose events
// is refused with an error that names it. Settings that say nothing about events, such as placement, are left alone.
//
// A stream that has to be changed is taken from its publisher, which ends with ErrStreamGone and must be opened again: no
// change of a stream is conditional, so this one could undo a take-over that comes at the same moment.
func EnsureStream(ctx context.Context, js natsjs.JetStream, task string, cfg StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	want := cfg.config(task)
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		if _, err := js.CreateStream(ctx, want); err != nil {
			return fmt.Errorf("create stream %s: %w", want.Name, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", want.Name, err)
	}
	have := s.CachedInfo().Config
	if err := checkStream(have); err != nil {
		return err
	}
	change := overlay(have, want)
	if reflect.DeepEqual(change, have) {
		return nil
	}
	change.Subjects = want.Subjects
	return updateStream(ctx, js, change)
}

// overlay is the stream as it is, with what we care for as it should be, but for the subjects, which its publisher sets.
func overlay(have, want natsjs.StreamConfig) natsjs.StreamConfig {
	c := have
	c.Description, c.Replicas, c.MaxBytes, c.Duplicates = want.Description, want.Replicas, want.MaxBytes, want.Duplicates
	c.Discard, c.DiscardNewPerSubject, c.MaxAge = want.Discard, false, 0
	c.MaxMsgs, c.MaxMsgsPerSubject, c.MaxMsgSize = want.MaxMsgs, want.MaxMsgsPerSubject, want.MaxMsgSize
	c.AllowDirect, c.SubjectTransform, c.NoAck = want.AllowDirect, want.SubjectTransform, false
	return c
}

// checkStream refuses a stream whose lasting settings are not ours.
func checkStream(have natsjs.StreamConfig) error {
	wrong := func(what string) error {
		return fmt.Errorf("stream %s is there already and %s, which can't be changed: delete it (nats stream rm %s) or name the task otherwise: %w",
			have.Name, what, have.Name, ErrExists)
	}
	version, made := have.Metadata[metaVersion]
	switch {
	case !made:
		return wrong("was not made by Kitestream")
	case version != strconv.Itoa(Version):
		return wrong(fmt.Sprintf("holds events of version %s, this program's are of version %d", version, Version))
	case have.Storage != natsjs.FileStorage:
		return wrong("is kept in memory")
	case have.PersistMode != natsjs.DefaultPersistMode:
		return wrong("acknowledges before it has written (persist mode " + have.PersistMode.String() + ")")
	case have.Retention != natsjs.LimitsPolicy:
		return wrong("forgets events by " + have.Retention.String())
	case have.Mirror != nil || len(have.Sources) > 0:
		return wrong("copies another stream")
	case have.Sealed:
		return wrong("is sealed")
	case have.DenyPurge:
		return wrong("denies purging")
	}
	return nil
}

func updateStream(ctx context.Context, js natsjs.JetStream, cfg natsjs.StreamConfig) error {
	cfg.Metadata = maps.Clone(cfg.Metadata)
	maps.DeleteFunc(cfg.Metadata, func(k, _ string) bool { return strings.HasPrefix(k, "_nats.") }) // the server's own
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("update stream %s: %w", cfg.Name, err)
	}
	return nil
}

// DeleteStream deletes the task's stream with all events. A stream that is not there is as good.
func DeleteStream(ctx context.Context, js natsjs.JetStream, task string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := js.DeleteStream(ctx, StreamName(task)); err != nil && !errors.Is(err, natsjs.ErrStreamNotFound) {
		return fmt.Errorf("delete stream %s: %w", StreamName(task), err)
	}
	return nil
}

// LastEvent is the newest event that one filter, with wildcards or without, lets through. The stream's leader answers.
// The error is ErrNotFound if there is none, ErrStreamGone if there is no stream.
func LastEvent(ctx context.Context, js natsjs.JetStream, task, filter string) (*Event, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := openStream(ctx, js, task)
	if err != nil {
		return nil, err
	}
	m, err := s.GetLastMsgForSubject(ctx, filter)
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return nil, fmt.Errorf("last event of %s: %w", filter, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read last event of %s: %w", filter, err)
	}
	e, err := ParseEvent(m.Subject, m.Header, m.Data)
	if err != nil {
		return nil, fmt.Errorf("read last event of %s at %d: %w", filter, m.Sequence, err)
	}
	e.Seq = m.Sequence
	return e, nil
}

func openStream(ctx context.Context, js natsjs.JetStream, task string) (natsjs.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := js.Stream(ctx, StreamName(task))
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return nil, fmt.Errorf("stream %s is not there: %w", StreamName(task), ErrStreamGone)
	}
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", StreamName(task), err)
	}
	return s, nil
}
