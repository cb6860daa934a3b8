package catalog

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog/catalogtest"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// apply is the whole reducer: the View after some changes of one revision.
func apply(m *model, rev int64, changes ...change) *View {
	e := m.edit()
	for _, c := range changes {
		c.rev = rev
		e.add(c)
	}
	return e.finish(rev)
}

func put(key string, value []byte) change {
	return change{key: key, value: value, gone: string(value) == tombstone}
}

func del(key string) change { return change{key: key, gone: true} }

func dead(key string) change { return put(key, []byte(catalogtest.Tombstone)) }

// orders is the keys of a complete collection: 10 "orders" in database 1 with fields 100 and 101 and partition 20.
func orders(state int) []change {
	out := []change{put(catalogtest.CollectionKey(1, 10), catalogtest.Named(10, 1, "orders", state).Value())}
	return append(out, children()...)
}

func children() []change {
	var out []change
	for id, b := range catalogtest.Fields(catalogtest.Key("id"), catalogtest.Vector("vec", 8)) {
		out = append(out, put(catalogtest.FieldKey(10, id), b))
	}
	return append(out, put(catalogtest.PartitionKey(10, 20), catalogtest.Partition(20, 10, "_default", 0)))
}

func TestDropIsOneEventHoweverItComes(t *testing.T) {
	drop := map[string][]change{
		"database":   {put(catalogtest.DatabaseKey(5), catalogtest.Database(5, "shop", 0, 1))},
		"collection": orders(catalogtest.Created),
		"alias":      {put(catalogtest.AliasKey(5, "o"), catalogtest.Alias("o", 5, 10, 0))},
	}
	key := map[string]string{
		"database": catalogtest.DatabaseKey(5), "collection": catalogtest.CollectionKey(1, 10), "alias": catalogtest.AliasKey(5, "o"),
	}
	objects := func(v *View) int { return len(v.Databases) + len(v.Collections) + len(v.Aliases) }
	ways := map[string]func(string) []change{
		"tombstone":               func(k string) []change { return []change{dead(k)} },
		"delete":                  func(k string) []change { return []change{del(k)} },
		"tombstone, delete":       func(k string) []change { return []change{dead(k), del(k)} },
		"tombstone twice":         func(k string) []change { return []change{dead(k), dead(k)} },
		"delete of what is not":   func(k string) []change { return []change{del(k), del(k)} },
		"tombstone, new, deleted": func(k string) []change { return []change{dead(k), put(k, []byte("junk")), del(k)} },
	}
	for what, made := range drop {
		for way, changes := range ways {
			t.Run(what+" "+way, func(t *testing.T) {
				m := newModel("p/")
				was := apply(m, 1, made...)
				if objects(was) != 1 {
					t.Fatalf("not made: %s", text(was))
				}
				v := apply(m, 2, changes(key[what])...)
				if objects(v)+len(v.Unreadable) != 0 {
					t.Errorf("still there:\n%s", text(v))
				}
				if !v.DatabaseGone(5) || !v.CollectionGone(10) || !v.PartitionGone(10, 20) || !v.AliasGone(AliasKey{5, "o"}) {
					t.Error("not known to be gone")
				}
				if objects(was) != 1 {
					t.Error("the view before was changed")
				}
			})
		}
	}
}

// The parts of a collection come in transactions of their own: before its key (2.6) or after it (2.3 to 2.5).
func TestCreationInAnyOrder(t *testing.T) {
	whole := text(apply(newModel("p/"), 1, orders(catalogtest.Created)...))
	all := append(orders(catalogtest.Creating), put(catalogtest.CollectionKey(1, 10), catalogtest.Named(10, 1, "orders", 0).Value()))
	m := newModel("p/")
	for i, c := range all {
		v := apply(m, int64(i+1), c)
		if state := v.Collections[10].State; (state == Created) != (i == len(all)-1) {
			t.Errorf("after %d of %d changes the collection is %s", i+1, len(all), state)
		}
	}
	if got := text(m.last); got != whole {
		t.Errorf("collection first: got\n%s want\n%s", got, whole)
	}
	m = newModel("p/")
	for i, c := range append(children(), all[0], all[len(all)-1]) {
		apply(m, int64(i+1), c)
	}
	if got := text(m.last); got != whole {
		t.Errorf("collection last: got\n%s want\n%s", got, whole)
	}
	v := apply(newModel("p/"), 1, orders(catalogtest.Created)[0])
	if v.Collections[10].State == Created {
		t.Error("a collection without a field is reported as created")
	}
}

