//go:build servers

package milvus_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/test/servers"
)

// guarded is a Milvus with authorization, the Target under test on it, and a client of root's to look with.
func guarded(t *testing.T) (*world, *servers.Milvus) {
	t.Helper()
	server, err := servers.StartMilvus(t.Context(), servers.MilvusConfig{Dir: t.TempDir(), Set: map[string]string{"common.security.authorizationEnabled": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return &world{t: t, db: "default", target: open(t, milvus.Config{URI: server.URI, Token: "root:Milvus"}), look: service(t, server.Addr, "root:Milvus")}, server
}

func has(text string) func() (string, error) {
	return func() (string, error) { return text, nil }
}

// none fails: nobody may ask for a password.
func none() (string, error) { return "", errors.New("a password was asked for") }

func memberOf(user, role string, what milvuspb.OperateUserRoleType) *milvuspb.OperateUserRoleRequest {
	return &milvuspb.OperateUserRoleRequest{Username: user, RoleName: role, Type: what}
}

// granted is a request about a privilege on database.object.
func granted(role, typ, on, privilege string, what milvuspb.OperatePrivilegeType) *milvuspb.OperatePrivilegeRequest {
	database, object, _ := strings.Cut(on, ".")
	return &milvuspb.OperatePrivilegeRequest{Type: what, Entity: &milvuspb.GrantEntity{
		Role: &milvuspb.RoleEntity{Name: role}, Object: &milvuspb.ObjectEntity{Name: typ}, ObjectName: object, DbName: database,
		Grantor: &milvuspb.GrantorEntity{Privilege: &milvuspb.PrivilegeEntity{Name: privilege}},
	}}
}

const (
	add    = milvuspb.OperateUserRoleType_AddUserToRole
	remove = milvuspb.OperateUserRoleType_RemoveUserFromRole
	grant  = milvuspb.OperatePrivilegeType_Grant
	revoke = milvuspb.OperatePrivilegeType_Revoke
)

// members are the users of the roles, as role:user, for roles that begin with the prefix.
func (w *world) members() []string {
	w.t.Helper()
	l, err := w.look.SelectRole(w.t.Context(), &milvuspb.SelectRoleRequest{IncludeUserInfo: true})
	w.said(l.GetStatus(), err)
	var out []string
	for _, r := range l.GetResults() {
		name := r.GetRole().GetName()
		if name != "admin" && name != "public" {
			out = append(out, name)
		}
		for _, u := range r.GetUsers() {
			out = append(out, name+":"+u.GetName())
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) users() []string {
	w.t.Helper()
	l, err := w.look.ListCredUsers(w.t.Context(), &milvuspb.ListCredUsersRequest{})
	w.said(l.GetStatus(), err)
	return slices.Sorted(slices.Values(l.GetUsernames()))
}

// privileges are what a role is granted in a database, or "*".
func (w *world) privileges(role, db string) []string {
	w.t.Helper()
	l, err := w.look.SelectGrant(w.t.Context(), &milvuspb.SelectGrantRequest{Entity: &milvuspb.GrantEntity{Role: &milvuspb.RoleEntity{Name: role}, DbName: db}})
	w.said(l.GetStatus(), err)
	var out []string
	for _, g := range l.GetEntities() {
		out = append(out, fmt.Sprintf("%s %s.%s %s", g.GetObject().GetName(), g.GetDbName(), g.GetObjectName(), g.GetGrantor().GetPrivilege().GetName()))
	}
	slices.Sort(out)
	return out
}

// TestAccess does all to users and roles that there is to do, twice, and looks.
func TestAccess(t *testing.T) {
	w, server := guarded(t)
	ctx := t.Context()
	equal := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	twice := func(do func() error) {
		t.Helper()
		for range 2 {
			w.must(do())
		}
	}
	w.must(w.target.CreateUser(ctx, "ann", has("first1")))
	w.must(w.target.CreateUser(ctx, "ann", none))
	equal("users", w.users(), "ann", "root")
	twice(func() error { return w.target.CreateRole(ctx, "writer") })
	twice(func() error { return w.target.SetMember(ctx, memberOf("ann", "writer", add)) })
	twice(func() error { return w.target.SetMember(ctx, memberOf("ann", "admin", add)) })
	equal("members", w.members(), "admin:ann", "writer", "writer:ann")
	twice(func() error {
		return w.target.SetPrivilege(ctx, granted("writer", "Collection", "default.c", "Insert", grant))
	})
	for _, db := range []string{"one", "two"} {
		w.must(w.target.CreateDatabase(ctx, db))
	}
	w.must(w.target.SetPrivilege(ctx, granted("writer", "Collection", "one.*", "*", grant)))
	w.must(w.target.SetPrivilege(ctx, granted("writer", "Collection", "*.*", "Query", grant)))
	w.must(w.target.SetPrivilege(ctx, granted("writer", "Global", "default.*", "CreateCollection", grant)))
	w.must(w.target.SetPrivilege(ctx, granted("public", "User", "default.*", "SelectUser", grant)))
	equal("grants of default", w.privileges("writer", "default"), "Collection *.* Query", "Collection default.c Insert", "Global default.* CreateCollection")
	equal("grants of one", w.privileges("writer", "one"), "Collection *.* Query", "Collection one.* *")
	twice(func() error {
		return w.target.SetPrivilege(ctx, granted("writer", "Collection", "default.c", "Insert", revoke))
	})
	twice(func() error {
		return w.target.SetPrivilege(ctx, granted("writer", "Collection", "gone.gone", "Insert", revoke))
	})
	equal("grants without one", w.privileges("writer", "default"), "Collection *.* Query", "Global default.* CreateCollection")

	// The password is the one that was asked for.
	ann := open(t, milvus.Config{URI: server.URI, Token: "ann:first1"})
	w.must(ann.CreateDatabase(ctx, "anns")) // as an admin may

	twice(func() error { return w.target.SetMember(ctx, memberOf("ann", "admin", remove)) })
	twice(func() error { return w.target.DropRole(ctx, "writer") }) // which is still granted something in three databases
	equal("members without the role", w.members())
	twice(func() error { return w.target.CreateRole(ctx, "writer") })
	equal("grants of the new role", append(w.privileges("writer", "default"), w.privileges("writer", "one")...))
	twice(func() error { return w.target.DropUser(ctx, "ann") })
	equal("users without one", w.users(), "root")

	t.Run("refusals", func(t *testing.T) { accessRefusals(t, w, server) })
}

// accessRefusals asks for what can't be.
func accessRefusals(t *testing.T, w *world, server *servers.Milvus) {
	ctx := t.Context()
	for name, tc := range map[string]struct {
		err  error
		code string
	}{
		"short password":         {w.target.CreateUser(ctx, "bob", has("abc")), milvus.CodeRefused},
		"no name":                {w.target.CreateUser(ctx, "b b", has("secret12")), milvus.CodeRefused},
		"a role for nobody":      {w.target.SetMember(ctx, memberOf("bob", "writer", add)), milvus.CodeNoUser},
		"no role for root":       {w.target.SetMember(ctx, memberOf("root", "none", add)), milvus.CodeNoRole},
		"a grant to nobody":      {w.target.SetPrivilege(ctx, granted("none", "Global", "default.*", "All", grant)), milvus.CodeNoRole},
		"a later privilege":      {w.target.SetPrivilege(ctx, granted("writer", "Global", "default.*", "AddFileResource", grant)), milvus.CodeUnsupported},
		"of a later object type": {w.target.SetPrivilege(ctx, granted("writer", "Database", "default.*", "Insert", grant)), milvus.CodeUnsupported},
		"a role that stays":      {w.target.DropRole(ctx, "admin"), milvus.CodeNotAllowed},
		"a user that stays":      {w.target.DropUser(ctx, "root"), milvus.CodeNotAllowed},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, tc.err, handlers.Permanent, tc.code) })
	}
	for name, err := range map[string]error{
		"no role of nobody":   w.target.SetMember(ctx, memberOf("bob", "writer", remove)),
		"no role of none":     w.target.SetMember(ctx, memberOf("root", "none", remove)),
		"a revoke of none":    w.target.SetPrivilege(ctx, granted("none", "Global", "default.*", "All", revoke)),
		"a later one revoked": w.target.SetPrivilege(ctx, granted("writer", "Global", "default.*", "AddFileResource", revoke)),
		"nobody dropped":      w.target.DropUser(ctx, "bob"),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	failed := errors.New("no password")
	if err := w.target.CreateUser(ctx, "bob", func() (string, error) { return "", failed }); !errors.Is(err, failed) {
		t.Errorf("without a password: %v", err)
	}
	w.must(w.target.CreateUser(ctx, "small", has("secret12")))
	small := open(t, milvus.Config{URI: server.URI, Token: "small:secret12"})
	for name, err := range map[string]error{
		"user":      small.CreateUser(ctx, "x", none),
		"role":      small.CreateRole(ctx, "x"),
		"drop role": small.DropRole(ctx, "writer"),
		"drop user": small.DropUser(ctx, "x"),
		"member":    small.SetMember(ctx, memberOf("small", "admin", add)),
		"privilege": small.SetPrivilege(ctx, granted("public", "Global", "default.*", "All", grant)),
	} {
		t.Run("forbidden "+name, func(t *testing.T) { wantCode(t, err, handlers.Permanent, milvus.CodeNotAllowed) })
	}
}

// TestLiteAccess holds that a Milvus Lite says clearly that it has no users and roles.
func TestLiteAccess(t *testing.T) {
	w, ctx := newLite(t), t.Context()
	for name, err := range map[string]error{
		"user":      w.target.CreateUser(ctx, "x", has("secret12")),
		"drop user": w.target.DropUser(ctx, "x"),
		"role":      w.target.CreateRole(ctx, "x"),
		"drop role": w.target.DropRole(ctx, "x"),
		"member":    w.target.SetMember(ctx, memberOf("x", "y", add)),
		"privilege": w.target.SetPrivilege(ctx, granted("public", "Global", "default.*", "All", grant)),
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, err, handlers.Permanent, milvus.CodeUnsupported) })
	}
}
