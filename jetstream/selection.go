package jetstream

import (
	"path"
	"strings"
)

// QualifiedName names a collection of the source.
type QualifiedName struct {
	Database   string `json:"database"`
	Collection string `json:"collection"`
}

// String is database.collection.
func (n QualifiedName) String() string { return n.Database + "." + n.Collection }

// Resolved is what a task's selections come to on a source.
type Resolved struct {
	Matched []QualifiedName // the names that are selected, in the order they were given
	Missing []QualifiedName // selected by their full name, and not there (yet)
	Empty   []QualifiedName // selected by a pattern that no name matches
}

// Selects reports whether a collection is replicated: some selection names it and doesn't exclude it.
func (s TaskSpec) Selects(database, collection string) bool {
	for _, sel := range s.Select {
		if sel.selects(database, collection) {
			return true
		}
	}
	return false
}

// SelectsDatabase reports whether a database is one that collections are replicated of.
func (s TaskSpec) SelectsDatabase(database string) bool {
	for _, sel := range s.Select {
		if matches(sel.Database, database) {
			return true
		}
	}
	return false
}

// Resolve says what the selections come to when the source holds these collections.
func (s TaskSpec) Resolve(names []QualifiedName) Resolved {
	var r Resolved
	for _, n := range names {
		if s.Selects(n.Database, n.Collection) {
			r.Matched = append(r.Matched, n)
		}
	}
	for _, sel := range s.Select {
		for _, pattern := range sel.Collections {
			want := QualifiedName{sel.Database, pattern}
			switch {
			case sel.finds(pattern, names):
			case literal(sel.Database) && literal(pattern):
				r.Missing = append(r.Missing, want)
			default:
				r.Empty = append(r.Empty, want)
			}
		}
	}
	return r
}

func (s Selection) selects(database, collection string) bool {
	return matches(s.Database, database) && matchesAny(s.Collections, collection) && !matchesAny(s.Exclude, collection)
}

// finds reports whether one of the selection's patterns, by itself, selects one of the names.
func (s Selection) finds(pattern string, names []QualifiedName) bool {
	s.Collections = []string{pattern}
	for _, n := range names {
		if s.selects(n.Database, n.Collection) {
			return true
		}
	}
	return false
}

func matchesAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if matches(p, name) {
			return true
		}
	}
	return false
}

// matches is path.Match for patterns that Validate has passed; another matches nothing.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

func literal(pattern string) bool { return !strings.ContainsAny(pattern, `*?[\`) }
