package bridge

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// Who is in every Milvus and stays there.
const (
	userRoot   = "root"
	roleAdmin  = "admin"
	rolePublic = "public"
)

// access publishes users, roles and what they may do where that differs from what has been published: what is to go
// before what comes, and everything after what it stands on.
func (s *sequencer) access(ctx context.Context, v *catalog.View) (waiting int, err error) {
	if !s.task.RBAC || s.accessed == v.Access {
		return 0, nil
	}
	for _, e := range s.ledger.access.leading(s.ledger.access.wanted(v)) {
		if err := s.publishSetting(ctx, e.kind, &ledgerCollection{}, 0, e.body); err != nil {
			return 0, err
		}
	}
	s.accessed = v.Access
	return 0, nil
}

// wanted is what a target is to have of the source's users and roles: without those that every Milvus has, and without what
// a user or role has that is not there, which is about to come or has just gone. A grant that can't be read stays as it was.
func (a *ledgerAccess) wanted(v *catalog.View) *catalog.Access {
	is := &catalog.Access{Users: maps.Clone(v.Access.Users), Roles: maps.Clone(v.Access.Roles), Members: map[catalog.Member]bool{}, Grants: map[catalog.Grant]bool{}}
	delete(is.Users, userRoot)
	standing := func(role string) bool { return role == roleAdmin || role == rolePublic }
	maps.DeleteFunc(is.Roles, func(role string, _ bool) bool { return standing(role) })
	for m := range v.Access.Members {
		if is.Users[m.User] && (is.Roles[m.Role] || standing(m.Role)) {
			is.Members[m] = true
		}
	}
	for g := range v.Access.Grants {
		if is.Roles[g.Role] || standing(g.Role) {
			is.Grants[g] = true
		}
	}
	for g := range a.grants {
		if (is.Roles[g.Role] || standing(g.Role)) && !v.GrantGone(g) {
			is.Grants[g] = true
		}
	}
	return is
}

// accessEvent is an event yet without its id.
type accessEvent struct {
	kind jetstream.Kind
	body proto.Message
}

// leading are the events that lead from what has been published to what is wanted.
func (a *ledgerAccess) leading(is *catalog.Access) []accessEvent {
	var out []accessEvent
	add := func(kind jetstream.Kind, body proto.Message) { out = append(out, accessEvent{kind, body}) }
	for _, g := range missing(a.grants, is.Grants, compareGrants) {
		add(jetstream.OperatePrivilege, grantRequest(g, milvuspb.OperatePrivilegeType_Revoke))
	}
	for _, m := range missing(a.members, is.Members, compareMembers) {
		add(jetstream.OperateUserRole, memberRequest(m, milvuspb.OperateUserRoleType_RemoveUserFromRole))
	}
	for _, user := range missing(a.users, is.Users, cmp.Compare[string]) {
		add(jetstream.DeleteCredential, &milvuspb.DeleteCredentialRequest{Username: user})
	}
	for _, role := range missing(a.roles, is.Roles, cmp.Compare[string]) {
		add(jetstream.DropRole, &milvuspb.DropRoleRequest{RoleName: role})
	}
	for _, role := range missing(is.Roles, a.roles, cmp.Compare[string]) {
		add(jetstream.CreateRole, &milvuspb.CreateRoleRequest{Entity: &milvuspb.RoleEntity{Name: role}})
	}
	for _, user := range missing(is.Users, a.users, cmp.Compare[string]) {
		add(jetstream.CreateCredential, &milvuspb.CreateCredentialRequest{Username: user}) // etcd has hashes of the password only
	}
	for _, m := range missing(is.Members, a.members, compareMembers) {
		add(jetstream.OperateUserRole, memberRequest(m, milvuspb.OperateUserRoleType_AddUserToRole))
	}
	for _, g := range missing(is.Grants, a.grants, compareGrants) {
		add(jetstream.OperatePrivilege, grantRequest(g, milvuspb.OperatePrivilegeType_Grant))
	}
	return out
}

// missing are those of a set that another has not, in order.
func missing[K comparable](from, in map[K]bool, compare func(a, b K) int) []K {
	var out []K
	for k := range from {
		if !in[k] {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, compare)
	return out
}

func compareMembers(a, b catalog.Member) int {
	return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Role, b.Role))
}

func compareGrants(a, b catalog.Grant) int {
	return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Database, b.Database),
		cmp.Compare(a.Object, b.Object), cmp.Compare(a.Privilege, b.Privilege))
}

