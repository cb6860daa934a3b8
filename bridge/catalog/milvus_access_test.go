//go:build servers

package catalog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"

	"kitestream/bridge/catalog"
	"kitestream/test/servers"
)

// guarded is a Milvus with authorization, and a client of root's.
func guarded(t *testing.T) (milvuspb.MilvusServiceClient, *catalog.Catalog) {
	t.Helper()
	m, err := servers.StartMilvus(within(t, 2*time.Minute), servers.MilvusConfig{Dir: t.TempDir(), Set: map[string]string{"common.security.authorizationEnabled": "true"}})
	must(t, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := client.NewClient(t.Context(), client.Config{Address: m.Addr, APIKey: "root:Milvus"})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	cfg := catalog.DefaultConfig()
	cfg.Endpoints = []string{m.EtcdEndpoint}
	return c.(*client.GrpcClient).Service, open(t, cfg)
}

// privilege is a request about a privilege on database.object.
func privilege(role, typ, on, name string, what milvuspb.OperatePrivilegeType) *milvuspb.OperatePrivilegeRequest {
	db, object, _ := strings.Cut(on, ".")
	return &milvuspb.OperatePrivilegeRequest{Type: what, Entity: &milvuspb.GrantEntity{
		Role: &milvuspb.RoleEntity{Name: role}, Object: &milvuspb.ObjectEntity{Name: typ}, ObjectName: object, DbName: db,
		Grantor: &milvuspb.GrantorEntity{Privilege: &milvuspb.PrivilegeEntity{Name: name}},
	}}
}

func said(t *testing.T, s *commonpb.Status, err error) {
	t.Helper()
	if err != nil || s.GetCode() != 0 || s.GetErrorCode() != commonpb.ErrorCode_Success {
		t.Fatalf("%v, %v", s, err)
	}
}

// TestMilvusAccess has a real Milvus make, change and drop users and roles, and compares each View with what it should be,
// beside what a new Milvus has.
func TestMilvusAccess(t *testing.T) {
	m, c := guarded(t)
	ctx := t.Context()
	first := syncNow(t, c).Access
	if !first.Users["root"] || !first.Roles["admin"] || !first.Roles["public"] || !first.Grants[catalog.Grant{Role: "public", Type: "Collection", Database: "*", Object: "*", Privilege: "IndexDetail"}] {
		t.Errorf("a new Milvus has %+v", first)
	}
	is := func(want ...string) {
		t.Helper()
		slices.Sort(want)
		if got := beside(syncNow(t, c).Access, first); !slices.Equal(got, want) {
			t.Errorf("access is\n%q, want\n%q", got, want)
		}
	}
	is()
	s, err := m.CreateCredential(ctx, &milvuspb.CreateCredentialRequest{Username: "ann", Password: "c2VjcmV0MTI="})
	said(t, s, err)
	s, err = m.CreateRole(ctx, &milvuspb.CreateRoleRequest{Entity: &milvuspb.RoleEntity{Name: "writer"}})
	said(t, s, err)
	for _, role := range []string{"writer", "admin"} {
		s, err = m.OperateUserRole(ctx, &milvuspb.OperateUserRoleRequest{Username: "ann", RoleName: role})
		said(t, s, err)
	}
	is("user ann", "role writer", "{ann writer}", "{ann admin}")
	grants := []*milvuspb.OperatePrivilegeRequest{
		privilege("writer", "Collection", ".c", "Insert", milvuspb.OperatePrivilegeType_Grant),
		privilege("writer", "Collection", "db1.c", "*", milvuspb.OperatePrivilegeType_Grant),
		privilege("writer", "Collection", "*.*", "Query", milvuspb.OperatePrivilegeType_Grant),
		privilege("writer", "Global", ".*", "All", milvuspb.OperatePrivilegeType_Grant),
		privilege("writer", "User", ".ann", "UpdateUser", milvuspb.OperatePrivilegeType_Grant),
		privilege("public", "Collection", ".c", "Search", milvuspb.OperatePrivilegeType_Grant),
	}
	for _, g := range grants {
		s, err = m.OperatePrivilege(ctx, g)
		said(t, s, err)
	}
	is("user ann", "role writer", "{ann writer}", "{ann admin}",
		"{writer Collection default c Insert}", "{writer Collection db1 c *}", "{writer Collection * * Query}",
		"{writer Global default * All}", "{writer User default ann UpdateUser}", "{public Collection default c Search}")
	for _, g := range grants[:5] {
		g.Type = milvuspb.OperatePrivilegeType_Revoke
		s, err = m.OperatePrivilege(ctx, g)
		said(t, s, err)
	}
	s, err = m.DropRole(ctx, &milvuspb.DropRoleRequest{RoleName: "writer"})
	said(t, s, err)
	is("user ann", "{ann admin}", "{public Collection default c Search}")
	s, err = m.DeleteCredential(ctx, &milvuspb.DeleteCredentialRequest{Username: "ann"})
	said(t, s, err)
	is("{public Collection default c Search}")
	if v := c.View(); v.Unreadable != nil {
		t.Errorf("unreadable: %v", v.Unreadable)
	}
}

// beside is what an Access has that another has not.
func beside(a, other *catalog.Access) []string {
	var out []string
	out = append(out, beyond("user ", a.Users, other.Users)...)
	out = append(out, beyond("role ", a.Roles, other.Roles)...)
	out = append(out, beyond("", a.Members, other.Members)...)
	out = append(out, beyond("", a.Grants, other.Grants)...)
	slices.Sort(out)
	return out
}

func beyond[K comparable](what string, set, other map[K]bool) (out []string) {
	for k := range set {
		if !other[k] {
			out = append(out, what+fmt.Sprint(k))
		}
	}
	return out
}