func TestDropOfChildrenFirst(t *testing.T) {
	m := newModel("p/")
	apply(m, 1, orders(catalogtest.Created)...)
	apply(m, 2, put(catalogtest.CollectionKey(1, 10), catalogtest.Named(10, 1, "orders", catalogtest.Dropping).Value()))
	for i, c := range children() {
		v := apply(m, int64(3+i), dead(c.key))
		if got := v.Collections[10]; got == nil || got.State != Dropping {
			t.Fatalf("collection is %+v while its parts are dropped", got)
		}
	}
	v := apply(m, 20, dead(catalogtest.CollectionKey(1, 10)))
	if !v.CollectionGone(10) || len(m.records) != 0 {
		t.Errorf("something is left: %s, %d records", text(v), len(m.records))
	}
}

func TestMoveBetweenDatabases(t *testing.T) {
	old, moved := catalogtest.CollectionKey(1, 10), catalogtest.CollectionKey(5, 10)
	value := catalogtest.Named(10, 5, "orders", 0).Value()
	for name, changes := range map[string][]change{
		"new first": {put(moved, value), dead(old)},
		"old first": {dead(old), put(moved, value)},
	} {
		m := newModel("p/")
		apply(m, 1, orders(catalogtest.Created)...)
		v := apply(m, 2, changes...)
		if c := v.Collections[10]; c == nil || c.DatabaseID != 5 || len(c.Schema.GetFields()) != 2 || len(c.Partitions) != 1 {
			t.Errorf("%s: %s", name, text(v))
		}
		if v = apply(m, 3, del(old)); v.Collections[10] == nil {
			t.Errorf("%s: the old key's garbage collection drops the collection", name)
		}
	}
	m := newModel("p/")
	apply(m, 1, orders(catalogtest.Created)...)
	if v := apply(m, 2, put(moved, value)); v.Collections[10].DatabaseID != 5 {
		t.Errorf("with both keys there the older one counts: %s", text(v))
	}
}

func TestLegacyKey(t *testing.T) {
	m := newModel("p/")
	legacy := catalogtest.Named(10, 0, "old", 0).Value()
	v := apply(m, 1, append(children(), put(catalogtest.LegacyCollectionKey(10), legacy))...)
	if c := v.Collections[10]; c == nil || c.DatabaseID != 1 || c.Name != "old" || c.State != Created {
		t.Fatalf("legacy collection: %s", text(v))
	}
	apply(m, 2, put(catalogtest.CollectionKey(1, 10), catalogtest.Named(10, 1, "new", 0).Value()))
	v = apply(m, 3, put(catalogtest.LegacyCollectionKey(10), legacy))
	if v.Collections[10].Name != "new" {
		t.Errorf("the legacy key wins over the new one: %s", text(v))
	}
	if v = apply(m, 4, dead(catalogtest.LegacyCollectionKey(10))); v.Collections[10] == nil {
		t.Error("dropping the legacy key drops the collection")
	}
	inline := catalogtest.Named(11, 0, "older", 0)
	inline.Schema.Fields = []*schemapb.FieldSchema{{FieldID: 0, Name: "RowID"}, {FieldID: 101, Name: "b"}, {FieldID: 100, Name: "a"}}
	v = apply(m, 5, put(catalogtest.LegacyCollectionKey(11), inline.Value()))
	if f := v.Collections[11].Schema.GetFields(); len(f) != 2 || f[0].GetName() != "a" || f[1].GetName() != "b" {
		t.Errorf("fields in the collection's own key: %v", f)
	}
}

