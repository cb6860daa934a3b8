package bridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

// rows publishes the rows of an Insert or the keys of a Delete, split to lanes.
func (s *sequencer) rows(ctx context.Context, c *channel, ch *change) (wait string, err error) {
	col := s.ledger.collections[ch.collection]
	if col == nil {
		return s.unknownRows(ctx, c, ch)
	}
	if s.over(col) {
		s.metrics.passedOver.Inc()
		return "", nil
	}
	if col.Copy != nil && ch.ts <= col.Copy.Passed {
		s.metrics.covered.Inc()
		return "", nil
	}
	b, err := readBatch(ch, col)
	if err != nil {
		return "", s.parkChange(ctx, c, ch, codeUnreadable, err)
	}
	s.touch(col, &b, ch.ts)
	become, err := s.ensurePartition(ctx, col, b.head, ch.ts)
	wait = fmt.Sprintf("all channels of %s have to come to where partition %s was made again", col.qualified(), b.head.Partition)
	if err == nil && become == succeeds && b.insert != nil {
		become, err = s.ensureFields(ctx, col, b.insert.Rows.Fields())
		wait = fmt.Sprintf("the source's etcd has to tell of a new field of %s", col.qualified())
	}
	switch {
	case err != nil:
		return "", err
	case become == waits:
		return wait, nil
	case col.Stopped != "":
		s.metrics.passedOver.Inc()
		return "", nil
	case become == outlived:
		s.metrics.outlived.Inc()
		return "", nil
	}
	b.head.Database, b.head.Collection = col.Database, col.Name // the message's may be old, or not there
	for lane, idx := range b.keys.Lanes(s.task.Lanes) {
		if err := s.laneRows(ctx, c, laneBatch{batch: &b, from: ch, col: col, lane: lane, idx: idx}); err != nil {
			return "", err
		}
	}
	return "", nil
}

// imported stops a collection into which rows were imported in bulk. Such rows never pass through the queue, which says only
// that they are there (milvus-wire.md, section 3: 2.5.6 and later; older ones say nothing).
func (s *sequencer) imported(ctx context.Context, c *channel, ch *change) error {
	var m msgpb.ImportMsg
	if err := proto.Unmarshal(ch.payload, &m); err != nil {
		return s.parkChange(ctx, c, ch, codeUnreadable, fmt.Errorf("decode import: %w", err))
	}
	if col := s.ledger.collections[m.GetCollectionID()]; col != nil {
		s.stop(col, fmt.Errorf("rows were imported in bulk into %s (job %d), which do not pass through the queue; its existing rows need a snapshot", col.qualified(), m.GetJobID()))
	}
	return nil
}

// unknownRows decides on rows of a collection whose creation has not been read. It is one that the task does not follow,
// or one that came and went before anybody looked. One that the task should follow must not be passed over in silence.
func (s *sequencer) unknownRows(ctx context.Context, c *channel, ch *change) (wait string, err error) {
	if s.foreign.has(ch.collection) {
		s.metrics.foreign.Inc()
		return "", nil
	}
	v, err := s.lookUp(ctx, ch.collection)
	if err != nil {
		return waitForCatalogue(err), nil
	}
	if s.expects(v, ch.collection) {
		name, _ := nameOf(v, ch.collection)
		wait, err := s.missed(ctx, v, v.Collections[ch.collection], fmt.Errorf(
			"rows of %s came and its creation was not read: the queue no longer holds it; its existing rows need a snapshot", name))
		if wait != "" || err != nil || s.ledger.collections[ch.collection] == nil {
			return wait, err
		}
		return s.rows(ctx, c, ch)
	}
	s.foreign.add(ch.collection)
	s.metrics.foreign.Inc()
	return "", nil
}

// batch is the rows or keys of one message of the queue, to be split to lanes.
type batch struct {
	kind   jetstream.Kind
	insert *rows.InsertBody // of an Insert
	delete *rows.DeleteBody // of a Delete
	keys   rows.Keys
	head   *rows.Head // of either
}

func readBatch(ch *change, col *ledgerCollection) (batch, error) {
	if ch.kind == commonpb.MsgType_Delete {
		body, err := rows.ParseDelete(ch.payload)
		if err != nil {
			return batch{}, err
		}
		return batch{kind: jetstream.Delete, delete: body, keys: body.Keys, head: &body.Head}, nil
	}
	body, err := rows.ParseInsert(ch.payload)
	if err != nil {
		return batch{}, err
	}
	keys, err := body.Rows.Keys(col.Key)
	if err != nil {
		return batch{}, err
	}
	return batch{kind: jetstream.Insert, insert: body, keys: keys, head: &body.Head}, nil
}

