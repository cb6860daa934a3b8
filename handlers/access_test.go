package handlers_test

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// accessEvent is an event about users or roles: it names no database and no collection.
func accessEvent(t *testing.T, kind jetstream.Kind, body proto.Message) *jetstream.Event {
	t.Helper()
	e := eventsOf(t, "c", 1).event(kind, "", body)
	e.Database, e.Collection, e.DatabaseID, e.CollectionID = "", "", 0, 0
	return e
}

func privilege(role, database, object string) *milvuspb.OperatePrivilegeRequest {
	return &milvuspb.OperatePrivilegeRequest{Type: milvuspb.OperatePrivilegeType_Grant, Entity: &milvuspb.GrantEntity{
		Role: &milvuspb.RoleEntity{Name: role}, Object: &milvuspb.ObjectEntity{Name: "Collection"}, ObjectName: object, DbName: database,
		Grantor: &milvuspb.GrantorEntity{Privilege: &milvuspb.PrivilegeEntity{Name: "Insert"}},
	}}
}

// usersFile writes a users_file, and is the spec of a task whose target has it.
func usersFile(t *testing.T, content string) jetstream.TaskSpec {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return jetstream.TaskSpec{
		Targets: []jetstream.TargetSpec{{Name: "other"}, {Name: "target", UsersFile: path}},
		Map:     []jetstream.Mapping{{Database: "db", Collection: "c", ToDatabase: "x", ToCollection: "y"}},
	}
}