func TestSchemaIsComplete(t *testing.T) {
	m := newModel("p/")
	c := catalogtest.Named(10, 1, "docs", 0)
	c.Schema = &schemapb.CollectionSchema{Name: "docs", Description: "d", AutoID: true, EnableDynamicField: true}
	c.Properties = []*commonpb.KeyValuePair{{Key: "collection.ttl.seconds", Value: "5"}}
	bm25 := &schemapb.FunctionSchema{Id: 100, Name: "bm25", OutputFieldNames: []string{"sparse"}}
	parts := &schemapb.StructArrayFieldSchema{FieldID: 102, Name: "clips"}
	changes := append(children(), put(catalogtest.CollectionKey(1, 10), c.Value()),
		put(catalogtest.FunctionKey(10, 100), catalogtest.Message(bm25)),
		put("root-coord/struct-array-fields/10/102", catalogtest.Message(parts)))
	got := apply(m, 1, changes...).Collections[10].Schema
	want := proto.CloneOf(c.Schema)
	want.Fields = []*schemapb.FieldSchema{catalogtest.Key("id"), catalogtest.Vector("vec", 8)}
	want.Fields[0].FieldID, want.Fields[1].FieldID = 100, 101
	want.Functions, want.StructArrayFields = []*schemapb.FunctionSchema{bm25}, []*schemapb.StructArrayFieldSchema{parts}
	want.Properties = c.Properties
	if !proto.Equal(got, want) {
		t.Errorf("schema = %v\nwant %v", got, want)
	}
	v := apply(m, 2, dead(catalogtest.FunctionKey(10, 100)))
	if len(v.Collections[10].Schema.GetFunctions()) != 0 || len(got.GetFunctions()) != 1 {
		t.Error("a dropped function stays, or is taken out of the view before")
	}
}

