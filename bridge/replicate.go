package bridge

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"

	"github.com/cespare/xxhash/v2"
	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/mq"
	"kitestream/jetstream"
)

// A Milvus's proxies also say what was asked of them on a channel of their own, <cluster>-replicate-msg: the requests
// themselves, one a message, without time ticks, and not at all where sending failed (milvus-wire.md, section 3; seen on 2.3.5, which
// says flushes only). Most of it stands in etcd, which is the authority and as prompt. What stands nowhere else is taken from here: flushes and passwords.
// A source that has no such channel is as good: its reader waits for one, creates none, and nothing waits for it.

// sideChannel is the source's replicate channel as a task reads it.
type sideChannel struct {
	name string
	in   chan mq.Message
	head *mq.Message // taken from in, and its time has not come
	last mq.Position // of the last message that is done with; empty: none yet
}

// sideAhead is how many messages are read ahead. The channel has one for each request of a user.
const sideAhead = 64

// channelName is what a Milvus calls its channels of rows; the cluster's part comes first. Pre-created topics have names of
// their own, which do not tell how the replicate channel is called: then there is none.
var channelName = regexp.MustCompile(`^(.+)-rootcoord-dml_\d+$`)

// openSide begins to read the replicate channel as soon as a channel of rows tells its name. A task reads it from what was
// newest when it first did, and from its last event on when it goes on.
func (s *sequencer) openSide(ctx context.Context) error {
	if s.side != nil {
		return nil
	}
	for name := range s.channels {
		m := channelName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		side := &sideChannel{name: m[1] + "-replicate-msg", in: make(chan mq.Message, sideAhead)}
		from, err := s.sideBegin(ctx, side.name)
		if err != nil {
			s.log.Debug("replicate channel is not read yet", keyChannel, side.name, keyError, err)
			return ctx.Err() // asked again at the next turn
		}
		s.side = side
		s.startSide(side, from)
		return nil
	}
	return nil
}

