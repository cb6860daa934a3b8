package milvus

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/handlers"
)

// access is what a target's version needs to have users and roles.
const access = "users and roles"

// CreateUser makes the user if it is not there.
func (t *Target) CreateUser(ctx context.Context, name string, password func() (string, error)) error {
	if found, err := t.hasUser(ctx, name); err != nil || found {
		return err
	}
	secret, err := password()
	if err != nil {
		return err
	}
	s, err := t.service.CreateCredential(ctx, &milvuspb.CreateCredentialRequest{
		Username: name, Password: encrypted(secret),
	})
	return t.unlessUser(ctx, name, true, setting(checkStatus(s, err), access))
}

// SetPassword makes the user, or changes its password. The target's own rule that the old one has to be given holds.
func (t *Target) SetPassword(ctx context.Context, name, old, password string) error {
	found, err := t.hasUser(ctx, name)
	if err != nil {
		return err
	}
	if !found {
		return t.CreateUser(ctx, name, func() (string, error) { return password, nil })
	}
	if old == "" {
		return nil
	}
	err = t.changePassword(ctx, name, old, password)
	wrong := isCode(err, CodeUnauthenticated) // of the password in the request, as the user was just found with the target's own
	if !wrong && (!isRefusal(err) || isCode(err, CodeUnsupported, CodeNotAllowed)) {
		return err
	}
	if t.changePassword(ctx, name, password, password) == nil {
		return nil // it has the new one already
	}
	return refuse(handlers.CodeNoPassword, "user %q has another password on the target than it had on the source: set it there by hand: %w", name, err)
}

func (t *Target) changePassword(ctx context.Context, name, from, to string) error {
	s, err := t.service.UpdateCredential(ctx, &milvuspb.UpdateCredentialRequest{
		Username: name, OldPassword: encrypted(from), NewPassword: encrypted(to),
	})
	return setting(checkStatus(s, err), access)
}

// encrypted is a password as the API takes it, which calls that so.
func encrypted(password string) string { return base64.StdEncoding.EncodeToString([]byte(password)) }

// DropUser removes the user if it is there.
func (t *Target) DropUser(ctx context.Context, name string) error {
	s, err := t.service.DeleteCredential(ctx, &milvuspb.DeleteCredentialRequest{Username: name})
	return t.unlessUser(ctx, name, false, setting(checkStatus(s, err), access))
}

// unlessUser is the error of a refused call, unless the user is there, or gone, as it should be.
func (t *Target) unlessUser(ctx context.Context, name string, there bool, err error) error {
	if !isRefusal(err) {
		return err
	}
	if found, again := t.hasUser(ctx, name); again == nil && found == there {
		return nil
	}
	return err
}

func (t *Target) hasUser(ctx context.Context, name string) (bool, error) {
	l, err := t.service.ListCredUsers(ctx, &milvuspb.ListCredUsersRequest{})
	if err := setting(check(l, err), access); err != nil {
		return false, err
	}
	return slices.Contains(l.GetUsernames(), name), nil
}

// CreateRole makes the role if it is not there.
func (t *Target) CreateRole(ctx context.Context, name string) error {
	if found, err := t.hasRole(ctx, name); err != nil || found {
		return err
	}
	s, err := t.service.CreateRole(ctx, &milvuspb.CreateRoleRequest{Entity: &milvuspb.RoleEntity{Name: name}})
	return t.unlessRole(ctx, name, true, setting(checkStatus(s, err), access))
}

// DropRole removes the role if it is there. A 2.3.5 refuses while it is granted anything (seen), and so may a later one:
// what it still has is somebody else's grant on this target, or one that was refused to be revoked.
func (t *Target) DropRole(ctx context.Context, name string) error {
	if found, err := t.hasRole(ctx, name); err != nil || !found {
		return err
	}
	err := t.dropRole(ctx, name)
	if !isRefusal(err) || isCode(err, CodeUnsupported, CodeNotAllowed) {
		return err
	}
	if again := t.revokeAll(ctx, name); again != nil {
		return again
	}
	return t.unlessRole(ctx, name, false, t.dropRole(ctx, name))
}

func (t *Target) dropRole(ctx context.Context, name string) error {
	s, err := t.service.DropRole(ctx, &milvuspb.DropRoleRequest{RoleName: name, ForceDrop: true}) // which a 2.3 does not know
	return setting(checkStatus(s, err), access)
}

