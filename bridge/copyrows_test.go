package bridge

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/bridge/catalog"
	"kitestream/bridge/scan"
	"kitestream/jetstream"
)

// etcdAway is a catalogue that knows what it knew, while etcd does not answer.
type etcdAway struct{ view *catalog.View }

func (e *etcdAway) View() *catalog.View { return e.view }
func (e *etcdAway) Sync(context.Context) (*catalog.View, error) {
	return nil, errors.New("etcd is away")
}
func (e *etcdAway) Changed() <-chan struct{} { return nil }

// keptEvents is a publisher that keeps what it is given.
type keptEvents struct{ events []*jetstream.Event }

func (k *keptEvents) Publish(_ context.Context, e *jetstream.Event) error {
	k.events = append(k.events, e)
	return nil
}
func (k *keptEvents) Mark(fn func(uint64)) { fn(uint64(len(k.events))) }
func (k *keptEvents) MaxBody() int         { return 1 << 20 }

func copying(meta meta) (*sequencer, *keptEvents, *ledgerCollection) {
	col := &ledgerCollection{ID: 7, DatabaseID: 1, Database: "default", Name: "c", Key: "id", Partitions: map[int64]string{},
		Fields: map[string]ledgerField{"id": {ID: 100}}, Copy: &ledgerCopy{N: 1}}
	pub := &keptEvents{}
	s := &sequencer{task: jetstream.TaskSpec{Name: "t", Lanes: 1}, meta: meta, pub: pub, metrics: NewMetrics(nil), log: slog.New(slog.DiscardHandler),
		ledger: newLedger(), progress: newProgress(), sums: map[sumKey]uint64{}, blocked: map[string]string{}, runs: map[int64]*copyRun{},
		rowSum: func(context.Context, *ledgerCollection, int) (uint64, error) { return 0, nil }}
	s.ledger.collections[col.ID] = col
	return s, pub, col
}

// TestPageWaitsForItsField has a page with a field that etcd, which is away, has not told of yet: it is not passed over.
func TestPageWaitsForItsField(t *testing.T) {
	field := func(id int64, name string) *schemapb.FieldSchema {
		return &schemapb.FieldSchema{FieldID: id, Name: name, DataType: schemapb.DataType_Int64}
	}
	seen := &catalog.Collection{ID: 7, DatabaseID: 1, Name: "c", State: catalog.Created, Schema: &schemapb.CollectionSchema{Fields: []*schemapb.FieldSchema{field(100, "id")}}}
	etcd := &etcdAway{&catalog.View{Collections: map[int64]*catalog.Collection{7: seen}}}
	s, pub, col := copying(etcd)
	longs := func(id int64, name string) *schemapb.FieldData {
		return &schemapb.FieldData{Type: schemapb.DataType_Int64, FieldName: name, FieldId: id, Field: &schemapb.FieldData_Scalars{
			Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: []int64{5}}}}}}
	}
	page := &reading{collection: 7, partition: copyPartition{2, defaultPartition}, high: 9,
		rows: &scan.Rows{Fields: []*schemapb.FieldData{longs(100, "id"), longs(101, "new")}, N: 1, Keys: []scan.Key{scan.IntKey(5)}, Last: scan.IntKey(5)}}
	run := s.runOf(col)
	published, err := s.publishReading(t.Context(), col, run, page)
	if published || err != nil || len(pub.events) > 0 || col.Copy.Rows != 0 || s.blocked[blockedCopy(7)] == "" {
		t.Fatalf("published %v, %v: %d events, the copy is at %+v, blocked: %v", published, err, len(pub.events), col.Copy, s.blocked)
	}
	seen.Schema.Fields = append(seen.Schema.Fields, field(101, "new"))
	published, err = s.publishReading(t.Context(), col, run, page)
	var kinds []jetstream.Kind
	for _, e := range pub.events {
		kinds = append(kinds, e.Kind)
	}
	if !published || err != nil || !slices.Equal(kinds, []jetstream.Kind{jetstream.AddField, jetstream.Insert}) || col.Copy.Rows != 1 || len(s.blocked) > 0 {
		t.Fatalf("published %v, %v: %v, the copy is at %+v, blocked: %v", published, err, kinds, col.Copy, s.blocked)
	}
}

// TestFailureIsToldToAll has a repair wait behind a reading that fails: it must not hear that its rows are on the stream.
func TestFailureIsToldToAll(t *testing.T) {
	s, _, col := copying(&etcdAway{})
	bad := errors.New("the source is away")
	var told []error
	tell := func(_ uint64, err error) { told = append(told, err) }
	run := s.runOf(col)
	run.open = []*reading{{answered: true, err: bad, done: tell}, {answered: true, done: tell}}
	s.failed(col, run, bad)
	if !slices.Equal(told, []error{bad, bad}) || len(run.open) > 0 {
		t.Errorf("they were told %v; %d are open", told, len(run.open))
	}
}

// TestPrunesFitTheServer has a page whose keys are too many for one event of each lane.
func TestPrunesFitTheServer(t *testing.T) {
	s, pub, col := copying(&etcdAway{})
	s.task.Lanes = 3
	small := &smallServer{keptEvents: pub}
	s.pub = small
	var keys []scan.Key
	for i := range int64(200) {
		keys = append(keys, scan.IntKey(i*1_000_000_007))
	}
	cp := copied{col: col, r: &reading{collection: 7, partition: copyPartition{2, defaultPartition}, rows: &scan.Rows{Keys: keys, Done: true}}}
	if err := s.publishPrunes(t.Context(), cp, s.runOf(col)); err != nil {
		t.Fatal(err)
	}
	ids, kept, ends := map[string]bool{}, 0, map[int]int{}
	for _, e := range pub.events {
		b, err := jetstream.ParsePrune(e.Body)
		if err != nil || len(e.Body) > small.MaxBody() || ids[e.ID] {
			t.Fatalf("event %s has %d bytes: %v", e.ID, len(e.Body), err)
		}
		ids[e.ID] = true
		kept += b.Keys.Len()
		if b.After == nil {
			ends[e.Lane]++
		}
		if b.Until == nil {
			ends[e.Lane]++
		}
	}
	if len(pub.events) <= 3 || kept != len(keys) || ends[0] != 2 || ends[1] != 2 || ends[2] != 2 {
		t.Errorf("%d events keep %d keys, open ends by lane: %v", len(pub.events), kept, ends)
	}
}

type smallServer struct{ *keptEvents }

func (s *smallServer) MaxBody() int { return 300 }
