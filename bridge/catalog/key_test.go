package catalog

import (
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	for key, want := range map[string]object{
		"database/db-info/1":                         {kindDatabase, noDatabase, 1},
		"database/collection-info/1/470648641565756": {kindCollection, 1, 470648641565756},
		"collection/7":                               {kindCollection, noDatabase, 7},
		"fields/7/0":                                 {kindField, 7, 0},
		"struct-array-fields/7/104":                  {kindStructField, 7, 104},
		"functions/7/100":                            {kindFunction, 7, 100},
		"partitions/7/8":                             {kindPartition, 7, 8},
		"database/aliases/1/a":                       {},
		"aliases/a":                                  {},
		"collection-alias/a":                         {},
		"credential/users/root":                      {},
		"":                                           {},
	} {
		if got, err := parseKey(key); err != nil || got != want {
			t.Errorf("parseKey(%q) = %v, %v, want %v", key, got, err, want)
		}
	}
	for _, key := range []string{
		"database/db-info/", "database/db-info/x", "database/db-info/-1", "database/db-info/+1", "database/db-info/01",
		"database/db-info/1/2", "database/collection-info/1", "database/collection-info/1/", "fields//1", "fields/1/2/3",
		"partitions/9223372036854775808/1",
	} {
		if o, err := parseKey(key); err == nil {
			t.Errorf("parseKey(%q) = %v, want an error", key, o)
		}
	}
}

// FuzzParseKey holds that no two keys name one object.
func FuzzParseKey(f *testing.F) {
	for _, l := range layouts() {
		f.Add(l.folder + "1")
		f.Add(l.folder + "1/2")
	}
	f.Fuzz(func(t *testing.T, key string) {
		o, err := parseKey(key)
		if err != nil || o.kind == kindOther {
			return
		}
		for _, l := range layouts() {
			if l.kind != o.kind || (l.ids == 2) != (o.parent != noDatabase) {
				continue
			}
			ids := []string{itoa(o.id)}
			if l.ids == 2 {
				ids = []string{itoa(o.parent), itoa(o.id)}
			}
			if back := l.folder + strings.Join(ids, "/"); back != key {
				t.Errorf("parseKey(%q) = %v, which is %q", key, o, back)
			}
		}
	})
}