// TestAccessDefinitions has each kind arrive at its method, the names of what a privilege is about mapped.
func TestAccessDefinitions(t *testing.T) {
	member := &milvuspb.OperateUserRoleRequest{Username: "ann", RoleName: "r", Type: milvuspb.OperateUserRoleType_RemoveUserFromRole}
	for kind, tc := range map[jetstream.Kind]struct {
		body   proto.Message
		method string
		what   any
	}{
		jetstream.CreateCredential: {&milvuspb.CreateCredentialRequest{Username: "ann"}, "CreateUser", []string{"ann", "secret 1"}},
		jetstream.DeleteCredential: {&milvuspb.DeleteCredentialRequest{Username: "ann"}, "DropUser", []string{"ann"}},
		jetstream.CreateRole:       {&milvuspb.CreateRoleRequest{Entity: &milvuspb.RoleEntity{Name: "r"}}, "CreateRole", []string{"r"}},
		jetstream.DropRole:         {&milvuspb.DropRoleRequest{RoleName: "r"}, "DropRole", []string{"r"}},
		jetstream.OperateUserRole:  {member, "SetMember", member},
		jetstream.OperatePrivilege: {privilege("r", "db", "c"), "SetPrivilege", privilege("r", "x", "y")},
	} {
		t.Run(string(kind), func(t *testing.T) {
			calls := 0
			target := &fake{SettingFunc: func(_ context.Context, method string, _ handlers.Ref, what any) error {
				calls++
				if method != tc.method || !same(what, tc.what) {
					t.Errorf("%s with %v, want %s with %v", method, what, tc.method, tc.what)
				}
				return nil
			}}
			h := newHandlers(t, target, handlers.Options{Spec: usersFile(t, "ann: secret 1\n")})
			mustApply(t, h, accessEvent(t, kind, tc.body))
			if calls != 1 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}

// TestNoPassword has a user that can't be made for want of a password be unmet, with a reason that says what to do and
// holds no other password; what comes after it is applied all the same, and so is the user when the file has been mended.
func TestNoPassword(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"another's":  {"bob: hidden\n", `add a line "ann: PASSWORD" to users_file`},
		"a number":   {"ann: 123456\nbob: hidden\n", "put it in quotes"},
		"empty":      {"ann: ''\nbob: hidden\n", "or empty"},
		"no map":     {"hidden\n", "no YAML or JSON map"},
		"two of one": {"bob: hidden\nbob: hidden\n", "no YAML or JSON map"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			var said []string
			target := &fake{SettingFunc: func(_ context.Context, method string, _ handlers.Ref, what any) error {
				if names, ok := what.([]string); ok {
					said = append(said, method+" "+strings.Join(names, " "))
				}
				return nil
			}}
			spec := usersFile(t, tc.file)
			h := newHandlers(t, target, handlers.Options{Spec: spec})
			user := accessEvent(t, jetstream.CreateCredential, &milvuspb.CreateCredentialRequest{Username: "ann"})
			role := accessEvent(t, jetstream.CreateRole, &milvuspb.CreateRoleRequest{Entity: &milvuspb.RoleEntity{Name: "r"}})
			r := h.Apply(t.Context(), []*jetstream.Event{user, role})
			if r.Err != nil || len(r.Stopped) > 0 || len(r.Unmet) != 1 || r.Unmet[0].Event != user || r.Unmet[0].Code != handlers.CodeNoPassword {
				t.Fatalf("result %+v", r)
			}
			text := r.Unmet[0].Err.Error()
			if !strings.Contains(text, tc.want) || !strings.Contains(text, `"user" "ann"`) || strings.Contains(text, "hidden") || strings.Contains(text, "123456") {
				t.Errorf("the reason is %s", text)
			}
			if err := os.WriteFile(spec.Targets[1].UsersFile, []byte(`{"ann": "secret"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			mustApply(t, h, user)
			if want := []string{"CreateRole r", "CreateUser ann secret"}; !reflect.DeepEqual(said, want) {
				t.Errorf("calls %v, want %v", said, want)
			}
		})
	}
	t.Run("no_file", func(t *testing.T) {
		h := newHandlers(t, &fake{}, handlers.Options{Spec: jetstream.TaskSpec{Targets: []jetstream.TargetSpec{{Name: "target"}, {Name: "other", UsersFile: usersFile(t, "ann: hidden").Targets[1].UsersFile}}}})
		r := h.Apply(t.Context(), []*jetstream.Event{accessEvent(t, jetstream.CreateCredential, &milvuspb.CreateCredentialRequest{Username: "ann"})})
		if len(r.Unmet) != 1 || !strings.Contains(r.Unmet[0].Err.Error(), "name a users_file that has one for target target") {
			t.Errorf("result %+v", r)
		}
	})
	t.Run("file_not_there", func(t *testing.T) {
		spec := jetstream.TaskSpec{Targets: []jetstream.TargetSpec{{Name: "target", UsersFile: filepath.Join(t.TempDir(), "none")}}}
		h := newHandlers(t, &fake{}, handlers.Options{Spec: spec})
		r := h.Apply(t.Context(), []*jetstream.Event{accessEvent(t, jetstream.CreateCredential, &milvuspb.CreateCredentialRequest{Username: "ann"})})
		if len(r.Unmet) != 1 || r.Unmet[0].Code != handlers.CodeNoPassword || !strings.Contains(r.Unmet[0].Err.Error(), "no such file") {
			t.Errorf("result %+v", r)
		}
	})
}

// TestUnreadableAccess has a body that no version can read be unmet, and stop nothing.
func TestUnreadableAccess(t *testing.T) {
	for _, kind := range []jetstream.Kind{jetstream.CreateCredential, jetstream.DeleteCredential, jetstream.CreateRole, jetstream.DropRole,
		jetstream.OperateUserRole, jetstream.OperatePrivilege} {
		e := accessEvent(t, kind, &milvuspb.DropRoleRequest{})
		e.Body = []byte{0xff}
		r := newHandlers(t, &fake{}, handlers.Options{}).Apply(t.Context(), []*jetstream.Event{e})
		if r.Err != nil || len(r.Stopped) > 0 || len(r.Unmet) != 1 || r.Unmet[0].Code != handlers.CodeEvent {
			t.Errorf("%s: %+v", kind, r)
		}
	}
}
