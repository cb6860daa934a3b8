package rig

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"kitestream/jetstream"
	"kitestream/test/oracle"
	"kitestream/test/servers"
)

// readTime bounds the reading of everything that two servers hold of a test.
const readTime = 3 * time.Minute

// Oracle is a connection of the oracle's.
func (r *Rig) Oracle(m *servers.Milvus) *oracle.Cluster {
	r.Helper()
	c, err := oracle.Dial(m.URI, "")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close() })
	return c
}

// Equal fails the test unless a target has all that the source has of the collections of a database whose names begin
// with the prefix: the same schema, every row bit for bit, none twice. It gives what was compared.
func (r *Rig) Equal(target *servers.Milvus, database, prefix string) *oracle.Diff {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	d, err := oracle.CompareClusters(ctx, r.Oracle(r.Source), r.Oracle(target), func(db, collection string) bool {
		return db == database && (collection == "" || strings.HasPrefix(collection, prefix))
	})
	if err != nil {
		r.Fatalf("compare source and target: %v", err)
	}
	if !d.Equal() {
		r.Fatalf("source and target: %s", d)
	}
	r.Logf("source and target are %s", d)
	return d
}

// Same fails the test unless a target has all that the source has of what selects takes, as the oracle asks it: first how
// everything is set, and then, as Equal, every row. It gives what of the rows was compared.
func (r *Rig) Same(target *servers.Milvus, selects func(database, collection string) bool) *oracle.Diff {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	src, dst := r.Oracle(r.Source), r.Oracle(target)
	set, err := oracle.CompareSettings(ctx, src, dst, selects)
	if err != nil {
		r.Fatalf("compare settings of source and target: %v", err)
	}
	rows, err := oracle.CompareClusters(ctx, src, dst, selects)
	if err != nil {
		r.Fatalf("compare source and target: %v", err)
	}
	if !set.Equal() || !rows.Equal() {
		r.Fatalf("source and target: %s\nand their rows: %s", set, rows)
	}
	r.Logf("source and target are %s; and their rows: %s", set, rows)
	return rows
}

// Read is all that a server holds of the collection.
func (tb *Table) Read(m *servers.Milvus) *oracle.Table {
	tb.r.Helper()
	ctx, cancel := context.WithTimeout(tb.r.Context(), readTime)
	defer cancel()
	c := tb.r.Oracle(m)
	got, err := c.Read(ctx, tb.Database, tb.Name)
	if err != nil {
		tb.r.Fatalf("read %s.%s: %v", tb.Database, tb.Name, err)
	}
	return got
}

// Is reports whether a server holds what the model says.
func (tb *Table) Is(m *servers.Milvus) bool {
	tb.r.Helper()
	return oracle.Compare(tb.model.Table(), tb.Read(m)).Equal()
}

// Check fails the test unless a server holds what the model says.
func (tb *Table) Check(m *servers.Milvus) {
	tb.r.Helper()
	if d := oracle.Compare(tb.model.Table(), tb.Read(m)); !d.Equal() {
		tb.r.Fatalf("model (as source) and Milvus (as target): %s", d)
	}
}

// History is what a task's stream says of itself.
type History struct {
	Events int
	Kinds  map[jetstream.Kind]int
	Rows   int
	Fences []Fence
}

// Fence is one take-over of the stream.
type Fence struct {
	Seq    uint64
	Epoch  uint64
	Holder string
}

// CheckStream reads the whole stream of a task and fails the test unless all is true of it that no crash may change: each
// event is there once; the sums of rows have no gap; each channel's rows are in the source's order, and between the
// creation and the drop of their collection and partition; a fence has a higher epoch than the one before. Nothing of the task is parked.
func (r *Rig) CheckStream(task string) *History {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	s := &stream{ids: map[string]uint64{}, sums: map[sumKey]uint64{}, times: map[string]uint64{}, life: map[int64]jetstream.Kind{}, History: History{Kinds: map[jetstream.Kind]int{}}}
	defer func() { s.keep(r, task) }()
	err := jetstream.Scan(ctx, r.JS, task, nil, 1, func(e *jetstream.Event) error { s.event(e); return nil })
	if err != nil {
		r.Fatalf("read the stream of task %s: %v", task, err)
	}
	for i, w := range s.wrong {
		if i == 20 {
			r.Errorf("… and %d more", len(s.wrong)-i)
			break
		}
		r.Errorf("stream of task %s: %s", task, w)
	}
	if n := r.parked(ctx, task); n > 0 {
		r.Errorf("%d messages of task %s are parked", n, task)
	}
	r.Logf("the stream of task %s: %d events, %d rows and keys, %d take-overs", task, s.Events, s.Rows, len(s.Fences))
	return &s.History
}