// sideBegin is the message behind which the task reads the channel; empty: from its oldest one on.
func (s *sequencer) sideBegin(ctx context.Context, name string) (mq.Position, error) {
	at, err := s.lastOf(ctx, name)
	if err != nil || at != "" {
		return at, err
	}
	if s.ledger.side != nil {
		return *s.ledger.side, nil
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	if at, err = s.queue.Last(ctx, name); err != nil {
		return "", err
	}
	s.ledger.side = &at
	s.progress.dirty()
	return at, nil
}

// read reads the channel behind a message until ctx ends. A gap loses what it loses: it is said, and reading goes on.
func (c *sideChannel) read(ctx context.Context, behind mq.Position, s *sequencer) error {
	for {
		err := c.readFrom(ctx, behind, s)
		if _, gap := asGap(err); !gap || ctx.Err() != nil {
			return ctx.Err() // a position that can't be read: nothing depends on this channel
		}
		s.log.Warn("flushes, and passwords of users, may be missing on the targets", keyChannel, c.name, keyError, err)
		behind = ""
	}
}

func (c *sideChannel) readFrom(ctx context.Context, behind mq.Position, s *sequencer) error {
	r, err := s.queue.Open(ctx, c.name, behind)
	if err != nil {
		s.log.Warn("replicate channel can't be read", keyChannel, c.name, keyError, err)
		return err
	}
	defer func() { _ = r.Close() }() // the broker frees what a reader had there
	for {
		m, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if m.Position == behind {
			continue
		}
		select {
		case c.in <- m:
			s.notify()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// replicated publishes what has come on the replicate channel and whose time has.
func (s *sequencer) replicated(ctx context.Context) error {
	if err := s.openSide(ctx); err != nil || s.side == nil {
		return err
	}
	for {
		if s.side.head == nil {
			select {
			case m := <-s.side.in:
				s.side.head = &m
			default:
				return nil
			}
		}
		wait, err := s.side.publish(ctx, s, s.side.head)
		if wait || err != nil {
			return err
		}
		s.side.last, s.side.head = s.side.head.Position, nil
	}
}

// publish makes events of a message, or says that its time has not come.
func (c *sideChannel) publish(ctx context.Context, s *sequencer, m *mq.Message) (wait bool, err error) {
	ch, err := peek(*m)
	if err != nil {
		s.log.Warn("message of the replicate channel can't be read", keyChannel, c.name, "position", string(m.Position), keyError, err)
		return false, nil
	}
	s.metrics.read.WithLabelValues(s.task.Name, ch.kind.String()).Inc()
	switch ch.kind {
	case commonpb.MsgType_Flush:
		var req milvuspb.FlushRequest
		if c.readable(s, m, &req) {
			return c.flush(ctx, s, &req, sideMessage{m.Position, ch.ts})
		}
	case commonpb.MsgType_CreateCredential:
		var req milvuspb.CreateCredentialRequest
		if s.task.RBAC && c.readable(s, m, &req) {
			return false, c.password(ctx, s, &milvuspb.UpdateCredentialRequest{Username: req.GetUsername(), NewPassword: req.GetPassword()}, sideMessage{m.Position, ch.ts})
		}
	case commonpb.MsgType_UpdateCredential:
		var req milvuspb.UpdateCredentialRequest
		if s.task.RBAC && c.readable(s, m, &req) {
			return false, c.password(ctx, s, &req, sideMessage{m.Position, ch.ts})
		}
	}
	return false, nil
}

// sideMessage is where a message stands, and when it was sent.
type sideMessage struct {
	at mq.Position
	ts uint64
}

func (c *sideChannel) readable(s *sequencer, m *mq.Message, to proto.Message) bool {
	err := proto.Unmarshal(m.Payload, to)
	if err != nil {
		s.log.Warn("message of the replicate channel can't be read", keyChannel, c.name, "position", string(m.Position), keyError, err)
	}
	return err == nil
}

// password publishes a user's password, sealed. Without a key it does not; the user is made from the target's users_file then, or
// said to have no password.
func (c *sideChannel) password(ctx context.Context, s *sequencer, req *milvuspb.UpdateCredentialRequest, m sideMessage) error {
	if req.GetUsername() == userRoot {
		return nil
	}
	if s.secret == nil {
		s.log.Warn("a user's password is not replicated: give the bridge and the workers KITESTREAM_SECRET_KEY_FILE", "user", req.GetUsername())
		return nil
	}
	body, err := proto.Marshal(&milvuspb.UpdateCredentialRequest{
		Username: req.GetUsername(), OldPassword: s.sealed(req.GetOldPassword()), NewPassword: s.sealed(req.GetNewPassword()),
	})
	if err != nil {
		return err
	}
	return s.hand(ctx, &jetstream.Event{
		ID:   fmt.Sprintf("%s:%d:%016x", jetstream.UpdateCredential, m.ts, xxhash.Sum64String(req.GetUsername())),
		Kind: jetstream.UpdateCredential, TS: m.ts, Channel: c.name, Lane: jetstream.SettingsLane, Position: string(m.at), Source: s.task.Source, Body: body,
	})
}

// sealed seals a password, which is in base64 in a request; no password stays none.
func (s *sequencer) sealed(password string) string {
	if password == "" {
		return ""
	}
	if plain, err := base64.StdEncoding.DecodeString(password); err == nil {
		password = string(plain)
	}
	return s.secret.Seal(password)
}

// flush publishes a flush when all rows of before are published.
func (c *sideChannel) flush(ctx context.Context, s *sequencer, req *milvuspb.FlushRequest, m sideMessage) (wait bool, err error) {
	cols := s.flushed(req)
	for _, col := range cols {
		if !s.allReached(col, m.ts) {
			return true, nil
		}
	}
	for _, col := range cols {
		if err := c.publishFlush(ctx, s, col, m); err != nil {
			return false, err
		}
	}
	return false, nil
}

// flushed are the followed collections that the request names: by the names that they have now, or that they were
// published under.
func (s *sequencer) flushed(req *milvuspb.FlushRequest) (out []*ledgerCollection) {
	db := req.GetDbName()
	if db == "" {
		db = defaultDatabase
	}
	v := s.meta.View()
	for _, name := range req.GetCollectionNames() {
		want := jetstream.QualifiedName{Database: db, Collection: name}
		for id, col := range s.ledger.collections {
			now, known := nameOf(v, id)
			if col.Stopped == "" && (known != nil && now == want || known == nil && col.qualified() == want) {
				out = append(out, col)
			}
		}
	}
	return out
}

func (c *sideChannel) publishFlush(ctx context.Context, s *sequencer, col *ledgerCollection, m sideMessage) error {
	body, err := proto.Marshal(&milvuspb.FlushRequest{DbName: col.Database, CollectionNames: []string{col.Name}})
	if err != nil {
		return err
	}
	return s.hand(ctx, &jetstream.Event{
		ID: fmt.Sprintf("%s:%d", schemaID(jetstream.Flush, col.ID), m.ts), Kind: jetstream.Flush, TS: m.ts, Channel: c.name, Lane: jetstream.AllLanes,
		Database: col.Database, DatabaseID: col.DatabaseID, Collection: col.Name, CollectionID: col.ID,
		Position: string(m.at), Source: s.task.Source, Body: body,
	})
}

// lastPosition is where the message stands of which a task's last event of a channel was made; empty when there is none.
func (b *Bridge) lastPosition(ctx context.Context, channel string) (mq.Position, error) {
	task := b.cfg.Task.Spec.Name
	e, err := jetstream.LastEvent(ctx, b.cfg.JS, task, jetstream.ChannelSubjects(task, channel))
	if errors.Is(err, jetstream.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the last event of channel %s: %w", channel, err)
	}
	return mq.Position(e.Position), nil
}
