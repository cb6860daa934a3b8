package jetstream

import "strings"

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
	for _, m := range s.Map {
		if matches(orAll(m.Database), n.Database) && matches(orAll(m.Collection), n.Collection) {
			return QualifiedName{Database: m.fill(m.ToDatabase, n, n.Database), Collection: m.fill(m.ToCollection, n, n.Collection)}
		}
	}
	return n
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
