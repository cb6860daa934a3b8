package catalog

import (
	"testing"

	"kitestream/bridge/catalog/catalogtest"
)

func TestAliasLife(t *testing.T) {
	m := newModel("p/")
	here, there := AliasKey{1, "o"}, AliasKey{5, "o"}
	key := catalogtest.AliasKey(1, "o")
	v := apply(m, 1, put(key, catalogtest.Alias("o", 1, 10, catalogtest.Created)), put(catalogtest.AliasKey(5, "o"), catalogtest.Alias("o", 5, 50, catalogtest.Creating)))
	if a := v.Aliases[here]; a == nil || *a != (Alias{Name: "o", DatabaseID: 1, CollectionID: 10, Created: 10 << 18}) {
		t.Errorf("created: %+v", a)
	}
	if a := v.Aliases[there]; a == nil || a.CollectionID != 50 || a.State != Creating {
		t.Errorf("of the same name in another database: %+v", a)
	}
	altered := apply(m, 2, put(key, catalogtest.Alias("o", 1, 11, 0)))
	if altered.Aliases[here].CollectionID != 11 || v.Aliases[here].CollectionID != 10 {
		t.Errorf("altered: %s before: %s", text(altered), text(v))
	}
	if v = apply(m, 3, dead(key)); !v.AliasGone(here) || v.AliasGone(there) || altered.Aliases[here] == nil {
		t.Errorf("dropped: %s", text(v))
	}
	if v = apply(m, 4, put(key, catalogtest.Alias("o", 1, 12, 0))); v.Aliases[here].CollectionID != 12 {
		t.Errorf("created again: %s", text(v))
	}
	v = apply(m, 5, dead(key), put(key, catalogtest.Alias("o", 1, 13, 0)))
	if v.Aliases[here].CollectionID != 13 {
		t.Errorf("dropped and created in one revision: %s", text(v))
	}
	v = apply(m, 6, del(key), del(catalogtest.AliasKey(5, "o")))
	if len(v.Aliases)+len(m.aliases) != 0 {
		t.Errorf("something is left: %s, %d aliases", text(v), len(m.aliases))
	}
}

func TestLegacyAlias(t *testing.T) {
	m := newModel("p/")
	k, legacy, modern := AliasKey{1, "o"}, catalogtest.LegacyAliasKey("o"), catalogtest.AliasKey(1, "o")
	v := apply(m, 1, put(legacy, catalogtest.Alias("o", 0, 10, 0)))
	if a := v.Aliases[k]; len(v.Aliases) != 1 || a == nil || a.DatabaseID != 1 || a.CollectionID != 10 {
		t.Fatalf("legacy alias: %s", text(v))
	}
	apply(m, 2, put(modern, catalogtest.Alias("o", 1, 11, 0)))
	v = apply(m, 3, put(legacy, catalogtest.Alias("o", 0, 12, 0)))
	if a := v.Aliases[k]; a.CollectionID != 11 {
		t.Errorf("the legacy key wins over the new one: %s", text(v))
	}
	if v = apply(m, 4, put(modern, []byte("junk"))); v.Aliases[k] != nil || v.AliasGone(k) {
		t.Errorf("the legacy key shows through one that can't be read: %s", text(v))
	}
	if v = apply(m, 5, dead(modern)); v.Aliases[k].CollectionID != 12 {
		t.Errorf("without the new key the legacy one does not count: %s", text(v))
	}
	if v = apply(m, 6, dead(legacy)); !v.AliasGone(k) {
		t.Errorf("still there: %s", text(v))
	}
	// Before Milvus 2.1 an alias's key held a whole collection.
	if v = apply(m, 7, put("root-coord/collection-alias/o", catalogtest.Named(10, 0, "o", 0).Value())); text(v) != "" {
		t.Errorf("an alias of before 2.1 is read: %s", text(v))
	}
}

func TestDecodeAliasRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":         {},
		"tombstone":       []byte(tombstone),
		"another name":    catalogtest.Alias("p", 1, 10, 0),
		"no collection":   catalogtest.Alias("o", 1, 0, 0),
		"unknown state":   catalogtest.Alias("o", 1, 10, 4),
		"cut off":         catalogtest.Alias("o", 1, 10, 0)[:4],
		"wrong wire type": append(catalogtest.Alias("o", 1, 10, 0), 2<<3|2, 0),
		"not UTF-8":       catalogtest.Alias("\xff", 1, 10, 0),
	} {
		if a, err := decodeAlias(b, object{kindAlias, 1, 0, "o"}); err == nil {
			t.Errorf("%s: decoded as %+v", name, a)
		}
	}
}