// parked is how many messages of the task are in the dead-letter stream.
func (r *Rig) parked(ctx context.Context, task string) (n uint64) {
	r.Helper()
	s, err := r.JS.Stream(ctx, jetstream.StreamParked)
	if err != nil {
		r.Fatalf("open the dead-letter stream: %v", err)
	}
	info, err := s.Info(ctx, natsjs.WithSubjectFilter(jetstream.ParkedSubjects(task)))
	if err != nil {
		r.Fatalf("look at the dead-letter stream: %v", err)
	}
	for _, count := range info.State.Subjects {
		n += count
	}
	return n
}

type sumKey struct {
	collection int64
	lane       int
}

// stream is a stream that is being checked.
type stream struct {
	History
	ids   map[string]uint64 // by sequence
	sums  map[sumKey]uint64
	times map[string]uint64        // each channel's last
	life  map[int64]jetstream.Kind // of collections and partitions, whose ids are different: the last change
	wrong []string
	lines []string
}

// keep writes the stream down if the test has failed.
func (s *stream) keep(r *Rig, task string) {
	if !r.Failed() {
		return
	}
	file := filepath.Join(r.dir, "stream-"+task+".txt")
	if err := os.WriteFile(file, []byte(strings.Join(s.lines, "\n")), 0o600); err != nil {
		r.Log(err)
	}
}

func (s *stream) bad(e *jetstream.Event, format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf("%d, %s %s of %s.%s: ", e.Seq, e.Kind, e.ID, e.Database, e.Collection)+fmt.Sprintf(format, args...))
}

func (s *stream) event(e *jetstream.Event) {
	s.Events++
	s.Kinds[e.Kind]++
	s.lines = append(s.lines, fmt.Sprintf("%d %s lane %d %s.%s/%s (%d/%d) ts %d at %s from %s, %d rows, sum %d, id %s", e.Seq, e.Kind, e.Lane,
		e.Database, e.Collection, e.Partition, e.CollectionID, e.PartitionID, e.TS, e.Position, e.Resume, e.Rows, e.RowSum, e.ID))
	if at, twice := s.ids[e.ID]; twice {
		s.bad(e, "is at %d too", at)
	}
	s.ids[e.ID] = e.Seq
	switch {
	case e.Kind == jetstream.Fence:
		s.fence(e)
	case e.Kind.Rows():
		s.rows(e)
	case e.Target != "": // which one target is told alone, the others know
	case e.Kind == jetstream.CreateCollection || e.Kind == jetstream.DropCollection:
		s.lives(e, e.CollectionID, jetstream.DropCollection)
	case e.Kind == jetstream.CreatePartition || e.Kind == jetstream.DropPartition:
		s.lives(e, e.PartitionID, jetstream.DropPartition)
	}
}

// lives takes down what became of a collection or partition, whose life ends with the kind last.
func (s *stream) lives(e *jetstream.Event, id int64, last jetstream.Kind) {
	before := s.life[id]
	if before == e.Kind || before == last || before == "" && e.Kind == last {
		s.bad(e, "comes after %q", before)
	}
	s.life[id] = e.Kind
}

func (s *stream) rows(e *jetstream.Event) {
	s.Rows += e.Rows
	key := sumKey{e.CollectionID, e.Lane}
	if want := s.sums[key] + uint64(e.Rows); e.RowSum != want {
		s.bad(e, "has the row sum %d with %d rows, want %d", e.RowSum, e.Rows, want)
	}
	s.sums[key] = e.RowSum
	if e.TS < s.times[e.Channel] {
		s.bad(e, "is older than the event before it on channel %s", e.Channel)
	}
	s.times[e.Channel] = e.TS
	if s.life[e.CollectionID] != jetstream.CreateCollection {
		s.bad(e, "is outside of its collection's life (%s)", s.life[e.CollectionID])
	}
	if e.Partition != "" && e.Partition != oracle.DefaultPartition && s.life[e.PartitionID] != jetstream.CreatePartition {
		s.bad(e, "is outside of the life of its partition %s (%s)", e.Partition, s.life[e.PartitionID])
	}
}

func (s *stream) fence(e *jetstream.Event) {
	f := fenceOf(e)
	if n := len(s.Fences); f.Epoch == 0 || n > 0 && s.Fences[n-1].Epoch > f.Epoch {
		s.bad(e, "is not after the fences before it")
	}
	if n := len(s.Fences); n > 0 && strings.Contains(e.ID, ":again-") && s.Fences[n-1].Epoch == f.Epoch && s.Fences[n-1].Holder == f.Holder {
		return // the same take-over, marked anew
	}
	s.Fences = append(s.Fences, f)
}

// fenceOf reads a fence event's id, fence:epoch:holder:writer.
func fenceOf(e *jetstream.Event) Fence {
	f := Fence{Seq: e.Seq}
	part := strings.Split(e.ID, ":")
	if len(part) == 4 {
		f.Epoch, _ = strconv.ParseUint(part[1], 10, 64) // 0 is no epoch
		f.Holder = part[2]
	}
	return f
}
