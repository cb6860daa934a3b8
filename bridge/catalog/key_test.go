package catalog

import "testing"

func TestParseKey(t *testing.T) {
	for key, want := range map[string]object{
		"root-coord/database/db-info/1":                         {kindDatabase, noDatabase, 1, ""},
		"root-coord/database/collection-info/1/470648641565756": {kindCollection, 1, 470648641565756, ""},
		"root-coord/collection/7":                               {kindCollection, noDatabase, 7, ""},
		"root-coord/fields/7/0":                                 {kindField, 7, 0, ""},
		"root-coord/struct-array-fields/7/104":                  {kindStructField, 7, 104, ""},
		"root-coord/functions/7/100":                            {kindFunction, 7, 100, ""},
		"root-coord/partitions/7/8":                             {kindPartition, 7, 8, ""},
		"field-index/7/9":                                       {kindIndex, 7, 9, ""},
		"querycoord-collection-loadinfo/7":                      {kindLoad, noDatabase, 7, ""},
		"querycoord-partition-loadinfo/7/8":                     {kindPartitionLoad, 7, 8, ""},
		"queryCoord-ResourceGroup/a":                            {}, "querycoord-replica/7/9": {},
		"root-coord/database/aliases/1/a":                           {kindAlias, 1, 0, "a"},
		"root-coord/aliases/7":                                      {kindAlias, noDatabase, 0, "7"},
		"root-coord/collection-alias/a":                             {},
		"root-coord/credential/users/root":                          {kindUser, noDatabase, 0, "root"},
		"root-coord/credential/roles/7":                             {kindRole, noDatabase, 0, "7"},
		"root-coord/credential/user-role-mapping/u/r":               {kindMember, noDatabase, 0, "u/r"},
		"root-coord/credential/grantee-privileges/r/Collection/*.*": {kindGrantee, noDatabase, 0, "r/Collection/*.*"},
		"root-coord/credential/grantee-id/e0/PrivilegeInsert":       {kindPrivilege, noDatabase, 0, "e0/PrivilegeInsert"},
		"root-coord/credential/privilege-groups/g":                  {},
		"": {},
	} {
		if got, err := parseKey(key); err != nil || got != want {
			t.Errorf("parseKey(%q) = %v, %v, want %v", key, got, err, want)
		}
	}
	for _, key := range []string{
		"root-coord/database/db-info/", "root-coord/database/db-info/x", "root-coord/database/db-info/-1", "root-coord/database/db-info/+1", "root-coord/database/db-info/01",
		"root-coord/database/db-info/1/2", "root-coord/database/collection-info/1", "root-coord/database/collection-info/1/", "root-coord/fields//1", "root-coord/fields/1/2/3",
		"root-coord/partitions/9223372036854775808/1",
		"field-index/7", "querycoord-collection-loadinfo/7/8", "querycoord-partition-loadinfo/7", "root-coord/aliases/", "root-coord/aliases/1/a", "root-coord/database/aliases/a", "root-coord/database/aliases/1/", "root-coord/database/aliases/x/a",
		"root-coord/credential/users/", "root-coord/credential/users/a/b", "root-coord/credential/users/\xff", "root-coord/credential/roles/", "root-coord/credential/user-role-mapping/u",
		"root-coord/credential/user-role-mapping/u/", "root-coord/credential/user-role-mapping/u/r/x", "root-coord/credential/grantee-privileges/r/Collection",
		"root-coord/credential/grantee-privileges/r//a.b", "root-coord/credential/grantee-privileges/r/Collection/a/b", "root-coord/credential/grantee-id/e0",
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
		f.Add(l.folder + "1/2/3")
	}
	f.Fuzz(func(t *testing.T, key string) {
		o, err := parseKey(key)
		if err != nil || o.kind == kindOther {
			return
		}
		for _, l := range layouts() {
			if l.kind != o.kind || (l.ids == 2 || l.ids+l.names == 2 && l.ids == 1) != (o.parent != noDatabase) {
				continue
			}
			back := l.folder
			if o.parent != noDatabase {
				back += itoa(o.parent) + "/"
			}
			if l.names > 0 {
				back += o.name
			} else {
				back += itoa(o.id)
			}
			if back != key {
				t.Errorf("parseKey(%q) = %v, which is %q", key, o, back)
			}
		}
	})
}

// TestKeyRange has all that Milvus 2.3 to 2.6 keep below {root}/{meta}/: what is read lies inside, what is many outside.
func TestKeyRange(t *testing.T) {
	r := newKeyRange("by-dev/meta/")
	for folder, want := range map[string]bool{
		"field-index": true, "querycoord-collection-loadinfo": true, "querycoord-partition-loadinfo": true, "root-coord": true,
		"channelwatch": false, "datacoord-meta": false, "segment-index": false, "session": false, "snapshots": false,
		"streamingcoord-meta": false, "streamingnode-meta": false,
	} {
		for _, rest := range []string{"/", "/0", "/1/2", "/zz", "/\xff"} {
			if key := r.prefix + folder + rest; (r.first <= key && key < r.end) != want {
				t.Errorf("%s is in the range: %t", key, !want)
			}
		}
	}
	for _, l := range layouts() {
		if key := r.prefix + l.folder; key < r.first || key >= r.end {
			t.Errorf("%s is outside of the range", key)
		}
	}
	if other := newKeyRange("by-dev2/meta/"); other.first < r.end {
		t.Errorf("%s reaches into %s", other, r)
	}
}
