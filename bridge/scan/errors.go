package scan

import "errors"

// ErrNoCollection is returned when the source has no collection, or no partition, of that name.
var ErrNoCollection = errors.New("no such collection")

// ErrRecreated is returned when the collection of that name is not the one that was described: it was dropped, and made
// anew.
var ErrRecreated = errors.New("collection was made anew")

// ErrNotLoaded is returned when a collection, or a partition of it, can't be read as it is not loaded.
var ErrNotLoaded = errors.New("not loaded")
