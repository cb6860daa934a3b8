package config

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
)

// testPrefix begins variables that belong to this repository's tests, which hand their environment on.
const testPrefix = Prefix + "TEST_"

// fields are the fields of Config, in order.
func fields() iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		t := reflect.TypeFor[Config]()
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// Help writes the table of the role's variables: name, default, unit, meaning.
func Help(w io.Writer, role Role) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  VARIABLE\tDEFAULT\tUNIT\tMEANING")
	for f := range fields() {
		name, def := f.Tag.Get("envconfig"), f.Tag.Get("default")
		if !used(name, role) {
			continue
		}
		if def == "" {
			def = "-"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", name, def, f.Tag.Get("unit"), f.Tag.Get("desc"))
	}
	return t.Flush()
}

// unknown reports every variable that begins with the prefix and is none of ours, with the one that was likely meant.
func unknown(environ []string) error {
	var known []string
	for f := range fields() {
		known = append(known, f.Tag.Get("envconfig"))
	}
	var errs []error
	for _, kv := range slices.Sorted(slices.Values(environ)) {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, Prefix) || strings.HasPrefix(name, testPrefix) || slices.Contains(known, name) {
			continue
		}
		errs = append(errs, &VariableError{Variable: name, Message: "is no setting; the nearest is " + nearest(name, known)})
	}
	return errors.Join(errs...)
}

// nearest is the known name with the fewest changes of a letter to it.
func nearest(name string, known []string) string {
	return slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
}

// distance is Levenshtein's: how many letters must be put in, taken out or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
