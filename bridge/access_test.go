package bridge_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
	"kitestream/jetstream/jetstreamtest"
)

// someAccess has users, roles, members and grants come and go, among them those that every Milvus has, and what is left of
// a user or role that is gone.
func (h *history) someAccess() {
	a := &catalog.Access{Users: map[string]bool{"root": true}, Roles: map[string]bool{"admin": true, "public": true},
		Members: map[catalog.Member]bool{}, Grants: map[catalog.Grant]bool{}}
	if last := h.access.last(); last != nil {
		a = &catalog.Access{Users: maps.Clone(last.Users), Roles: maps.Clone(last.Roles), Members: maps.Clone(last.Members), Grants: maps.Clone(last.Grants)}
	}
	any := func(of ...string) string { return of[h.accessRNG.IntN(len(of))] }
	for range 1 + h.accessRNG.IntN(3) {
		switch h.accessRNG.IntN(4) {
		case 0:
			toggle(a.Users, any("ann", "bob"))
		case 1:
			toggle(a.Roles, any("reader", "writer"))
		case 2:
			toggle(a.Members, catalog.Member{User: any("ann", "bob", "root"), Role: any("reader", "writer", "admin", "public")})
		case 3:
			toggle(a.Grants, catalog.Grant{Role: any("reader", "writer", "public", "admin"), Type: "Collection", Database: any("default", "other", "*"),
				Object: any("a", "b", "*"), Privilege: any("Insert", "Query", "*")})
		}
	}
	h.access.add(h.ts, a)
}

func toggle[K comparable](set map[K]bool, k K) {
	if set[k] {
		delete(set, k)
	} else {
		set[k] = true
	}
}

// modelAccess is what a target knows of users and roles.
type modelAccess struct {
	users, roles map[string]bool
	members      map[catalog.Member]bool
	grants       map[catalog.Grant]bool
}

func newModelAccess() modelAccess {
	return modelAccess{map[string]bool{"root": true}, map[string]bool{"admin": true, "public": true}, map[catalog.Member]bool{}, map[catalog.Grant]bool{}}
}

// access applies an event about users or roles as a Milvus does that forgives nothing. It reports whether it was one.
func (m *model) access(e *jetstream.Event) bool {
	m.t.Helper()
	a := m.allowed
	var name string
	switch e.Kind {
	case jetstream.CreateCredential:
		var r milvuspb.CreateCredentialRequest
		m.body(&r)
		name = r.GetUsername()
		m.must(!a.users[name] && r.GetPassword() == "", "user %s is there, or has a password", name)
		a.users[name] = true
	case jetstream.DeleteCredential:
		var r milvuspb.DeleteCredentialRequest
		m.body(&r)
		name = r.GetUsername()
		m.must(a.users[name] && name != "root", "there is no user %s", name)
		for member := range a.members {
			m.must(member.User != name, "the user still has the role %s", member.Role)
		}
		delete(a.users, name)
	case jetstream.CreateRole:
		var r milvuspb.CreateRoleRequest
		m.body(&r)
		name = r.GetEntity().GetName()
		m.must(!a.roles[name], "role %s is there", name)
		a.roles[name] = true
	case jetstream.DropRole:
		var r milvuspb.DropRoleRequest
		m.body(&r)
		m.dropRole(r.GetRoleName())
	case jetstream.OperateUserRole:
		var r milvuspb.OperateUserRoleRequest
		m.body(&r)
		member := catalog.Member{User: r.GetUsername(), Role: r.GetRoleName()}
		m.must(a.users[member.User] && a.roles[member.Role] && member.User != "root", "%v is of what is not there, or root", member)
		m.must(a.members[member] == (r.GetType() == milvuspb.OperateUserRoleType_RemoveUserFromRole), "%v is so already", member)
		toggle(a.members, member)
	case jetstream.OperatePrivilege:
		var r milvuspb.OperatePrivilegeRequest
		m.body(&r)
		g := catalog.Grant{Role: r.GetEntity().GetRole().GetName(), Type: r.GetEntity().GetObject().GetName(), Database: r.GetEntity().GetDbName(),
			Object: r.GetEntity().GetObjectName(), Privilege: r.GetEntity().GetGrantor().GetPrivilege().GetName()}
		m.must(a.roles[g.Role], "%v is of a role that is not there", g)
		m.must(a.grants[g] == (r.GetType() == milvuspb.OperatePrivilegeType_Revoke), "%v is so already", g)
		toggle(a.grants, g)
	default:
		return false
	}
	m.must(e.Database == "" && e.Collection == "" && e.CollectionID == 0, "names a database or a collection")
	return true
}