// revokeAll revokes all that the role is granted. A question without a database is answered with the grants of that one
// alone (see DESIGN.md), so each is asked for.
func (t *Target) revokeAll(ctx context.Context, role string) error {
	l, err := t.service.ListDatabases(ctx, &milvuspb.ListDatabasesRequest{})
	if err := setting(check(l, err), access); err != nil {
		return err
	}
	for _, db := range append(l.GetDbNames(), "*") {
		grants, err := t.service.SelectGrant(ctx, &milvuspb.SelectGrantRequest{
			Entity: &milvuspb.GrantEntity{Role: &milvuspb.RoleEntity{Name: role}, DbName: db},
		})
		if err := setting(check(grants, err), access); err != nil {
			return err
		}
		for _, g := range grants.GetEntities() {
			s, err := t.service.OperatePrivilege(ctx, &milvuspb.OperatePrivilegeRequest{Entity: g, Type: milvuspb.OperatePrivilegeType_Revoke})
			if err := setting(checkStatus(s, err), access); err != nil {
				return err
			}
		}
	}
	return nil
}

// unlessRole is the error of a refused call, unless the role is there, or gone, as it should be.
func (t *Target) unlessRole(ctx context.Context, name string, there bool, err error) error {
	if !isRefusal(err) {
		return err
	}
	if found, again := t.hasRole(ctx, name); again == nil && found == there {
		return nil
	}
	return err
}

func (t *Target) hasRole(ctx context.Context, name string) (bool, error) {
	l, err := t.service.SelectRole(ctx, &milvuspb.SelectRoleRequest{Role: &milvuspb.RoleEntity{Name: name}})
	if err := setting(check(l, err), access); err != nil {
		return false, err
	}
	return len(l.GetResults()) > 0, nil
}

// SetMember gives the user the role, or takes it away.
func (t *Target) SetMember(ctx context.Context, req *milvuspb.OperateUserRoleRequest) error {
	s, err := t.service.OperateUserRole(ctx, req)
	err = setting(checkStatus(s, err), access)
	if !isRefusal(err) || isCode(err, CodeUnsupported, CodeNotAllowed) {
		return err
	}
	user, role := req.GetUsername(), req.GetRoleName()
	found, again := t.hasUser(ctx, user)
	if again != nil {
		return again
	}
	if !found {
		return absent(req.GetType() == milvuspb.OperateUserRoleType_RemoveUserFromRole, CodeNoUser, "user", user, err)
	}
	if found, again = t.hasRole(ctx, role); again != nil {
		return again
	}
	if !found {
		return absent(req.GetType() == milvuspb.OperateUserRoleType_RemoveUserFromRole, CodeNoRole, "role", role, err)
	}
	return err
}

// absent is nothing if what was asked for is so already because the user or role is not there.
func absent(fine bool, code, what, name string, err error) error {
	if fine {
		return nil
	}
	return refuse(code, "there is no %s %q on the target: create it there, then resume the task: %w", what, name, err)
}

// SetPrivilege grants the privilege, or revokes it.
func (t *Target) SetPrivilege(ctx context.Context, req *milvuspb.OperatePrivilegeRequest) error {
	s, err := t.service.OperatePrivilege(ctx, req)
	err = setting(checkStatus(s, err), access)
	if !isRefusal(err) || isCode(err, CodeUnsupported, CodeNotAllowed) {
		return err
	}
	revoke := req.GetType() == milvuspb.OperatePrivilegeType_Revoke
	role := req.GetEntity().GetRole().GetName()
	found, again := t.hasRole(ctx, role)
	switch {
	case again != nil:
		return again
	case !found:
		return absent(revoke, CodeNoRole, "role", role, err)
	case !unknownPrivilege(err):
		return err
	case revoke: // it can't have been granted
		return nil
	}
	var known *handlers.Error
	errors.As(err, &known)
	return refuse(CodeUnsupported, "the target's version has no such privilege: %w", known.Err)
}

// unknownPrivilege reports whether the target says that it does not know the privilege, or what it is about: a 2.3 has no
// code for that, and says so in these words (seen).
func unknownPrivilege(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "not found the privilege name") || strings.Contains(err.Error(), "not found the object type"))
}
