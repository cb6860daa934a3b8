package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/msgpb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/scan"
	"kitestream/jetstream"
	"kitestream/jetstream/rows"
)

// Why readings are given up.
var (
	errStoppedMeanwhile = errors.New("the collection was stopped or dropped meanwhile")
	errTooManyKeys      = errors.New("the source changes faster than the bridge reads")
)

// publishReading publishes what a reading found, less what live changes have gone beyond, and notes how far the copy is. It
// reports false when that has to be tried again: etcd has to tell of a field, or the collection is stopped.
func (s *sequencer) publishReading(ctx context.Context, col *ledgerCollection, run *copyRun, r *reading) (published bool, err error) {
	run.waits = ""
	delete(s.blocked, blockedCopy(col.ID))
	if r.release {
		run.released = true
		return true, nil
	}
	if r.count {
		run.all = r.all + col.Copy.Rows
	}
	if col.Keyed || r.partition.name == defaultPartition || col.Partitions[r.partition.id] != "" { // else it has been dropped
		become, err := s.publishCopied(ctx, col, run, r)
		if become == waits {
			run.waits = "the source's etcd has to tell of a new field"
			s.blocked[blockedCopy(col.ID)] = fmt.Sprintf("copy of %s: %s", col.qualified(), run.waits)
		}
		if err != nil || become == waits || col.Stopped != "" {
			return false, err
		}
	}
	if r.keys != nil {
		s.pub.Mark(func(seq uint64) { r.done(seq, nil) })
		return true, nil
	}
	c := *col.Copy
	c.Place, c.Rows = r.behind(), c.Rows+int64(r.rows.N)
	run.rows += int64(r.rows.N)
	s.metrics.copied.WithLabelValues(s.task.Name).Add(float64(r.rows.N))
	col.Copy = &c
	s.progress.dirty()
	s.stale = true
	return true, nil
}

// copied is a reading's rows on their way to the stream.
type copied struct {
	col  *ledgerCollection
	r    *reading
	n    int // of the reading, for ids
	keys rows.Keys
}

// publishCopied publishes a reading's rows to their lanes: of a page that prunes, first which keys there are.
func (s *sequencer) publishCopied(ctx context.Context, col *ledgerCollection, run *copyRun, r *reading) (succession, error) {
	s.copied++
	b, err := copyBatch(col, r)
	if err != nil {
		s.stop(col, fmt.Errorf("existing rows of %s can't be published: %w", col.qualified(), err))
		return outlived, nil
	}
	become, err := s.ensureFields(ctx, col, b.insert.Rows.Fields())
	if err != nil || become != succeeds {
		return become, err
	}
	cp := copied{col: col, r: r, n: s.copied, keys: b.keys}
	if r.keys != nil {
		err = s.publishGone(ctx, cp, run)
	} else if col.Copy.Prune {
		err = s.publishPrunes(ctx, cp, run)
	}
	if err != nil {
		return succeeds, err
	}
	for lane, idx := range b.keys.Lanes(s.task.Lanes) {
		idx = slices.DeleteFunc(idx, func(i int) bool { return run.newer(r.partition.id, b.keys.At(i)) > r.low })
		if err := s.publishFitting(ctx, cp, &b, lane, idx); err != nil {
			return succeeds, err
		}
	}
	return succeeds, nil
}

// copyBatch makes of rows that were read what a message of the queue would have brought.
func copyBatch(col *ledgerCollection, r *reading) (batch, error) {
	n := r.rows.N
	raw, err := proto.Marshal(&msgpb.InsertRequest{
		Base: &commonpb.MsgBase{MsgType: commonpb.MsgType_Insert}, DbName: col.Database, CollectionName: col.Name,
		DbID: col.DatabaseID, CollectionID: col.ID, NumRows: uint64(n), Version: msgpb.InsertDataVersion_ColumnBased,
		Timestamps: slices.Repeat([]uint64{r.high}, n), RowIDs: make([]int64, n), FieldsData: r.rows.Fields,
	})
	if err != nil {
		return batch{}, err
	}
	b, err := readBatch(&change{kind: commonpb.MsgType_Insert, payload: raw}, col)
	if err != nil {
		return batch{}, err
	}
	b.head.Partition, b.head.PartitionID = r.partition.name, r.partition.id
	if col.Keyed {
		b.head.PartitionID = allPartitions
	}
	return b, nil
}

// copyEvent is an event of the copy, the i-th of its lane in its reading. A bridge that reads the same rows again reads them as they
// are then: its events are others, and have the bridge's epoch in their ids.
func (s *sequencer) copyEvent(cp copied, kind jetstream.Kind, lane, i int) *jetstream.Event {
	e := &jetstream.Event{
		ID:   fmt.Sprintf("copy:%d:%d:%d:%s:%d:%d", cp.col.ID, s.epoch, cp.n, kind, lane, i),
		Kind: kind, Channel: jetstream.SnapshotChannel, Lane: lane, Source: s.task.Source,
		Database: cp.col.Database, DatabaseID: cp.col.DatabaseID, Collection: cp.col.Name, CollectionID: cp.col.ID,
		Partition: cp.r.partition.name, PartitionID: cp.r.partition.id, TS: cp.r.high,
	}
	if cp.col.Keyed {
		e.PartitionID = allPartitions
	}
	if cp.r.keys == nil {
		e.Snapshot, e.Target = cp.col.Copy.N, cp.col.Copy.Target
	}
	return e
}

