package catalog

import (
	"errors"
	"fmt"
)

// Alias is another name of a collection.
type Alias struct {
	Name         string
	DatabaseID   int64
	CollectionID int64 // of a collection that may be Dropping, or absent from the view
	State        State
	Created      uint64 // TSO; of its last change, when it was altered to name another collection
}

// AliasKey is what there is one alias of: a name in a database.
type AliasKey struct {
	DatabaseID int64
	Name       string
}

// aliasKey is the alias that an object of that kind holds. Aliases of the time before there were databases are in the
// default one.
func (o object) aliasKey() AliasKey {
	if o.parent == noDatabase {
		return AliasKey{defaultDatabase, o.name}
	}
	return AliasKey{o.parent, o.name}
}

// AliasGone reports whether the view knows that there is no such alias, like DatabaseGone.
func (v *View) AliasGone(key AliasKey) bool {
	return v.Aliases[key] == nil && !v.unreadable(func(o object) bool { return o.kind == kindAlias && o.aliasKey() == key })
}

// alias takes in a change of an alias's key.
func (e *edit) alias(o object, c change) (err error) {
	if c.gone {
		delete(e.m.aliases, o)
	} else {
		e.m.aliases[o], err = decodeAlias(c.value, o)
	}
	show(&e.view.Aliases, &e.ownAliases, o.aliasKey(), e.m.alias(o.aliasKey()))
	return err
}

// alias is the alias of a key. A legacy one counts only when there is no other, be it one that can't be read.
func (m *model) alias(key AliasKey) *Alias {
	if a, there := m.aliases[object{kind: kindAlias, parent: key.DatabaseID, name: key.Name}]; there || key.DatabaseID != defaultDatabase {
		return a
	}
	return m.aliases[object{kind: kindAlias, parent: noDatabase, name: key.Name}]
}

// decodeAlias reads an etcdpb.AliasInfo.
func decodeAlias(b []byte, o object) (*Alias, error) {
	a := &Alias{}
	var state uint64
	err := walk(b, func(f field) error {
		switch f.num {
		case 1:
			return f.string(&a.Name)
		case 2:
			return f.int64(&a.CollectionID)
		case 3:
			return f.uint64(&a.Created)
		case 4:
			return f.uint64(&state)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case a.Name != o.name:
		return nil, fmt.Errorf("is named %q, which is not the key's name", a.Name)
	case a.CollectionID <= 0:
		return nil, errors.New("names no collection")
	}
	if a.State, err = stateOf(state); err != nil {
		return nil, err
	}
	a.DatabaseID = o.aliasKey().DatabaseID
	return a, nil
}
