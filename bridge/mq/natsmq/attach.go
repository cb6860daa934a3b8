package natsmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/bridge/mq"
)

const (
	requestTimeout = 5 * time.Second
	detachTimeout  = time.Second
	// consumerLife is how long the server keeps a consumer that nobody pulls from: that of a bridge that was killed,
	// or of a reader whose caller takes nothing.
	consumerLife = time.Minute
)

// attach makes a consumer from the reader's place and a feed on it.
func (r *reader) attach(ctx context.Context) error {
	r.outage.Attempt()
	ctx, cancel := r.limit(ctx)
	defer cancel()
	if err := r.ended(ctx); err != nil { // Close may have come before it could see abort
		return err
	}
	if err := r.connect(); err != nil {
		return err
	}
	start, err := r.start(ctx)
	if err != nil {
		return err
	}
	cfg := natsjs.ConsumerConfig{
		AckPolicy: natsjs.AckNonePolicy, InactiveThreshold: consumerLife, MemoryStorage: true, Replicas: 1,
	}
	if start > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = natsjs.DeliverByStartSequencePolicy, start
	}
	cons, err := r.link.js.CreateConsumer(ctx, r.channel, cfg)
	if err != nil {
		return fmt.Errorf("create consumer on %s: %w", r.channel, r.link.explain(err))
	}
	r.consumer = cons.CachedInfo().Name
	f, err := startFeed(r.link.nc, r.channel, r.consumer, limits{r.q.cfg.PrefetchMessages, r.q.cfg.PrefetchBytes})
	if err != nil {
		return err
	}
	r.feed, r.beat = f, time.NewTicker(heartbeat)
	return nil
}

// limit is ctx with an end to how long the server may take to answer, or until interrupt.
func (r *reader) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	r.abort.Store(&cancel)
	return ctx, func() {
		r.abort.Store(nil)
		cancel()
	}
}

// removed reports whether the stream surely does not hold a message.
func (r *reader) removed(ctx context.Context, seq uint64) bool {
	ctx, cancel := r.limit(ctx)
	defer cancel()
	s, err := r.link.js.Stream(ctx, r.channel)
	if err != nil {
		return false
	}
	_, err = s.GetMsg(ctx, seq)
	return errors.Is(err, natsjs.ErrMsgNotFound)
}

// connect makes the reader's connection, once, and sees that it is up.
func (r *reader) connect() error {
	if r.link == nil {
		l, err := dial(r.q.cfg, r.log, r.interrupt)
		if err != nil {
			return err
		}
		r.link = l
	}
	r.fresh = r.link.refreshed()
	return r.link.up()
}

// start asks the stream for its state and says with which sequence to begin, 0 for the oldest. Guarantee 5: a stream
// that can't hold what the reader wants is a gap.
func (r *reader) start(ctx context.Context) (uint64, error) {
	s, err := r.link.js.Stream(ctx, r.channel)
	at := r.place.at
	switch {
	case errors.Is(err, natsjs.ErrStreamNotFound) && at.seq == 0:
		return 0, errAbsent
	case errors.Is(err, natsjs.ErrStreamNotFound): // somebody read that position, so there was a stream
		return 0, r.gap("", "the stream has been deleted")
	case err != nil:
		return 0, fmt.Errorf("look up stream %s: %w", r.channel, r.link.explain(err))
	case at.seq == 0:
		return 0, nil
	}
	state := s.CachedInfo().State
	first, last := max(state.FirstSeq, 1), state.LastSeq
	if state.Msgs == 0 {
		first = last + 1
	}
	end := at.seq // the stream must have got this far
	if at.stamp == 0 {
		end-- // the message may be yet to come
	}
	switch {
	case r.place.wanted() < first:
		return 0, r.gap(mark{seq: first}.position(), reasonRemoved)
	case last < end:
		return 0, r.gap(mark{seq: first}.position(),
			fmt.Sprintf("the stream ends at %d, so it was replaced or cut short", last))
	}
	return max(at.seq, first), nil
}

// detach drops the feed, and the consumer if the server can be told.
func (r *reader) detach() {
	if r.feed == nil {
		return
	}
	r.feed.stop()
	r.beat.Stop()
	r.feed = nil
	if !r.link.nc.IsConnected() {
		return // consumerLife ends it
	}
	ctx, cancel := context.WithTimeout(context.Background(), detachTimeout)
	defer cancel()
	err := r.link.js.DeleteConsumer(ctx, r.channel, r.consumer)
	if err != nil && !errors.Is(err, natsjs.ErrConsumerNotFound) {
		r.log.Debug("consumer left to expire", keyError, err)
	}
}

var _ mq.Reader = (*reader)(nil)