func memberRequest(m catalog.Member, what milvuspb.OperateUserRoleType) *milvuspb.OperateUserRoleRequest {
	return &milvuspb.OperateUserRoleRequest{Username: m.User, RoleName: m.Role, Type: what}
}

func grantRequest(g catalog.Grant, what milvuspb.OperatePrivilegeType) *milvuspb.OperatePrivilegeRequest {
	return &milvuspb.OperatePrivilegeRequest{Type: what, Entity: &milvuspb.GrantEntity{
		Role: &milvuspb.RoleEntity{Name: g.Role}, Object: &milvuspb.ObjectEntity{Name: g.Type}, ObjectName: g.Object, DbName: g.Database,
		Grantor: &milvuspb.GrantorEntity{Privilege: &milvuspb.PrivilegeEntity{Name: g.Privilege}},
	}}
}

// ledgerAccess is what has been published of users and roles.
type ledgerAccess struct {
	users, roles map[string]bool
	members      map[catalog.Member]bool
	grants       map[catalog.Grant]bool
}

func newLedgerAccess() ledgerAccess {
	return ledgerAccess{users: map[string]bool{}, roles: map[string]bool{}, members: map[catalog.Member]bool{}, grants: map[catalog.Grant]bool{}}
}

// savedAccess is a ledgerAccess as a record.
type savedAccess struct {
	Users   []string         `json:"users,omitempty"`
	Roles   []string         `json:"roles,omitempty"`
	Members []catalog.Member `json:"members,omitempty"`
	Grants  []catalog.Grant  `json:"grants,omitempty"`
}

func (a *ledgerAccess) saved() savedAccess {
	return savedAccess{
		Users: missing(a.users, nil, cmp.Compare[string]), Roles: missing(a.roles, nil, cmp.Compare[string]),
		Members: missing(a.members, nil, compareMembers), Grants: missing(a.grants, nil, compareGrants),
	}
}

func (a savedAccess) loaded() ledgerAccess {
	l := newLedgerAccess()
	for _, u := range a.Users {
		l.users[u] = true
	}
	for _, r := range a.Roles {
		l.roles[r] = true
	}
	for _, m := range a.Members {
		l.members[m] = true
	}
	for _, g := range a.Grants {
		l.grants[g] = true
	}
	return l
}

// apply takes an event about users or roles into account.
func (a *ledgerAccess) apply(e *jetstream.Event) error {
	switch e.Kind {
	case jetstream.CreateCredential:
		return note(e, &milvuspb.CreateCredentialRequest{}, a.users, (*milvuspb.CreateCredentialRequest).GetUsername, true)
	case jetstream.DeleteCredential:
		return note(e, &milvuspb.DeleteCredentialRequest{}, a.users, (*milvuspb.DeleteCredentialRequest).GetUsername, false)
	case jetstream.CreateRole:
		name := func(r *milvuspb.CreateRoleRequest) string { return r.GetEntity().GetName() }
		return note(e, &milvuspb.CreateRoleRequest{}, a.roles, name, true)
	case jetstream.DropRole:
		return note(e, &milvuspb.DropRoleRequest{}, a.roles, (*milvuspb.DropRoleRequest).GetRoleName, false)
	case jetstream.OperateUserRole:
		var r milvuspb.OperateUserRoleRequest
		if err := decode(e, &r); err != nil {
			return err
		}
		put(a.members, catalog.Member{User: r.GetUsername(), Role: r.GetRoleName()}, r.GetType() == milvuspb.OperateUserRoleType_AddUserToRole)
	case jetstream.OperatePrivilege:
		var r milvuspb.OperatePrivilegeRequest
		if err := decode(e, &r); err != nil {
			return err
		}
		g := r.GetEntity()
		put(a.grants, catalog.Grant{Role: g.GetRole().GetName(), Type: g.GetObject().GetName(), Database: g.GetDbName(), Object: g.GetObjectName(),
			Privilege: g.GetGrantor().GetPrivilege().GetName()}, r.GetType() == milvuspb.OperatePrivilegeType_Grant)
	}
	return nil
}

// note puts the name that an event has into a set, or takes it out.
func note[M proto.Message](e *jetstream.Event, req M, set map[string]bool, name func(M) string, there bool) error {
	if err := decode(e, req); err != nil {
		return err
	}
	put(set, name(req), there)
	return nil
}

func put[K comparable](set map[K]bool, k K, there bool) {
	if there {
		set[k] = true
	} else {
		delete(set, k)
	}
}
