package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	// fenceChannel stands in Event.Channel of fence events, which come from no channel of the source.
	fenceChannel = "fence"
	// writerPrefix begins the subjects on which events are sent to the stream: ksw.<task>.<writer>.<rest>. The stream
	// listens to one writer only, and stores the event under ks.<task>.<rest>.
	writerPrefix = "ksw"
	// noWriter is the writer of a stream that nobody has taken over.
	noWriter = "none"
	// fenceRetry is how long a take-over waits before it tries again what did not work.
	fenceRetry = 250 * time.Millisecond
	// fenceTimeout ends a try whose answers don't come.
	fenceTimeout = 3 * time.Second
)

// writerSubjects is all that the writer sends.
func writerSubjects(task, writer string) string {
	return writerPrefix + "." + token(task) + "." + writer + ".>"
}

// writerSubject is the subject on which the writer sends what is to be stored under the subject.
func writerSubject(task, writer, subject string) string {
	return writerPrefix + "." + token(task) + "." + writer + strings.TrimPrefix(subject, subjectPrefix+"."+token(task))
}

// writerTransform has the stream store what any writer sends under the event's own subject. It names no writer: events
// may still be in the stream's queue when the writer changes.
func writerTransform(task string) *natsjs.SubjectTransformConfig {
	return &natsjs.SubjectTransformConfig{Source: writerSubjects(task, "*"), Destination: StreamSubjects(task)}
}

// fence is one take-over of a stream. When it is up, nothing that an earlier publisher has sent or will send is stored.
//
// Guarantee 4: one writer. An expected last sequence alone does not fence a publisher that has several events on the way:
// if something else is stored where its next event belongs, that one is refused, but the one behind it expects exactly
// this last sequence and would be stored, leaving a hole. So a take-over makes the stream listen to other subjects, on
// which nobody but the new publisher sends, and marks the place with a fence event.
type fence struct {
	js     natsjs.JetStream
	task   string
	holder string
	epoch  uint64
	log    *slog.Logger
}

// taken is a stream that was taken over.
type taken struct {
	writer  string    // the new publisher's
	created time.Time // the stream's
	last    uint64    // the fence event's sequence
}

// raise puts the fence up. It goes on trying until ctx ends; ErrFenced if a later holder's fence is there already.
func (f *fence) raise(ctx context.Context) (taken, error) {
	for said := false; ; {
		var t taken
		err := attempt(ctx, f.js.Conn(), fenceTimeout, func(ctx context.Context) (err error) {
			t, err = f.tryRaise(ctx)
			return err
		})
		if err == nil || hopeless(err) {
			return t, err
		}
		if ctx.Err() != nil {
			return t, fmt.Errorf("%w (after %w)", ctx.Err(), err)
		}
		if !said {
			f.log.Warn("taking the stream over, trying again", "task", f.task, "error", err)
			said = true
		}
		select {
		case <-time.After(fenceRetry):
		case <-ctx.Done():
		}
	}
}

// tryRaise uses a writer of its own: should its change of the stream be carried out late, long given up, it lets nobody in.
func (f *fence) tryRaise(ctx context.Context) (taken, error) {
	s, err := openStream(ctx, f.js, f.task)
	if err != nil {
		return taken{}, err
	}
	if err := f.checkEpoch(ctx, s); err != nil {
		return taken{}, err
	}
	t := taken{writer: nuid.Next(), created: s.CachedInfo().Created}
	cfg := s.CachedInfo().Config
	cfg.Subjects = []string{writerSubjects(f.task, t.writer)}
	if err := updateStream(ctx, f.js, cfg); err != nil {
		return taken{}, err
	}
	// A later holder may have been faster. From here on it could not store its fence any more.
	if err := f.checkEpoch(ctx, s); err != nil {
		return taken{}, err
	}
	t.last, err = f.mark(ctx, s, t.writer)
	return t, err
}

// checkEpoch refuses to fence behind a later holder's fence.
func (f *fence) checkEpoch(ctx context.Context, s natsjs.Stream) error {
	m, err := s.GetLastMsgForSubject(ctx, ChannelSubjects(f.task, fenceChannel))
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read last fence: %w", err)
	}
	id := m.Header.Get(nats.MsgIdHdr)
	if epoch := fenceEpoch(id); epoch > f.epoch {
		name := StreamName(f.task)
		return fmt.Errorf("stream %s was taken over in epoch %d (%s), this holder's is %d (if the leases were reset by hand: nats stream purge %s --subject '%s'): %w",
			name, epoch, id, f.epoch, name, ChannelSubjects(f.task, fenceChannel), ErrFenced)
	}
	return nil
}

// mark stores the fence event behind all that the stream holds. What the writers before had sent in time may still come in
// before it, never behind it.
func (f *fence) mark(ctx context.Context, s natsjs.Stream, writer string) (uint64, error) {
	id := fmt.Sprintf("fence:%d:%s:%s", f.epoch, f.holder, writer)
	e := Event{ID: id, Kind: Fence, Channel: fenceChannel, Lane: NoLane, TS: uint64(time.Now().UnixMilli()) << 18}
	for {
		info, err := s.Info(ctx)
		if err != nil {
			return 0, fmt.Errorf("look at stream before fencing: %w", err)
		}
		m := e.Msg(f.task)
		m.Subject = writerSubject(f.task, writer, m.Subject)
		ack, err := f.js.PublishMsg(ctx, m, natsjs.WithExpectLastSequence(info.State.LastSeq), natsjs.WithRetryAttempts(0))
		switch {
		case err == nil:
			return ack.Sequence, nil
		case !isCode(err, natsjs.JSErrCodeStreamWrongLastSequence):
			return 0, fmt.Errorf("publish fence: %w", err)
		}
	}
}

// fenceEpoch is the epoch that stands in a fence event's id, 0 in any other id.
func fenceEpoch(id string) uint64 {
	rest, ok := strings.CutPrefix(id, "fence:")
	if !ok {
		return 0
	}
	epoch, _, _ := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(epoch, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func isCode(err error, code natsjs.ErrorCode) bool {
	var api *natsjs.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}

// hopeless reports whether trying again can't help.
func hopeless(err error) bool {
	return errors.Is(err, ErrFenced) || errors.Is(err, ErrStreamGone) || errors.Is(err, ErrTooLarge) ||
		errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionDraining)
}