func (m *model) dropRole(name string) {
	m.t.Helper()
	m.must(m.allowed.roles[name] && name != "admin" && name != "public", "there is no role %s", name)
	for member := range m.allowed.members {
		m.must(member.Role != name, "user %s still has the role", member.User)
	}
	for g := range m.allowed.grants {
		m.must(g.Role != name, "the role still has %v", g)
	}
	delete(m.allowed.roles, name)
}

func (a modelAccess) lines() (out []string) {
	for u := range a.users {
		out = append(out, "user "+u)
	}
	for r := range a.roles {
		out = append(out, "role "+r)
	}
	for m := range a.members {
		out = append(out, fmt.Sprintf("member %v", m))
	}
	for g := range a.grants {
		out = append(out, fmt.Sprintf("grant %v", g))
	}
	slices.Sort(out)
	return out
}

// lastAccess is what the model should say in the end: without root's memberships and what is of nobody.
func (h *history) lastAccess(spec jetstream.TaskSpec) []string {
	want := newModelAccess()
	if a := h.access.last(); spec.RBAC && a != nil {
		maps.Copy(want.users, a.Users)
		maps.Copy(want.roles, a.Roles)
		for m := range a.Members {
			if m.User != "root" && a.Users[m.User] && a.Roles[m.Role] {
				want.members[m] = true
			}
		}
		for g := range a.Grants {
			if a.Roles[g.Role] {
				want.grants[g] = true
			}
		}
	}
	return want.lines()
}

// TestUnreadableGrantIsNotRevoked has a grant become unreadable, and its role go.
func TestUnreadableGrantIsNotRevoked(t *testing.T) {
	srv := jetstreamtest.Run(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := jetstream.Setup(ctx, srv.JetStream(), 1); err != nil {
		t.Fatal(err)
	}
	g := catalog.Grant{Role: "reader", Type: "Collection", Database: "default", Object: "a", Privilege: "Query"}
	grantee := map[string]error{"root-coord/credential/grantee-privileges/reader/Collection/default.a": context.Canceled}
	h := newHistory(1, 0)
	h.access.add(1, &catalog.Access{Roles: map[string]bool{"reader": true}, Grants: map[catalog.Grant]bool{g: true}})
	h.access.add(2, &catalog.Access{Roles: map[string]bool{"reader": true}})
	h.unreadable.add(2, grantee)
	h.access.add(3, &catalog.Access{})
	spec := jetstream.TaskSpec{Name: "unreadable", Source: "default", Lanes: 1, RBAC: true, Select: []jetstream.Selection{{Database: "default", Collections: []string{"*"}}},
		Targets: []jetstream.TargetSpec{{Name: "t", URI: "http://127.0.0.1:1"}}}
	for now, want := range []bool{1: true, 2: true, 3: false} {
		if now == 0 {
			continue
		}
		sim := simulation{srv: srv, meta: newSimMeta(h, uint64(now), 0), spec: spec}
		sim.finish(ctx, t, uint64(now))
		m := replay(ctx, t, srv.JetStream(), spec)
		if m.allowed.grants[g] != want || m.allowed.roles["reader"] != want {
			t.Errorf("at %d: %v, want the role and its grant: %t", now, m.allowed.lines(), want)
		}
	}
}