// fit cuts a lane's rows into runs that make bodies of at most limit bytes.
func (b *batch) fit(idx []int, limit int) [][]int {
	if b.insert != nil {
		return b.insert.Fit(idx, limit)
	}
	return b.delete.Fit(idx, limit)
}

// body encodes some of the rows. All of them, in their order, need no copy.
func (b *batch) body(idx []int) []byte {
	whole := len(idx) == b.keys.Len()
	switch {
	case b.insert != nil && whole:
		return b.insert.Append(nil)
	case b.insert != nil:
		return b.insert.Take(idx).Append(nil)
	case whole:
		return b.delete.Append(nil)
	}
	return b.delete.Take(idx).Append(nil)
}

// ensurePartition publishes the creation of a partition that a row names before the catalogue has shown it.
func (s *sequencer) ensurePartition(ctx context.Context, col *ledgerCollection, h *rows.Head, ts uint64) (succession, error) {
	if col.Keyed {
		h.Partition, h.PartitionID = "", allPartitions // Milvus places such rows by itself, on the target too
		return succeeds, nil
	}
	if h.PartitionID == allPartitions || h.Partition == "" || h.Partition == defaultPartition || col.Partitions[h.PartitionID] != "" {
		return succeeds, nil
	}
	become, err := s.succeedPartition(ctx, col, h.PartitionID, h.Partition, ts)
	if err != nil || become != succeeds {
		return become, err
	}
	return succeeds, s.createPartition(ctx, col, h.PartitionID, h.Partition, ts)
}

// allPartitions is the partition id of a Delete that names none.
const allPartitions = -1

// laneRows publishes one lane's rows of a message, in events that fit the NATS server. An event's id names the first of
// its rows, so that reading goes on right behind it, however the rows were cut.
func (s *sequencer) laneRows(ctx context.Context, c *channel, lb laneBatch) error {
	first := c.done.rowsOf(lb.from.position, lb.lane, len(lb.idx))
	for _, run := range lb.fit(lb.idx[first:], s.pub.MaxBody()) {
		err := s.publishRows(ctx, c, lb, first, run)
		if errors.Is(err, jetstream.ErrTooLarge) {
			s.stop(lb.col, fmt.Errorf("a row of %s.%s (message %s of %s) does not fit: %w; raise max_payload there, then delete the task and create it anew",
				lb.col.Database, lb.col.Name, lb.from.position, c.name, err))
			return nil
		}
		if err != nil {
			return err
		}
		first += len(run)
	}
	return nil
}

// laneBatch is what of a batch belongs to one lane.
type laneBatch struct {
	*batch
	from *change
	col  *ledgerCollection
	lane int
	idx  []int
}

// publishRows publishes a run of the lane's rows, the first of which is its first-th, as one event.
func (s *sequencer) publishRows(ctx context.Context, c *channel, lb laneBatch, first int, run []int) error {
	ch := lb.from
	key := sumKey{lb.col.ID, lb.lane}
	sum, err := s.sum(ctx, lb.col, key)
	if err != nil {
		return err
	}
	e := &jetstream.Event{
		ID:   c.name + ":" + string(ch.position) + ":" + strconv.Itoa(lb.lane) + ":" + strconv.Itoa(first),
		Kind: lb.kind, Channel: c.name, Lane: lb.lane, Source: s.task.Source,
		Database: lb.col.Database, DatabaseID: lb.col.DatabaseID, Collection: lb.col.Name, CollectionID: lb.col.ID,
		Partition: lb.head.Partition, PartitionID: lb.head.PartitionID,
		TS: ch.ts, Position: string(ch.position), Resume: c.head.from.String(),
		Rows: len(run), RowSum: sum + uint64(len(run)), Body: lb.body(run),
	}
	if err := s.hand(ctx, e); err != nil {
		return err
	}
	s.sums[key] = e.RowSum
	s.progress.published(lb.col.ID, lb.lane, e.RowSum)
	s.metrics.rows.WithLabelValues(s.task.Name, string(e.Kind)).Add(float64(len(run)))
	return nil
}

// sum is how many rows of the collection the lane has been given so far.
func (s *sequencer) sum(ctx context.Context, col *ledgerCollection, key sumKey) (uint64, error) {
	if n, ok := s.sums[key]; ok {
		return n, nil
	}
	n, err := s.rowSum(ctx, col, key.lane)
	if err != nil {
		return 0, fmt.Errorf("read how many rows of %s.%s lane %d was given: %w", col.Database, col.Name, key.lane, err)
	}
	s.sums[key] = n
	return n, nil
}
