package catalog

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Access is who may do what: users, roles and privileges, among them those that every Milvus has by itself. What a key
// holds of a user, hashes of a password, is not read.
type Access struct {
	Users   map[string]bool
	Roles   map[string]bool
	Members map[Member]bool // of users and roles that may be gone, as the keys are written one by one
	Grants  map[Grant]bool  // likewise
}

// Member says that a user has a role.
type Member struct {
	User string `json:"user"`
	Role string `json:"role"`
}

// Grant says that a role has a privilege.
type Grant struct {
	Role      string `json:"role"`
	Type      string `json:"type"`      // of the object: Collection, Global or User
	Database  string `json:"database"`  // "*" for any
	Object    string `json:"object"`    // a collection's or a user's name; "*" for any
	Privilege string `json:"privilege"` // as in a request to grant it: "Insert", "*"
}

// GrantGone reports whether the view knows that there is no such grant, like DatabaseGone. For users, roles and members,
// whose values are not read, being absent is enough.
func (v *View) GrantGone(g Grant) bool {
	return !v.Access.Grants[g] && !v.unreadable(func(o object) bool {
		return o.kind == kindGrantee && o.grant() == Grant{Role: g.Role, Type: g.Type, Database: g.Database, Object: g.Object}
	})
}

// access is what etcd holds of users and roles, by key. A grant is of two keys: that of the role and the object has an id,
// and that of the id the privilege.
type access struct {
	names      map[object]struct{} // users, roles and members
	grantees   map[object]string   // ids
	privileges map[string]map[string]struct{}
}

func newAccess() access {
	return access{names: map[object]struct{}{}, grantees: map[object]string{}, privileges: map[string]map[string]struct{}{}}
}

// access takes in a change of a key about users and roles.
func (e *edit) access(o object, c change) (err error) {
	e.accessed = true
	a := &e.m.access
	switch o.kind {
	case kindGrantee:
		var id string
		if !c.gone {
			id, err = decodeGrantee(c.value)
		}
		set(&a.grantees, o, id, id == "")
	case kindPrivilege:
		id, privilege, _ := strings.Cut(o.name, "/")
		of := a.privileges[id]
		set(&of, privilege, struct{}{}, c.gone)
		set(&a.privileges, id, of, len(of) == 0)
	default:
		set(&a.names, o, struct{}{}, c.gone)
	}
	return err
}

// decodeGrantee reads the id that privileges are filed under.
func decodeGrantee(b []byte) (string, error) {
	if len(b) == 0 || !utf8.Valid(b) || strings.Contains(string(b), "/") {
		return "", errors.New("is no id of privileges")
	}
	return string(b), nil
}

func (a *access) build() *Access {
	out := &Access{Users: map[string]bool{}, Roles: map[string]bool{}, Members: map[Member]bool{}, Grants: map[Grant]bool{}}
	for o := range a.names {
		switch o.kind {
		case kindUser:
			out.Users[o.name] = true
		case kindRole:
			out.Roles[o.name] = true
		case kindMember:
			user, role, _ := strings.Cut(o.name, "/")
			out.Members[Member{user, role}] = true
		}
	}
	for o, id := range a.grantees {
		g := o.grant()
		for _, privilege := range slices.Collect(maps.Keys(a.privileges[id])) {
			g.Privilege = privilegeName(privilege)
			out.Grants[g] = true
		}
	}
	return out
}

// grant is what the key of a role and an object is about, without a privilege. Before there were databases, the key named
// none.
func (o object) grant() Grant {
	parts := strings.SplitN(o.name, "/", 3)
	database, name, ok := strings.Cut(parts[2], ".")
	if !ok {
		database, name = defaultDatabaseName, parts[2]
	}
	return Grant{Role: parts[0], Type: parts[1], Database: database, Object: name}
}

// defaultDatabaseName is the name of the database that Milvus means when none is named.
const defaultDatabaseName = "default"

// privilegeName is the name that requests have for a privilege, or for a group of privileges.
func privilegeName(stored string) string {
	const one, group = "Privilege", "PrivilegeGroup"
	if name, ok := strings.CutPrefix(stored, group); ok && name != "" {
		return name
	}
	if name, ok := strings.CutPrefix(stored, one); ok && name != "" {
		return name
	}
	return stored
}
