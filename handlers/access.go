package handlers

import (
	"context"
	"errors"
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"

	"kitestream/jetstream"
)

// The definitions of users and roles, which are settings too.

// createCredential makes a user with the password that the target's users_file has for it: the source's own is nowhere to
// be read.
func createCredential(t Access, spec jetstream.TargetSpec) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.CreateCredentialRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		return t.CreateUser(ctx, req.GetUsername(), func() (string, error) {
			password, err := spec.Password(req.GetUsername())
			if err != nil {
				return "", permanent(CodeNoPassword, err)
			}
			return password, nil
		})
	}
}

// updateCredential gives a user the source's password, which the bridge has sealed.
func updateCredential(t Access, secret *jetstream.SecretKey) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.UpdateCredentialRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		old, err := opened(secret, req.GetOldPassword())
		if err != nil {
			return permanent(CodeNoPassword, fmt.Errorf("the password of user %q: %w", req.GetUsername(), err))
		}
		password, err := opened(secret, req.GetNewPassword())
		if err != nil {
			return permanent(CodeNoPassword, fmt.Errorf("the password of user %q: %w", req.GetUsername(), err))
		}
		return t.SetPassword(ctx, req.GetUsername(), old, password)
	}
}

func opened(secret *jetstream.SecretKey, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	if secret == nil {
		return "", errors.New("it is sealed: give this worker the KITESTREAM_SECRET_KEY_FILE that the bridge has, then resume the task")
	}
	text, err := secret.Open(sealed)
	if err != nil {
		return "", fmt.Errorf("%w: give this worker the KITESTREAM_SECRET_KEY_FILE that the bridge has, then resume the task", err)
	}
	return text, nil
}

func deleteCredential(t Access) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.DeleteCredentialRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		return t.DropUser(ctx, req.GetUsername())
	}
}

func createRole(t Access) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.CreateRoleRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		return t.CreateRole(ctx, req.GetEntity().GetName())
	}
}

func dropRole(t Access) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.DropRoleRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		return t.DropRole(ctx, req.GetRoleName())
	}
}

func operateUserRole(t Access) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.OperateUserRoleRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		return t.SetMember(ctx, req)
	}
}

func operatePrivilege(t Access) definition {
	return func(ctx context.Context, e *jetstream.Event) error {
		req := &milvuspb.OperatePrivilegeRequest{}
		if err := read(e, req); err != nil {
			return err
		}
		return t.SetPrivilege(ctx, req)
	}
}

// targetSpec is what the task says of the target.
func targetSpec(o Options) jetstream.TargetSpec {
	for _, t := range o.Spec.Targets {
		if t.Name == o.Target {
			return t
		}
	}
	return jetstream.TargetSpec{Name: o.Target}
}

// accessName is the user or role that an event is about, or what else it sets.
func accessName(e *jetstream.Event) string {
	set, err := jetstream.SettingOf(e)
	if err != nil {
		return fmt.Sprintf("event %s", e.ID)
	}
	return set.Key
}
