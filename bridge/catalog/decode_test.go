package catalog

import (
	"bytes"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/bridge/catalog/catalogtest"
)

func TestDecodeWhatIsThere(t *testing.T) {
	db, err := decodeDatabase(catalogtest.Database(7, "shop", catalogtest.Dropping, 1_700_000_000_123_456_789,
		&commonpb.KeyValuePair{Key: "database.replica.number", Value: "2"}), 7)
	if err != nil || db.ID != 7 || db.Name != "shop" || db.State != Dropping || len(db.Properties) != 1 || db.Properties[0].GetValue() != "2" {
		t.Errorf("database = %+v, %v", db, err)
	} else if ms := db.Created >> 18; ms != 1_700_000_000_123 {
		t.Errorf("database was created at %d ms", ms)
	}
	p, err := decodePartition(catalogtest.Partition(9, 8, "p", catalogtest.Creating), object{kindPartition, 8, 9, ""})
	if err != nil || *p != (Partition{ID: 9, Name: "p", State: Creating, Created: 9 << 18}) {
		t.Errorf("partition = %+v, %v", p, err)
	}
	c := catalogtest.Named(8, 7, "orders", catalogtest.Dropped)
	c.Channels = []string{"a", "b"}
	c.Starts = map[string][]byte{"a": {1}, "b": {2, 0}}
	c.Consistency = commonpb.ConsistencyLevel_Bounded
	c.Properties = []*commonpb.KeyValuePair{{Key: "ttl", Value: "1"}}
	value := c.Value()
	in, err := decodeCollection(value, 8)
	if err != nil {
		t.Fatal(err)
	}
	clear(value) // etcd's client may use the memory again
	if in.schema.GetName() != "orders" || in.state != Dropped || in.shards != 2 || in.created != 8<<18 ||
		in.level != commonpb.ConsistencyLevel_Bounded || in.properties[0].GetValue() != "1" {
		t.Errorf("collection = %+v", in)
	}
	if strings.Join(in.channels, " ")+" "+strings.Join(in.virtual, " ") != "a b a_8v0 b_8v1" {
		t.Errorf("channels = %v, %v", in.channels, in.virtual)
	}
	if len(in.starts) != 2 || !bytes.Equal(in.starts["a"], []byte{1}) || !bytes.Equal(in.starts["b"], []byte{2, 0}) {
		t.Errorf("starts = %v", in.starts)
	}
}

func TestDatabaseTimeIsTSO(t *testing.T) {
	const ms = 1_760_000_000_000
	for given, want := range map[uint64]uint64{
		0: 0, ms * 1_000_000: ms << 18, ms*1_000_000 + 999: ms << 18, ms<<18 | 5: ms<<18 | 5,
	} {
		if got := databaseTime(given); got != want {
			t.Errorf("databaseTime(%d) = %d, want %d", given, got, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := catalogtest.Named(8, 7, "orders", 0)
	shards := good
	shards.State = 9
	for name, b := range map[string][]byte{
		"nothing":         {},
		"garbage":         []byte("garbage"),
		"cut off":         good.Value()[:20],
		"unknown state":   shards.Value(),
		"another id":      catalogtest.Named(9, 7, "orders", 0).Value(),
		"no name":         catalogtest.Named(8, 7, "", 0).Value(),
		"wrong wire type": {1<<3 | 2, 0},
		"tombstone":       []byte(tombstone),
	} {
		if in, err := decodeCollection(b, 8); err == nil {
			t.Errorf("%s: decoded as %+v", name, in)
		}
	}
	unpaired := append(good.Value(), 8<<3|2, 1, 'x')
	if _, err := decodeCollection(unpaired, 8); err == nil {
		t.Error("a physical channel without a virtual one is taken")
	}
	if _, err := decodePartition(catalogtest.Partition(1, 8, "\xff", 0), object{kindPartition, 8, 1, ""}); err == nil {
		t.Error("a name that is not UTF-8 is taken")
	}
	if _, err := decodeDatabase(catalogtest.Database(1, "d", 4, 0), 1); err == nil {
		t.Error("an unknown state of a database is taken")
	}
}

// FuzzDecode holds that no bytes bring a decoder down, and that what it takes is whole.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(tombstone))
	for _, recording := range recordings() {
		for _, e := range readEvents(f, recording) {
			f.Add(e.change.value)
		}
	}
	f.Add(catalogtest.Alias("a", 1, 2, 0))
	f.Add(catalogtest.Load(1, 1, catalogtest.Loaded, catalogtest.LoadCollection))
	f.Add(catalogtest.PartitionLoad(2, 1, catalogtest.Loading))
	f.Add(catalogtest.Index{ID: 1, Collection: 2, Field: 100, Name: "i"}.Value())
	f.Add(catalogtest.Message(&schemapb.FunctionSchema{Name: "bm25", Id: 100}))
	f.Fuzz(func(t *testing.T, b []byte) {
		kept := bytes.Clone(b)
		if db, err := decodeDatabase(b, 1); err == nil && (db.Name == "" || db.ID != 1 || db.State < Created || db.State > Dropped) {
			t.Errorf("database = %+v", db)
		}
		if p, err := decodePartition(b, object{kindPartition, 2, 1, ""}); err == nil && (p.Name == "" || p.ID != 1 || p.State < Created || p.State > Dropped) {
			t.Errorf("partition = %+v", p)
		}
		if a, err := decodeAlias(b, object{kindAlias, 1, 0, "a"}); err == nil && (a.Name != "a" || a.CollectionID <= 0 || a.State < Created || a.State > Dropped) {
			t.Errorf("alias = %+v", a)
		}
		if ix, err := decodeIndex(b, object{kindIndex, 2, 1, ""}); err == nil && ix != nil && (ix.Name == "" || ix.ID != 1 || ix.FieldID == 0) {
			t.Errorf("index = %+v", ix)
		}
		if l, err := decodeLoad(b, 1); err == nil && (l.State < Loading || l.State > Loaded || l.Type < LoadPartitions || l.Type > LoadCollection) {
			t.Errorf("load = %+v", l)
		}
		if s, err := decodePartitionLoad(b, object{kindPartitionLoad, 2, 1, ""}); (err == nil) != (s == Loading || s == Loaded) {
			t.Errorf("partition's load = %s, %v", s, err)
		}
		if in, err := decodeCollection(b, 1); err == nil && (in.schema.GetName() == "" || len(in.virtual) != len(in.channels)) {
			t.Errorf("collection = %+v", in)
		}
		if !bytes.Equal(b, kept) {
			t.Error("a decoder wrote to its input")
		}
		for _, folder := range []string{"root-coord/fields/1/", "root-coord/functions/1/", "root-coord/struct-array-fields/1/", "field-index/1/", "querycoord-partition-loadinfo/1/"} {
			m := newModel("p/")
			e := m.edit()
			e.add(change{key: folder + "100", value: b, rev: 1})
			if v := e.finish(1); len(v.Collections) != 0 {
				t.Errorf("%s makes a collection of its own", folder)
			}
		}
	})
}