// publishFitting publishes some of a lane's rows or keys in events that fit the server.
func (s *sequencer) publishFitting(ctx context.Context, cp copied, b *batch, lane int, idx []int) error {
	key := sumKey{cp.col.ID, lane}
	for i, run := range b.fit(idx, s.pub.MaxBody()) {
		sum, err := s.sum(ctx, cp.col, key)
		if err != nil {
			return err
		}
		e := s.copyEvent(cp, b.kind, lane, i)
		e.Rows, e.RowSum, e.Body = len(run), sum+uint64(len(run)), b.body(run)
		err = s.hand(ctx, e)
		if errors.Is(err, jetstream.ErrTooLarge) {
			s.stop(cp.col, fmt.Errorf("a row of %s does not fit: %w; raise max_payload there, then delete the task and create it anew", cp.col.qualified(), err))
			return nil
		}
		if err != nil {
			return err
		}
		s.sums[key] = e.RowSum
		s.progress.published(cp.col.ID, lane, e.RowSum)
		s.metrics.rows.WithLabelValues(s.task.Name, string(e.Kind)).Add(float64(len(run)))
	}
	return nil
}

// publishGone publishes the deletion of keys that a repair asked for and that are not there, nor named by a live change.
func (s *sequencer) publishGone(ctx context.Context, cp copied, run *copyRun) error {
	there := map[rows.Key]bool{}
	for i := range cp.keys.Len() {
		there[cp.keys.At(i)] = true
	}
	var gone rows.Keys
	for _, k := range cp.r.keys {
		if key := rowKey(k); !there[key] && run.newer(cp.r.partition.id, key) <= cp.r.low {
			gone = appendKey(gone, k)
		}
	}
	if gone.Len() == 0 {
		return nil
	}
	body := &rows.DeleteBody{Keys: gone, Head: rows.Head{Database: cp.col.Database, Collection: cp.col.Name, Partition: cp.r.partition.name,
		DatabaseID: cp.col.DatabaseID, CollectionID: cp.col.ID, PartitionID: cp.r.partition.id, TS: cp.r.high}}
	if cp.col.Keyed {
		body.PartitionID = allPartitions
	}
	b := batch{kind: jetstream.Delete, delete: body, keys: gone, head: &body.Head}
	for lane, idx := range gone.Lanes(s.task.Lanes) {
		if err := s.publishFitting(ctx, cp, &b, lane, idx); err != nil {
			return err
		}
	}
	return nil
}

// publishPrunes publishes, lane by lane, which keys of the page's range there are. Those that live changes named since count as
// there: the changes say what becomes of them.
func (s *sequencer) publishPrunes(ctx context.Context, cp copied, run *copyRun) error {
	keep := make([]scan.Key, 0, len(cp.r.rows.Keys)+len(run.touched))
	keep = append(keep, cp.r.rows.Keys...)
	p := pruning{after: cp.r.page.After}
	if !cp.r.rows.Done {
		p.until = cp.r.rows.Last
	}
	for k := range run.touched {
		if k.partition != allPartitions && k.partition != cp.r.partition.id {
			continue
		}
		if key := scanKey(k.key, cp.col); key.Compare(p.after) > 0 && (p.until.IsZero() || key.Compare(p.until) <= 0) {
			keep = append(keep, key)
		}
	}
	slices.SortFunc(keep, scan.Key.Compare)
	p.keep = slices.Compact(keep)
	_, err := s.publishPrune(ctx, cp, p, 0)
	return err
}

// pruning is a range of keys and those of it that stay, in their order.
type pruning struct {
	after, until scan.Key // the zero Key: no end
	keep         []scan.Key
}

// publishPrune publishes the range for every lane, the n-th of the reading, in parts if it does not fit the server. It returns the
// number of the next.
func (s *sequencer) publishPrune(ctx context.Context, cp copied, p pruning, n int) (next int, err error) {
	var all rows.Keys
	for _, k := range p.keep {
		all = appendKey(all, k)
	}
	bodies := make([][]byte, s.task.Lanes)
	for lane, idx := range all.Lanes(s.task.Lanes) {
		body := jetstream.PruneBody{Lanes: s.task.Lanes, After: rowKeyOrNil(p.after), Until: rowKeyOrNil(p.until), Keys: all.Take(idx)}
		if bodies[lane], err = body.Encode(); err != nil {
			return n, err
		}
		if half := len(p.keep) / 2; half > 0 && len(bodies[lane]) > s.pub.MaxBody() {
			first, rest := p, p
			first.keep, first.until = p.keep[:half], p.keep[half-1]
			rest.keep, rest.after = p.keep[half:], p.keep[half-1]
			if n, err = s.publishPrune(ctx, cp, first, n); err != nil {
				return n, err
			}
			return s.publishPrune(ctx, cp, rest, n)
		}
	}
	for lane, body := range bodies {
		e := s.copyEvent(cp, jetstream.Prune, lane, n)
		e.Body = body
		if err := s.hand(ctx, e); err != nil {
			return n, err
		}
	}
	return n + 1, nil
}
