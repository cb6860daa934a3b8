// Package rules applies the rules of a task: which rows of a collection are replicated, and which of their fields.
//
// In comes a [jetstream.Rule], as a user wrote it. [Parse] makes it ready and refuses what is no expression, without
// knowing a collection; [Rule.Fits] compares it with the schema of one. Out come, for the rows of an event, those that are to be
// replicated ([Rule.Keep]), and for a collection's definition the schema that the targets are to have ([Rule.Cut]).
//
// The expressions are those of expr-lang/expr, less what takes time or memory without bound or gives something else the
// next time: the same row always comes to the same end (guarantee 2).
package rules