func TestUnreadableStopsNothingElse(t *testing.T) {
	junk := []byte("junk")
	for key, want := range map[string]func(v *View) bool{
		catalogtest.DatabaseKey(1):                        func(v *View) bool { return v.Databases[1] == nil && !v.DatabaseGone(1) },
		catalogtest.CollectionKey(1, 10):                  func(v *View) bool { return v.Collections[10] == nil && !v.CollectionGone(10) },
		catalogtest.FieldKey(10, 101):                     func(v *View) bool { return v.Collections[10] == nil && !v.CollectionGone(10) },
		catalogtest.FieldKey(10, 105):                     func(v *View) bool { return v.Collections[10] == nil && !v.CollectionGone(10) },
		catalogtest.FunctionKey(10, 1):                    func(v *View) bool { return v.Collections[10] == nil && !v.CollectionGone(10) },
		catalogtest.PartitionKey(10, 20):                  func(v *View) bool { return len(v.Collections[10].Partitions) == 0 && !v.PartitionGone(10, 20) },
		"root-coord/database/collection-info/1/x":         func(v *View) bool { return v.Collections[10] != nil },
		"root-coord/fields/10/" + strings.Repeat("9", 30): func(v *View) bool { return v.Collections[10] != nil },
		catalogtest.IndexKey(10, 30): func(v *View) bool {
			return len(v.Collections[10].Indexes) == 1 && !v.IndexGone(10, 30) && v.IndexGone(10, 32)
		},
		catalogtest.IndexKey(50, 30): func(v *View) bool { return v.CollectionGone(50) && v.IndexGone(50, 30) },
		catalogtest.LoadKey(10): func(v *View) bool {
			return v.Collections[10].Load == nil && !v.CollectionReleased(10) && !v.PartitionReleased(10, 20)
		},
		catalogtest.PartitionLoadKey(10, 20): func(v *View) bool {
			return v.Collections[10].Load != nil && !v.PartitionReleased(10, 20) && v.PartitionReleased(10, 22)
		},
		catalogtest.AliasKey(1, "o"):          func(v *View) bool { return v.Aliases[AliasKey{1, "o"}] == nil && !v.AliasGone(AliasKey{1, "o"}) },
		catalogtest.LegacyAliasKey("p"):       func(v *View) bool { return !v.AliasGone(AliasKey{1, "p"}) && v.AliasGone(AliasKey{2, "p"}) },
		"root-coord/aliases/":                 func(v *View) bool { return len(v.Aliases) == 1 },
		"root-coord/partitions/10/20/30":      func(v *View) bool { return v.Collections[10] != nil },
		catalogtest.LegacyCollectionKey(10):   func(v *View) bool { return v.Collections[10] == nil && !v.CollectionGone(10) },
		catalogtest.CollectionKey(2, 30) + "": func(v *View) bool { return !v.CollectionGone(30) && v.CollectionGone(31) },
		catalogtest.PartitionKey(10, 21):      func(v *View) bool { return !v.PartitionGone(10, 21) && v.PartitionGone(10, 22) },
	} {
		t.Run(key, func(t *testing.T) {
			m := newModel("p/")
			good := append(orders(0), put(catalogtest.DatabaseKey(1), catalogtest.Database(1, "default", 0, 1)),
				put(catalogtest.CollectionKey(1, 40), catalogtest.Named(40, 1, "other", 0).Value()),
				put(catalogtest.AliasKey(1, "o"), catalogtest.Alias("o", 1, 10, 0)), byVec(30), byVec(31),
				put(catalogtest.LoadKey(10), catalogtest.Load(10, 1, 2, 2)), put(catalogtest.PartitionLoadKey(10, 20), catalogtest.PartitionLoad(10, 20, 2)))
			was := text(apply(m, 1, good...))
			v := apply(m, 2, put(key, junk))
			if err := v.Unreadable["p/"+key]; len(v.Unreadable) != 1 || err == nil || !strings.Contains(err.Error(), "p/"+key) {
				t.Errorf("unreadable = %v", v.Unreadable)
			}
			if !want(v) || v.Collections[40] == nil {
				t.Errorf("view = %s", text(v))
			}
			if key == catalogtest.FieldKey(10, 101) { // and heals
				for _, c := range children() {
					v = apply(m, 3, c)
				}
				if got := text(v); got != was || v.Unreadable != nil {
					t.Errorf("healed = %s", got)
				}
			}
			if v = apply(m, 4, del(key)); v.Unreadable != nil {
				t.Errorf("unreadable after its deletion: %v", v.Unreadable)
			}
		})
	}
}

// randomChange makes up one change among few keys, so that they meet.
func randomChange(r *rand.Rand) change {
	coll, part := int64(10+r.IntN(3)), int64(100+r.IntN(3))
	db := int64(1 + r.IntN(2))
	state := r.IntN(4)
	name := "n" + strconv.Itoa(r.IntN(3))
	var c change
	switch r.IntN(21) {
	case 16:
		c = put(catalogtest.UserKey(name), []byte("{}"))
	case 17:
		c = put(catalogtest.RoleKey(name), []byte{})
	case 18:
		c = put(catalogtest.MemberKey("n1", name), []byte{})
	case 19:
		c = put(catalogtest.GranteeKey(name, "Collection", "d.c"), []byte("id"+strconv.Itoa(r.IntN(2))))
	case 20:
		c = put(catalogtest.PrivilegeKey("id"+strconv.Itoa(r.IntN(2)), "PrivilegeInsert"), []byte("root"))
	case 0:
		c = put(catalogtest.DatabaseKey(db), catalogtest.Database(db, name, state, 1))
	case 1:
		c = put(catalogtest.LegacyCollectionKey(coll), catalogtest.Named(coll, 0, name, state).Value())
	case 2, 3:
		c = put(catalogtest.CollectionKey(db, coll), catalogtest.Named(coll, db, name, state).Value())
	case 4, 5:
		f := catalogtest.Key(name)
		f.FieldID = part
		c = put(catalogtest.FieldKey(coll, part), catalogtest.Message(f))
	case 7:
		c = put(catalogtest.AliasKey(db, name), catalogtest.Alias(name, db, coll, state))
	case 8:
		c = put(catalogtest.LegacyAliasKey(name), catalogtest.Alias(name, 0, coll, state))
	case 9, 10:
		ix := catalogtest.Index{ID: part, Collection: coll, Field: 100, Name: name, Deleted: r.IntN(4) == 0}
		c = put(catalogtest.IndexKey(coll, part), ix.Value())
	case 11, 12:
		c = put(catalogtest.LoadKey(coll), catalogtest.Load(coll, 1, 1+r.IntN(2), 1+r.IntN(2)))
	case 13, 14:
		c = put(catalogtest.PartitionLoadKey(coll, part), catalogtest.PartitionLoad(coll, part, 1+r.IntN(2)))
	case 6:
		c = put(catalogtest.PartitionKey(coll, part), catalogtest.Partition(part, coll, name, state))
	default:
		c = put(catalogtest.FunctionKey(coll, part), catalogtest.Message(&schemapb.FunctionSchema{Id: part, Name: name}))
	}
	switch r.IntN(8) {
	case 0, 1:
		return del(c.key)
	case 2, 3:
		return dead(c.key)
	case 4:
		c.value = []byte("junk")
	}
	return c
}

