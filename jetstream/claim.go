package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// laneKind is what the keys of lane checkpoints begin with.
const laneKind = "lane"

// redeliverAfter is the consumers' AckWait. Nothing relies on it: whoever takes a lane over, or lost deliveries with
// its connection, makes a new consumer from the floor. So it is as long as a target may be down.
const redeliverAfter = 24 * time.Hour

// laneRecord is the checkpoint of a lane of a target, changed by compare-and-set only.
type laneRecord struct {
	Consumer string `json:"consumer"` // empty: nobody has opened the lane yet, or since it was rewound
	Epoch    uint64 `json:"epoch"`    // of the holder's lease
	Session  string `json:"session"`  // of the holder's Lane
	// Floor is where the consumer started from, or later: the consumer's own ack floor may be ahead of it.
	Floor uint64 `json:"floor"`
}

func (r laneRecord) check() error {
	if r.Consumer == "" && r.Session != "" {
		return nil
	}
	c, err := parseConsumerName(r.Consumer)
	if err != nil {
		return err
	}
	if c.epoch != r.Epoch || r.Session == "" {
		return fmt.Errorf("consumer %q is not of epoch %d, or no session", r.Consumer, r.Epoch)
	}
	return nil
}

// consumerName is the name of a lane's consumer, <target>_<lane>_<epoch>_<generation>. Every holder has a consumer of
// its own, and another whenever it has to begin anew, so that what is meant for an earlier one finds nobody.
type consumerName struct {
	target            string
	lane              int
	epoch, generation uint64
}

func (c consumerName) String() string {
	return fmt.Sprintf("%s_%d_%d_%d", token(c.target), c.lane, c.epoch, c.generation)
}

func (c consumerName) sameLane(o consumerName) bool { return c.target == o.target && c.lane == o.lane }

func (c consumerName) before(o consumerName) bool {
	return c.epoch < o.epoch || c.epoch == o.epoch && c.generation < o.generation
}

// parseConsumerName reads back what String wrote; target names may contain '_'. The error wraps ErrMalformed.
func parseConsumerName(s string) (consumerName, error) {
	bad := fmt.Errorf("%q is not target_lane_epoch_generation: %w", s, ErrMalformed)
	parts := strings.Split(s, "_")
	if len(parts) < 4 {
		return consumerName{}, bad
	}
	n := len(parts) - 3
	target, err := untoken(strings.Join(parts[:n], "_"))
	lane, err1 := strconv.Atoi(parts[n])
	epoch, err2 := strconv.ParseUint(parts[n+1], 10, 64)
	generation, err3 := strconv.ParseUint(parts[n+2], 10, 64)
	c := consumerName{target, lane, epoch, generation}
	if err := errors.Join(err, err1, err2, err3); err != nil || lane < 0 || c.String() != s {
		return consumerName{}, bad
	}
	return c, nil
}

// claim is a Lane's hold on the lane's record. Who holds the record may ack; everybody else is fenced.
type claim struct {
	js      natsjs.JetStream
	kv      natsjs.KeyValue
	stream  natsjs.Stream
	id      LaneID
	epoch   uint64
	session string

	mu       sync.Mutex // one change of the record at a time
	rec      laneRecord
	revision uint64
}

func newClaim(ctx context.Context, js natsjs.JetStream, kv natsjs.KeyValue, id LaneID, epoch uint64) (*claim, error) {
	s, err := js.Stream(ctx, StreamName(id.Target.Task.Name))
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return nil, fmt.Errorf("stream %s: %w", StreamName(id.Target.Task.Name), ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", StreamName(id.Target.Task.Name), err)
	}
	return &claim{js: js, kv: kv, stream: s, id: id, epoch: epoch, session: nuid.Next()}, nil
}

// take makes a consumer from the lane's floor, the highest that anything durable knows and at least the given one, and
// records it as the lane's. It is for the first time as for every new beginning. ErrFenced: the lane has a later holder.
func (c *claim) take(ctx context.Context, floor uint64) (natsjs.Consumer, uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		rec, revision, err := loadRecord[laneRecord](ctx, c.kv, c.id.record(laneKind))
		if err != nil {
			return nil, 0, err
		}
		if err := c.fenced(rec); err != nil {
			return nil, 0, err
		}
		known, err := durableFloor(ctx, c.kv, c.stream, c.id, rec)
		if err != nil {
			return nil, 0, err
		}
		floor = max(floor, known)
		name := consumerName{target: c.id.Target.Name, lane: c.id.Lane, epoch: c.epoch}
		if last, err := parseConsumerName(rec.Consumer); err == nil && last.epoch == c.epoch {
			name.generation = last.generation + 1
		}
		cons, err := c.makeConsumer(ctx, &name, floor)
		if err != nil {
			return nil, 0, err
		}
		rec = laneRecord{Consumer: name.String(), Epoch: c.epoch, Session: c.session, Floor: floor}
		err = c.store(ctx, rec, revision)
		if err == nil {
			return cons, floor, nil
		}
		_ = c.stream.DeleteConsumer(ctx, name.String()) // if it stays, a later sweep deletes it
		if !errors.Is(err, ErrConflict) {
			return nil, 0, err
		}
	}
}

