package catalog

import (
	"strings"
	"testing"

	"kitestream/bridge/catalog/catalogtest"
)

func TestAccessLife(t *testing.T) {
	m := newModel("p/")
	user, member := catalogtest.UserKey("ann"), catalogtest.MemberKey("ann", "writer")
	grantee, insert := catalogtest.GranteeKey("writer", "Collection", "shop.orders"), catalogtest.PrivilegeKey("e0", "PrivilegeInsert")
	hostile := []byte(`{"encrypted_password":"$2a$`) // cut off: what is in it is nobody's business
	v := apply(m, 1, put(user, hostile), put(catalogtest.RoleKey("writer"), []byte{}), put(member, nil))
	if got := text(v); got != "  member {\"ann\" \"writer\"}\n  role \"writer\"\n  user \"ann\"\n" {
		t.Fatalf("made: %s", got)
	}
	before := v.Access
	if v = apply(m, 2, put(catalogtest.DatabaseKey(5), catalogtest.Database(5, "d", 1, 1))); v.Access != before {
		t.Error("another Access although nothing of it has changed")
	}
	g := Grant{Role: "writer", Type: "Collection", Database: "shop", Object: "orders", Privilege: "Insert"}
	if v = apply(m, 3, put(grantee, []byte("e0"))); len(v.Access.Grants) != 0 || !v.GrantGone(g) {
		t.Errorf("a grant of no privilege: %v", v.Access.Grants)
	}
	all := g
	all.Privilege = "*"
	v = apply(m, 4, put(insert, []byte("root")), put(catalogtest.PrivilegeKey("e0", "*"), []byte("root")))
	if !v.Access.Grants[g] || !v.Access.Grants[all] || len(v.Access.Grants) != 2 {
		t.Errorf("granted: %v", v.Access.Grants)
	}
	if v = apply(m, 5, del(insert)); v.Access.Grants[g] || !v.GrantGone(g) || !v.Access.Grants[all] {
		t.Errorf("revoked: %v", v.Access.Grants)
	}
	if v = apply(m, 6, dead(user), del(member), del(catalogtest.RoleKey("writer"))); len(v.Access.Users)+len(v.Access.Roles)+len(v.Access.Members) != 0 {
		t.Errorf("dropped: %s", text(v))
	}
	if !before.Users["ann"] || !before.Roles["writer"] {
		t.Error("an Access was changed later")
	}
	v = apply(m, 7, del(grantee), del(catalogtest.PrivilegeKey("e0", "*")))
	if len(v.Access.Grants)+len(m.access.grantees)+len(m.access.privileges)+len(m.access.names) != 0 {
		t.Errorf("something is left: %+v", m.access)
	}
}

// TestAccessInAnyOrder has the keys of a grant come the other way round, and one id take another's place.
func TestAccessInAnyOrder(t *testing.T) {
	m := newModel("p/")
	grantee := catalogtest.GranteeKey("r", "Global", "*.*")
	apply(m, 1, put(catalogtest.PrivilegeKey("e0", "PrivilegeAll"), nil), put(catalogtest.PrivilegeKey("e1", "PrivilegeCreateCollection"), nil))
	v := apply(m, 2, put(grantee, []byte("e0")))
	if g := (Grant{"r", "Global", "*", "*", "All"}); !v.Access.Grants[g] {
		t.Errorf("grants %v", v.Access.Grants)
	}
	v = apply(m, 3, put(grantee, []byte("e1")))
	if g := (Grant{"r", "Global", "*", "*", "CreateCollection"}); !v.Access.Grants[g] || len(v.Access.Grants) != 1 {
		t.Errorf("grants of another id: %v", v.Access.Grants)
	}
}

// TestGrantNames has the keys and the stored names of several versions.
func TestGrantNames(t *testing.T) {
	for object, want := range map[string][2]string{
		"orders": {"default", "orders"}, "shop.orders": {"shop", "orders"}, "*.*": {"*", "*"}, "default.*": {"default", "*"},
		"a.b.c": {"a", "b.c"}, "*": {"default", "*"}, ".": {"", ""},
	} {
		g := object2grant(t, object)
		if g.Database != want[0] || g.Object != want[1] || g.Role != "r" || g.Type != "Collection" {
			t.Errorf("%s: %+v", object, g)
		}
	}
	for stored, want := range map[string]string{
		"PrivilegeInsert": "Insert", "*": "*", "PrivilegeAll": "All", "PrivilegeGroupClusterReadOnly": "ClusterReadOnly",
		"PrivilegeGroupmine": "mine", "Insert": "Insert", "Privilege": "Privilege", "PrivilegeGroup": "Group",
	} {
		if got := privilegeName(stored); got != want {
			t.Errorf("privilege %s: %s, want %s", stored, got, want)
		}
	}
}

func object2grant(t *testing.T, object string) Grant {
	t.Helper()
	o, err := parseKey(catalogtest.GranteeKey("r", "Collection", object))
	if err != nil {
		t.Fatal(err)
	}
	return o.grant()
}

// TestUnreadableGrantIsNotGone holds that nobody revokes what can't be read.
func TestUnreadableGrantIsNotGone(t *testing.T) {
	g := Grant{"r", "Collection", "d", "c", "Insert"}
	grantee := catalogtest.GranteeKey("r", "Collection", "d.c")
	for name, value := range map[string]string{"nothing": "", "not UTF-8": "\xff", "a path": "e0/x"} {
		m := newModel("p/")
		apply(m, 1, put(grantee, []byte("e0")), put(catalogtest.PrivilegeKey("e0", "PrivilegeInsert"), nil))
		v := apply(m, 2, put(grantee, []byte(value)))
		if v.Access.Grants[g] || v.GrantGone(g) || v.Unreadable["p/"+grantee] == nil {
			t.Errorf("%s: grants %v, unreadable %v", name, v.Access.Grants, v.Unreadable)
		}
		other := g
		other.Object = "x"
		if !v.GrantGone(other) {
			t.Errorf("%s: another grant is not known to be gone", name)
		}
		if v = apply(m, 3, put(grantee, []byte("e0"))); !v.Access.Grants[g] || v.Unreadable != nil {
			t.Errorf("%s: does not heal: %s", name, text(v))
		}
	}
}

// TestHostileAccessKeys holds that a key that is none of Milvus's is told of and does no more.
func TestHostileAccessKeys(t *testing.T) {
	for _, key := range []string{
		catalogtest.UserKey(""), catalogtest.UserKey("a/b"), catalogtest.UserKey("\xff"), catalogtest.RoleKey("a/b"), catalogtest.MemberKey("a", ""),
		catalogtest.MemberKey("a", "b/c"), catalogtest.GranteeKey("r", "", "a.b"), catalogtest.GranteeKey("r", "Collection", "a/b"), catalogtest.PrivilegeKey("", "x"),
	} {
		m := newModel("p/")
		v := apply(m, 1, put(key, []byte("x")), put(catalogtest.UserKey("good"), nil))
		if v.Unreadable["p/"+key] == nil || strings.TrimSpace(accessText(v.Access)) != `user "good"` {
			t.Errorf("%q: %s", key, text(v))
		}
	}
}
