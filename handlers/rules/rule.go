package rules

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/vm"

	"kitestream/jetstream"
)

// Rule is a rule that is ready to be applied. It may be used by several goroutines at once.
type Rule struct {
	spec    jetstream.Rule
	program *vm.Program // nil: all rows
	names   []name      // what the expression reads, by name
}

// name is a name in an expression.
type name struct {
	text string
	at   int // the place of its first use, in characters
}

// The names of what rows have beyond the schema: in expressions, and as Milvus has it.
const (
	dynamicName = "dynamic"
	metaField   = "$meta"
)

// Parse reads a rule without knowing a collection that it is for. The error is a *jetstream.FieldError, its field
// relative to the rule, its message with line and column.
func Parse(r jetstream.Rule) (*Rule, error) {
	out := &Rule{spec: r}
	if strings.TrimSpace(r.Where) == "" {
		return out, nil
	}
	err := out.parse()
	if err != nil {
		return nil, &jetstream.FieldError{Field: "where", Message: err.Error()}
	}
	return out, nil
}

// TakesPartition reports whether what a partition of the source holds is replicated.
func (r *Rule) TakesPartition(partition string) bool { return r.spec.TakesPartition(partition) }

// Drops reports whether the targets are not to have that field.
func (r *Rule) Drops(field string) bool { return slices.Contains(r.spec.DropFields, field) }

// DropFields are the fields that the targets are not to have.
func (r *Rule) DropFields() []string { return r.spec.DropFields }

// Filters reports whether there may be rows that the rule leaves out for what they hold.
func (r *Rule) Filters() bool { return r.program != nil }