// makeConsumer makes the consumer, of the first generation that is free: an attempt that died half-way may have left
// its own.
func (c *claim) makeConsumer(ctx context.Context, name *consumerName, floor uint64) (natsjs.Consumer, error) {
	for {
		cfg := laneConsumer(c.id, floor)
		cfg.Durable = name.String()
		cons, err := c.stream.CreateConsumer(ctx, cfg)
		if errors.Is(err, natsjs.ErrConsumerExists) {
			name.generation++
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("create consumer %s: %w", name, err)
		}
		return cons, nil
	}
}

// laneConsumer is a lane's consumer from just after the floor.
func laneConsumer(id LaneID, floor uint64) natsjs.ConsumerConfig {
	return natsjs.ConsumerConfig{
		FilterSubjects: LaneSubjects(id.Target.Task.Name, id.Lane),
		DeliverPolicy:  natsjs.DeliverByStartSequencePolicy,
		OptStartSeq:    floor + 1,
		AckPolicy:      natsjs.AckAllPolicy,
		AckWait:        redeliverAfter,
		MaxDeliver:     -1,
		MaxAckPending:  -1, // a batch may be as big as it likes
	}
}

// save records the floor. ErrFenced: the lane has a later holder, and the floor is what that one says.
func (c *claim) save(ctx context.Context, floor uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if floor <= c.rec.Floor {
			return nil
		}
		rec := c.rec
		rec.Floor = floor
		err := c.store(ctx, rec, c.revision)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if err := c.reload(ctx); err != nil {
			return err
		}
	}
}

func (c *claim) reload(ctx context.Context) error {
	rec, revision, err := loadRecord[laneRecord](ctx, c.kv, c.id.record(laneKind))
	if err != nil {
		return err
	}
	if rec.Session != c.session {
		return fmt.Errorf("lane %s: %w", c.id, ErrFenced)
	}
	c.rec, c.revision = rec, revision
	return nil
}

// fenced decides whether the record shuts this claim out: before its first record by epoch, then by session.
func (c *claim) fenced(rec laneRecord) error {
	if rec.Epoch > c.epoch || c.rec.Session != "" && rec.Session != c.session {
		return fmt.Errorf("lane %s is held under epoch %d, ours is %d: %w", c.id, rec.Epoch, c.epoch, ErrFenced)
	}
	return nil
}

func (c *claim) store(ctx context.Context, rec laneRecord, revision uint64) error {
	revision, err := storeRecord(ctx, c.kv, c.id.record(laneKind), rec, revision)
	if err == nil {
		c.rec, c.revision = rec, revision
	}
	return err
}

// sweep deletes the lane's earlier consumers. Later ones, which a holder that doesn't know yet that it is fenced may
// find, it leaves alone.
func (c *claim) sweep(ctx context.Context) error {
	c.mu.Lock()
	own, err := parseConsumerName(c.rec.Consumer)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	names := c.stream.ConsumerNames(ctx)
	var old []string
	for s := range names.Name() {
		if n, err := parseConsumerName(s); err == nil && n.sameLane(own) && n.before(own) {
			old = append(old, s)
		}
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("list consumers: %w", err)
	}
	for _, s := range old {
		if err := c.stream.DeleteConsumer(ctx, s); err != nil && !errors.Is(err, natsjs.ErrConsumerNotFound) {
			return fmt.Errorf("delete consumer %s: %w", s, err)
		}
	}
	return nil
}

// durableFloor is the highest sequence up to which something durable knows the lane to be applied: its record, its
// consumer's ack floor, and the barriers it has arrived at or passed. A NATS server that is killed may forget the last
// acks of a consumer, but no write of a record, so a lane never comes to stand before a barrier again.
func durableFloor(ctx context.Context, kv natsjs.KeyValue, s natsjs.Stream, id LaneID, rec laneRecord) (uint64, error) {
	barrier, _, err := loadRecord[barrierRecord](ctx, kv, id.Target.record(barrierKind))
	if err != nil {
		return 0, err
	}
	floor := max(rec.Floor, barrier.floor(id.Lane))
	if rec.Consumer == "" {
		return floor, nil
	}
	cons, err := s.Consumer(ctx, rec.Consumer)
	if errors.Is(err, natsjs.ErrConsumerNotFound) {
		return floor, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read consumer %s: %w", rec.Consumer, err)
	}
	return max(floor, cons.CachedInfo().AckFloor.Stream), nil
}
