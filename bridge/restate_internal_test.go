package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// restated is a sequencer with one collection that has something of everything.
func restated() (*sequencer, *keptEvents, *ledgerCollection) {
	schema := &schemapb.CollectionSchema{Fields: []*schemapb.FieldSchema{{FieldID: 100, Name: "id", DataType: schemapb.DataType_Int64, IsPrimaryKey: true}}}
	seen := &catalog.Collection{ID: 7, DatabaseID: 5, Name: "c", State: catalog.Created, Schema: schema, Shards: 2}
	s, pub, col := copying(&etcdAway{&catalog.View{Collections: map[int64]*catalog.Collection{7: seen}}})
	s.epoch = 3
	col.Database, col.DatabaseID, col.Copy = "db", 5, nil
	col.Channels = []string{"ch"}
	col.Partitions[11], col.Partitions[12] = "p", "q"
	col.Indexes = map[int64]ledgerIndex{21: {Name: "i", Field: "vec", Params: map[string]string{"index_type": "HNSW"}}}
	col.Properties = map[string]string{"collection.ttl.seconds": "60", propertyMmap: "true"}
	col.Load = &ledgerLoad{Whole: true, Replicas: 2, Parts: []string{"q"}}
	s.ledger.aliases[catalog.AliasKey{DatabaseID: 5, Name: "x"}] = 7
	return s, pub, col
}

// said is what was published, in short.
func said(t *testing.T, pub *keptEvents) []string {
	t.Helper()
	var out []string
	ids := map[string]bool{}
	for _, e := range pub.events {
		if e.Target != "t2" || ids[e.ID] || e.Database != "db" {
			t.Errorf("event %s for %q of %s", e.ID, e.Target, e.Database)
		}
		ids[e.ID] = true
		what := ""
		var alter milvuspb.AlterCollectionRequest
		switch e.Kind {
		case jetstream.CreatePartition, jetstream.DropPartition:
			what = " " + e.Partition
		case jetstream.AlterCollection:
			if err := proto.Unmarshal(e.Body, &alter); err != nil {
				t.Error(err)
			}
			for _, p := range alter.GetProperties() {
				what += " " + p.GetKey() + "=" + p.GetValue()
			}
			what += strings.Join(append([]string{""}, alter.GetDeleteKeys()...), " -")
		}
		out = append(out, string(e.Kind)+what)
	}
	pub.events = nil
	return out
}

// TestTargetIsToldAgain asks for each kind of setting, and for what there is nothing to be told of.
func TestTargetIsToldAgain(t *testing.T) {
	all := []string{"create_database", "create_collection", "create_partition p", "create_partition q", "create_index", "create_alias"}
	loads := []string{"load_collection", "release_partitions"}
	for name, one := range map[string]struct {
		ask  Setting
		want []string
	}{
		"collection":         {Setting{Kind: SettingCollection, Name: "db.c"}, all},
		"partition":          {Setting{Kind: SettingPartition, Name: "p"}, []string{"create_partition p"}},
		"released partition": {Setting{Kind: SettingPartition, Name: "q"}, []string{"create_partition q"}},
		"partition too many": {Setting{Kind: SettingPartition, Name: "r", Extra: true}, []string{"drop_partition r"}},
		"it came meanwhile":  {Setting{Kind: SettingPartition, Name: "p", Extra: true}, nil},
		"it went meanwhile":  {Setting{Kind: SettingPartition, Name: "r"}, nil},
		"index":              {Setting{Kind: SettingIndex, Name: "i", Field: "vec"}, []string{"create_index"}},
		"index too many":     {Setting{Kind: SettingIndex, Name: "j", Field: "n", Extra: true}, []string{"drop_index"}},
		"index went":         {Setting{Kind: SettingIndex, Name: "j", Field: "n"}, nil},
		"alias":              {Setting{Kind: SettingAlias, Name: "x"}, []string{"create_alias"}},
		"alias too many":     {Setting{Kind: SettingAlias, Name: "y", Extra: true}, []string{"drop_alias"}},
		"alias went":         {Setting{Kind: SettingAlias, Name: "y"}, nil},
		"property":           {Setting{Kind: SettingProperty, Name: "collection.ttl.seconds"}, []string{"alter_collection collection.ttl.seconds=60"}},
		"property too many":  {Setting{Kind: SettingProperty, Name: "k", Extra: true}, []string{"alter_collection -k"}},
		"property in memory": {Setting{Kind: SettingProperty, Name: propertyMmap}, []string{"release_collection", "alter_collection mmap.enabled=true"}},
		"load":               {Setting{Kind: SettingLoad}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, pub, col := restated()
			was := fmt.Sprintf("%+v %+v", *col, *col.Load)
			if err := s.restate(t.Context(), RestateRequest{CollectionID: 7, Target: "t2", Settings: []Setting{one.ask}}); err != nil {
				t.Fatal(err)
			}
			want := slices.Concat(one.want, loads)
			if name == "partition" {
				want = append(want, "load_partitions")
			}
			if diff := cmp.Diff(want, said(t, pub)); diff != "" {
				t.Error(diff)
			}
			if is := fmt.Sprintf("%+v %+v", *col, *col.Load); is != was || len(s.ledger.aliases) != 1 {
				t.Errorf("the ledger says %s, and said %s", is, was)
			}
		})
	}
}

// TestWhatCantBeToldAgain is named, and keeps nothing else back.
func TestWhatCantBeToldAgain(t *testing.T) {
	s, pub, col := restated()
	s.task.Map = []jetstream.Mapping{{ToCollection: "{collection}_copy"}}
	col.Load = nil
	err := s.restate(t.Context(), RestateRequest{CollectionID: 7, Target: "t2", Settings: []Setting{
		{Kind: "schema", Name: "field n"}, {Kind: SettingAlias, Name: "y", Extra: true}, {Kind: SettingIndex, Name: "i", Field: "vec"}}})
	if err == nil || !strings.Contains(err.Error(), `"field n"`) || !strings.Contains(err.Error(), `"y"`) {
		t.Errorf("told: %v", err)
	}
	if got := said(t, pub); !slices.Equal(got, []string{"create_index"}) {
		t.Errorf("published %v", got)
	}
	col.Stopped = "for a gap"
	for _, id := range []int64{7, 8} {
		if err := s.restate(t.Context(), RestateRequest{CollectionID: id, Target: "t2"}); err == nil {
			t.Errorf("collection %d is told again", id)
		}
	}
	col.Stopped = ""
	s.pub = &fullStream{}
	if err := s.restate(t.Context(), RestateRequest{CollectionID: 7, Target: "t2", Settings: []Setting{{Kind: SettingIndex, Name: "i", Field: "vec"}}}); !errors.Is(err, errFull) {
		t.Errorf("from a stream that takes nothing: %v", err)
	}
}

var errFull = errors.New("full")

// fullStream takes nothing.
type fullStream struct{ keptEvents }

func (*fullStream) Publish(context.Context, *jetstream.Event) error { return errFull }
