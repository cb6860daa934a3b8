package handlers

import "kitestream/jetstream"

// Every name that a definition gives to a target is made in this file.

// refOf is the collection that the event is about.
func refOf(e *jetstream.Event) Ref { return Ref{e.Database, e.Collection} }

// databaseOf is the database that the event is about, for events about no collection.
func databaseOf(e *jetstream.Event) string { return e.Database }

// refIn is another name of the same kind, a collection's or an alias, that the event's body has. A body that names no
// database means the event's.
func refIn(e *jetstream.Event, database, name string) Ref {
	if database == "" {
		database = e.Database
	}
	return Ref{database, name}
}

// nameOf is what the event is about, for errors.
func nameOf(e *jetstream.Event) string {
	switch {
	case e.Database == "":
		return accessName(e)
	case e.Collection == "":
		return e.Database
	case e.Partition == "":
		return refOf(e).String()
	}
	return refOf(e).String() + "/" + e.Partition
}
