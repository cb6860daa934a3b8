//go:build servers

package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/handlers"
	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// users: users, roles and what they may do come to the target, those that there are and those that come. A user without a
// password is shown as refused, and made when there is one. A privilege is for the collection as it is named on the target.
func users(r *rig.Rig) {
	dst := servers.Target(r)
	src, target := asRoot(r, r.Source), asRoot(r, dst)
	must := func(err error) {
		r.Helper()
		if err != nil {
			r.Fatal(err)
		}
	}
	clean := func() {
		for _, u := range []string{"e2e_ann", "e2e_bob"} {
			_ = src.DeleteCredential(r.Context(), u)
			_ = target.DeleteCredential(r.Context(), u)
		}
		for _, c := range []client.Client{src, target} {
			for _, on := range []string{"e2e_users_a", "e2e_users_mapped"} {
				_ = c.Revoke(r.Context(), "e2e_writer", entity.PriviledegeObjectTypeCollection, on, "Insert")
			}
			_ = c.DropRole(r.Context(), "e2e_writer")
		}
	}
	clean()
	r.Cleanup(clean)
	file := filepath.Join(r.TempDir(), "users.yaml")
	must(os.WriteFile(file, []byte("e2e_ann: secret of ann\n"), 0o600))
	token := filepath.Join(r.TempDir(), "token")
	must(os.WriteFile(token, []byte("root:Milvus"), 0o600))

	must(src.CreateRole(r.Context(), "e2e_writer"))
	must(src.CreateCredential(r.Context(), "e2e_ann", "hers, there"))
	must(src.AddUserRole(r.Context(), "e2e_ann", "e2e_writer"))
	must(src.Grant(r.Context(), "e2e_writer", entity.PriviledegeObjectTypeCollection, "e2e_users_a", "Insert"))
	r.CreateTask(jetstream.TaskSpec{Name: "users", Lanes: 2, RBAC: true, Select: rig.Prefix("default", "e2e_users_"),
		Map:     []jetstream.Mapping{{Database: "default", Collection: "e2e_users_a", ToCollection: "e2e_users_mapped"}},
		Targets: []jetstream.TargetSpec{{Name: "t1", URI: dst.URI, UsersFile: file, TokenFile: token}}})
	has := func() []string { return access(r, dst) }
	r.Until("what was there is on the target", func() bool {
		return slices.Equal(has(), []string{"e2e_ann", "e2e_ann is e2e_writer", "e2e_writer may Insert e2e_users_mapped"})
	})

	must(src.CreateCredential(r.Context(), "e2e_bob", "his, there"))
	must(src.AddUserRole(r.Context(), "e2e_bob", "e2e_writer"))
	r.Until("the user without a password is shown as refused", func() bool {
		u := r.View("users").Targets[0].Unmet
		return len(u) == 2 && u[0].Code == handlers.CodeNoPassword && strings.Contains(u[0].Why, "e2e_bob") && u[1].Code == "KS-P-NOUSER"
	})
	if out := r.Run("task", "get", "users").Stdout; !strings.Contains(out, "REFUSED") || !strings.Contains(out, "KS-P-NOPASSWORD") {
		r.Errorf("task get says\n%s", out)
	}
	must(os.WriteFile(file, []byte("e2e_ann: secret of ann\ne2e_bob: secret of bob\n"), 0o600))
	if a := resume(r, "users"); a.Retried != 2 {
		r.Errorf("%d settings are tried again, want 2", a.Retried)
	}
	r.Until("both users are on the target", func() bool {
		return len(r.View("users").Targets[0].Unmet) == 0 && slices.Equal(has(), []string{
			"e2e_ann", "e2e_ann is e2e_writer", "e2e_bob", "e2e_bob is e2e_writer", "e2e_writer may Insert e2e_users_mapped"})
	})
	must(src.Revoke(r.Context(), "e2e_writer", entity.PriviledegeObjectTypeCollection, "e2e_users_a", "Insert"))
	must(src.DeleteCredential(r.Context(), "e2e_ann"))
	must(src.DeleteCredential(r.Context(), "e2e_bob"))
	must(src.DropRole(r.Context(), "e2e_writer"))
	r.Until("all of it is gone", func() bool { return len(has()) == 0 })
	r.CheckStream("users")
}

// asRoot is a client that says who it is: Milvus grants nothing to somebody unnamed, even where it asks nobody for a password.
func asRoot(r *rig.Rig, m *servers.Milvus) client.Client {
	r.Helper()
	c, err := client.NewClient(r.Context(), client.Config{Address: m.Addr, Username: "root", Password: "Milvus"})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close() })
	return c
}

// access is what of this story's users and roles a server has, in order.
func access(r *rig.Rig, m *servers.Milvus) (out []string) {
	r.Helper()
	c := asRoot(r, m)
	list, err := c.DescribeUsers(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for _, u := range list {
		if !strings.HasPrefix(u.Name, "e2e_") {
			continue
		}
		out = append(out, u.Name)
		for _, role := range u.Roles {
			out = append(out, u.Name+" is "+role)
		}
	}
	grants, err := c.ListGrants(r.Context(), "e2e_writer", "default")
	if err != nil {
		return out // there is no such role
	}
	for _, g := range grants {
		out = append(out, g.RoleName+" may "+g.PrivilegeName+" "+g.ObjectName)
	}
	slices.Sort(out)
	return out
}
