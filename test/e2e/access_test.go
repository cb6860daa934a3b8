//go:build servers

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/jetstream"
	"kitestream/test/rig"
	"kitestream/test/servers"
)

// usersAndRoles replicates who may do what: what was there before the task and what comes later, a user only when there is a
// password for it.
func usersAndRoles(r *rig.Rig) {
	const user, role = "e2e_ann", "e2e_writer"
	ctx, dst := r.Context(), servers.Target(r)
	source := r.Client(r.Source, "")
	must := func(err error) {
		r.Helper()
		if err != nil {
			r.Fatal(err)
		}
	}
	must(source.CreateRole(ctx, role))
	must(source.CreateCredential(ctx, user, "theSources1"))
	must(source.AddUserRole(ctx, user, role))
	must(source.Grant(ctx, role, entity.PriviledegeObjectTypeCollection, "e2e_mine", "Insert"))
	file := filepath.Join(r.TempDir(), "users.yaml")
	must(os.WriteFile(file, []byte("somebody: else\n"), 0o600))
	r.CreateTask(jetstream.TaskSpec{
		Name: "rbac", Lanes: 2, RBAC: true, Targets: []jetstream.TargetSpec{{Name: "t1", URI: dst.URI, UsersFile: file}},
		Select: []jetstream.Selection{{Database: "default", Collections: []string{"e2e_mine"}}},
		Map:    []jetstream.Mapping{{Database: "default", Collection: "e2e_mine", ToCollection: "e2e_yours"}},
	})
	r.Wait("rbac")
	if got := unmet(r, "rbac"); got != `"member" "e2e_ann" "e2e_writer" KS-P-NOUSER, "user" "e2e_ann" KS-P-NOPASSWORD` {
		r.Errorf("without a password, what is unmet is %s", got)
	}
	if got := access(r, dst, user, role); got != "role e2e_writer; Collection e2e_yours Insert" {
		r.Errorf("without a password, the target has %s", got)
	}
	must(os.WriteFile(file, []byte("e2e_ann: theTargets1\n"), 0o600))
	resume(r, "rbac")
	r.Until("nothing is unmet", func() bool { return unmet(r, "rbac") == "" })
	must(source.Grant(ctx, role, entity.PriviledegeObjectTypeCollection, "other", "Query"))
	must(source.AddUserRole(ctx, user, "admin"))
	r.Wait("rbac")
	if got := access(r, dst, user, role); got != "user e2e_ann; role e2e_writer; has admin; has e2e_writer; Collection e2e_yours Insert; Collection other Query" {
		r.Errorf("with a password, the target has %s", got)
	}
	must(source.Revoke(ctx, role, entity.PriviledegeObjectTypeCollection, "e2e_mine", "Insert"))
	must(source.Revoke(ctx, role, entity.PriviledegeObjectTypeCollection, "other", "Query"))
	must(source.RemoveUserRole(ctx, user, "admin"))
	must(source.DropRole(ctx, role))
	must(source.DeleteCredential(ctx, user))
	r.Wait("rbac")
	if got := access(r, dst, user, role); got != "" || unmet(r, "rbac") != "" {
		r.Errorf("with all dropped, the target has %s, unmet is %s", got, unmet(r, "rbac"))
	}
	r.CheckStream("rbac")
}

// unmet is what a task's first target was refused, in order.
func unmet(r *rig.Rig, task string) string {
	r.Helper()
	var out []string
	for _, u := range r.View(task).Targets[0].Unmet {
		out = append(out, u.Setting+" "+u.Code)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// access is what a Milvus has of a user and a role.
func access(r *rig.Rig, m *servers.Milvus, user, role string) string {
	r.Helper()
	var out []string
	c := r.Client(m, "")
	users, err := c.ListCredUsers(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	if slices.Contains(users, user) {
		out = append(out, "user "+user)
	}
	roles, err := c.ListRoles(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	if !slices.ContainsFunc(roles, func(of entity.Role) bool { return of.Name == role }) {
		return strings.Join(out, "; ")
	}
	out = append(out, "role "+role)
	if len(out) > 1 {
		d, err := c.DescribeUser(r.Context(), user)
		if err != nil {
			r.Fatal(err)
		}
		for _, of := range slices.Sorted(slices.Values(d.Roles)) {
			out = append(out, "has "+of)
		}
	}
	grants, err := c.ListGrants(r.Context(), role, "")
	if err != nil {
		r.Fatal(err)
	}
	var lines []string
	for _, g := range grants {
		lines = append(lines, fmt.Sprintf("%s %s %s", g.Object, g.ObjectName, g.PrivilegeName))
	}
	slices.Sort(lines)
	return strings.Join(append(out, lines...), "; ")
}
