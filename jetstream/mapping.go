package jetstream

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Mapping says where on the targets the collections of the source land that it fits.
type Mapping struct {
	// Database and Collection are names or globs (path.Match) of the source. Default "*".
	Database   string `json:"database,omitempty"`
	Collection string `json:"collection,omitempty"`
	// ToDatabase and ToCollection are the names on the targets, in which {db} and {collection} stand for those on the
	// source. Default: the name on the source.
	ToDatabase   string `json:"to_database,omitempty"`
	ToCollection string `json:"to_collection,omitempty"`
}

// Place is where on the targets a collection of the source lands, or an alias, which is a name of the same kind.
func (s TaskSpec) Place(n QualifiedName) QualifiedName {
	i := s.mappingFor(n)
	if i < 0 {
		return n
	}
	m := s.Map[i]
	return QualifiedName{Database: m.fill(m.ToDatabase, n, n.Database), Collection: m.fill(m.ToCollection, n, n.Collection)}
}

// mappingFor is the index of the mapping that a collection of the source falls under, or -1.
func (s TaskSpec) mappingFor(n QualifiedName) int {
	return slices.IndexFunc(s.Map, func(m Mapping) bool {
		return matches(orAll(m.Database), n.Database) && matches(orAll(m.Collection), n.Collection)
	})
}

// Conflict is two collections of the source that would land on one of the targets.
type Conflict struct {
	First, Second QualifiedName // as they were given
	Place         QualifiedName
	Mapping       int // the index in TaskSpec.Map of what brings the second there or, if nothing does, the first
}

// Conflicts are the collections among these that would land where an earlier one does.
func (s TaskSpec) Conflicts(names []QualifiedName) []Conflict {
	var out []Conflict
	at := map[QualifiedName]QualifiedName{}
	for _, n := range names {
		place := s.Place(n)
		first, taken := at[place]
		switch {
		case !taken:
			at[place] = n
		case first != n:
			m := s.mappingFor(n)
			if m < 0 {
				m = s.mappingFor(first)
			}
			out = append(out, Conflict{First: first, Second: n, Place: place, Mapping: m})
		}
	}
	return out
}

// PlaceDatabase is where on the targets the database itself lands: there, where a collection of any name would, if
// all its collections do.
func (s TaskSpec) PlaceDatabase(name string) string {
	for _, m := range s.Map {
		if matches(orAll(m.Database), name) && orAll(m.Collection) == "*" && !strings.Contains(m.ToDatabase, "{collection}") {
			return m.fill(m.ToDatabase, QualifiedName{Database: name}, name)
		}
	}
	return name
}

// fill puts the source's names into a template; an empty one is the name itself.
func (m Mapping) fill(template string, n QualifiedName, name string) string {
	if template == "" {
		return name
	}
	return strings.NewReplacer("{db}", n.Database, "{collection}", n.Collection).Replace(template)
}

func orAll(pattern string) string {
	if pattern == "" {
		return "*"
	}
	return pattern
}

// fixedPart is what a template may have beside {db} and {collection}: what Milvus takes in a name.
var fixedPart = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// maxMilvusName is the most bytes that Milvus takes in a name.
const maxMilvusName = 255

func (m Mapping) validate(at string, p *problems) {
	p.glob(at+".database", orAll(m.Database))
	p.glob(at+".collection", orAll(m.Collection))
	if m.ToDatabase == "" && m.ToCollection == "" {
		p.add(at, "has neither to_database nor to_collection; to keep names that a later mapping would change: to_collection: \"{collection}\"")
		return
	}
	p.template(at+".to_database", m.ToDatabase)
	p.template(at+".to_collection", m.ToCollection)
	several := func(template, name string) bool { return template != "" && !strings.Contains(template, name) }
	if !literal(orAll(m.Collection)) && several(m.ToCollection, "{collection}") {
		p.add(at+".to_collection", "%q brings all that %q matches to one name; {collection} is missing", m.ToCollection, orAll(m.Collection))
		return
	}
	if literal(orAll(m.Database)) || !literal(orAll(m.Collection)) || !several(m.ToDatabase, "{db}") {
		return // whether two collide depends on what there is: see Conflicts
	}
	if !strings.Contains(m.ToCollection, "{db}") {
		p.add(at+".to_database", "%q brings %s of all databases that %q matches to one name; {db} is missing", m.ToDatabase, m.Collection, orAll(m.Database))
	}
}

// template checks the name of a Mapping's target.
func (p *problems) template(field, template string) {
	if template == "" {
		return
	}
	plain := strings.NewReplacer("{db}", "a", "{collection}", "a").Replace(template)
	switch {
	case strings.ContainsAny(plain, "{}"):
		p.add(field, "%q has braces around something else than {db} or {collection}", template)
	case !fixedPart.MatchString(plain):
		p.add(field, "%q makes no name that Milvus takes: letters, digits and '_', no digit first", template)
	case len(plain) > maxMilvusName:
		p.add(field, "makes names of more than %d characters", maxMilvusName)
	}
}

// Rule says what of the collections that it fits is replicated.
type Rule struct {
	// Database and Collections are names or globs of the source. Default: all.
	Database    string   `json:"database,omitempty"`
	Collections []string `json:"collections,omitempty"`
	// Where is an expression (expr-lang) over the scalar fields of a row; the rows for which it is true are replicated. What
	// a row has beyond the schema is dynamic["key"]. Default: all rows.
	Where string `json:"where,omitempty"`
	// DropFields are fields that the targets are not to have.
	DropFields []string `json:"drop_fields,omitempty"`
	// Partitions are names or globs of the partitions that are replicated. Default: all.
	Partitions []string `json:"partitions,omitempty"`
}

// RuleFor is the rule that a collection of the source falls under, or nil.
func (s TaskSpec) RuleFor(n QualifiedName) *Rule {
	for i, r := range s.Rules {
		if matches(orAll(r.Database), n.Database) && (len(r.Collections) == 0 || matchesAny(r.Collections, n.Collection)) {
			return &s.Rules[i]
		}
	}
	return nil
}

// validate checks all but the expression, which is for package handlers/rules.
func (r Rule) validate(at string, p *problems) {
	p.glob(at+".database", orAll(r.Database))
	for i, g := range r.Collections {
		p.glob(fmt.Sprintf("%s.collections[%d]", at, i), g)
	}
	for i, g := range r.Partitions {
		p.glob(fmt.Sprintf("%s.partitions[%d]", at, i), g)
	}
	for i, f := range r.DropFields {
		if f == "" || slices.Contains(r.DropFields[:i], f) {
			p.add(fmt.Sprintf("%s.drop_fields[%d]", at, i), "%q is empty or there already", f)
		}
	}
	if strings.TrimSpace(r.Where) == "" && len(r.DropFields) == 0 && len(r.Partitions) == 0 {
		p.add(at, "has no where, drop_fields or partitions: there is nothing in it")
	}
}

// TakesPartition reports whether the rule lets a partition of that name be replicated.
func (r Rule) TakesPartition(name string) bool {
	return len(r.Partitions) == 0 || matchesAny(r.Partitions, name)
}