// TestWatchingEqualsListing holds that following the changes ends where listing the keys begins, and that no View
// changes once it is made.
func TestWatchingEqualsListing(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 0))
		m := newModel("p/")
		left := map[string]change{}
		var views []*View
		var said []string
		for rev := int64(1); rev < 40; rev++ {
			e := m.edit()
			for range 1 + r.IntN(4) {
				c := randomChange(r)
				c.rev = rev
				left[c.key] = c
				e.add(c)
			}
			v := e.finish(rev)
			views, said = append(views, v), append(said, text(v))

			list := newModel("p/")
			e = list.edit()
			for _, key := range slices.Sorted(maps.Keys(left)) {
				if c := left[key]; c.value != nil { // a deleted key is not in a listing, a tombstone is
					e.add(c)
				}
			}
			if want := text(e.finish(rev)); said[len(said)-1] != want {
				t.Fatalf("seed %d, revision %d: followed\n%s listed\n%s", seed, rev, said[len(said)-1], want)
			}
		}
		for i, v := range views {
			if got := text(v); got != said[i] {
				t.Fatalf("seed %d: the view of revision %d was changed later, from\n%s to\n%s", seed, v.Revision, said[i], got)
			}
		}
	}
}

// FuzzModel throws any key and value at a model that holds a good collection.
func FuzzModel(f *testing.F) {
	for _, recording := range recordings() {
		for _, e := range readEvents(f, recording) {
			f.Add(e.key, e.value, false)
		}
	}
	f.Add("root-coord/fields/10/100", []byte("junk"), true)
	f.Add(catalogtest.GranteeKey("r", "Collection", "c"), []byte("id/1"), false)
	f.Fuzz(func(t *testing.T, key string, value []byte, gone bool) {
		m := newModel("p/")
		apply(m, 1, append(orders(0), put(catalogtest.CollectionKey(1, 40), catalogtest.Named(40, 1, "other", 0).Value()))...)
		apply(m, 2, change{key: key, value: value, gone: gone})
		apply(m, 3, del(key))
		o, err := parseKey(key)
		if err != nil || o.collection() != 40 {
			if v := m.last; v.Collections[40] == nil || v.Unreadable != nil {
				t.Errorf("%q took another collection with it: %s", key, text(v))
			}
		}
	})
}

// BenchmarkApply is one change while ten thousand collections are there.
func BenchmarkApply(b *testing.B) {
	m := newModel("p/")
	e := m.edit()
	for id := range int64(10_000) {
		e.add(put(catalogtest.CollectionKey(1, id), catalogtest.Named(id, 1, "c"+itoa(id), 0).Value()))
	}
	e.finish(1)
	value := catalogtest.Partition(20, 10, "p", 0)
	b.ReportAllocs()
	for rev := int64(2); b.Loop(); rev++ {
		apply(m, rev, put(catalogtest.PartitionKey(10, 20), value))
	}
}
