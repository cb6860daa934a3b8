package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/expr-lang/expr/vm"

	"kitestream/jetstream/rows"
)

// Kept is what of some rows is replicated.
type Kept struct {
	Index []int // the rows, in their order

	// Failed are those of the others for which the expression could not be evaluated. It was not true, so they are not
	// replicated; but whoever wrote it may not have thought of them.
	Failed int
	Row    int   // the first of them
	Why    error // why, for that one; nil if there is none
}

// Keep is what of the rows is replicated: those for which the expression is true. The error says that a field that it
// reads has no values to look at; it is the same for every row.
func (r *Rule) Keep(from *rows.Rows) (Kept, error) {
	out := Kept{Index: make([]int, 0, from.Len())}
	if r.program == nil {
		for i := range from.Len() {
			out.Index = append(out.Index, i)
		}
		return out, nil
	}
	read, err := r.readers(from)
	if err != nil {
		return Kept{}, err
	}
	machine, env := vm.VM{}, make(map[string]any, len(read))
	for i := range from.Len() {
		result, err := r.evaluate(&machine, env, read, i)
		switch yes, _ := result.(bool); {
		case err != nil:
			if out.Failed == 0 {
				out.Row, out.Why = i, err
			}
			out.Failed++
		case yes:
			out.Index = append(out.Index, i)
		}
	}
	return out, nil
}

// evaluate is the expression's result for row i. It fills env, which may hold another row.
func (r *Rule) evaluate(machine *vm.VM, env map[string]any, read []reader, i int) (any, error) {
	for k, n := range r.names {
		v, err := read[k](i)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", n.text, err)
		}
		env[n.text] = v
	}
	result, err := machine.Run(r.program, env)
	if err != nil {
		return nil, mistake(err)
	}
	return result, nil
}

// reader is the value of a name in row i.
type reader func(i int) (any, error)

// readers are those of the rule's names. A field that rows have not is null: they were written before it was added.
func (r *Rule) readers(from *rows.Rows) ([]reader, error) {
	out := make([]reader, len(r.names))
	for k, n := range r.names {
		switch {
		case from.Has(n.text):
			v, err := from.Values(n.text)
			if err != nil {
				return nil, err
			}
			out[k] = func(i int) (any, error) { return native(v.At(i)) }
		case n.text == dynamicName && from.Has(metaField):
			v, err := from.Values(metaField)
			if err != nil {
				return nil, err
			}
			out[k] = func(i int) (any, error) { return object(native(v.At(i))) }
		case n.text == dynamicName:
			out[k] = func(int) (any, error) { return map[string]any{}, nil }
		default:
			out[k] = func(int) (any, error) { return nil, nil }
		}
	}
	return out, nil
}

// native is a value as expressions have it: integers are int, which is what their own literals are, and a JSON is what it
// says.
func native(v any, err error) (any, error) {
	switch v := v.(type) {
	case int64:
		return int(v), err
	case []byte:
		return parseJSON(v)
	}
	return v, err
}

// object is the dynamic part of a row, which has one even if there is nothing in it.
func object(v any, err error) (any, error) {
	if v == nil && err == nil {
		return map[string]any{}, nil
	}
	return v, err
}

// parseJSON reads a JSON with whole numbers as int.
func parseJSON(b []byte) (any, error) {
	if len(b) == 0 { // the placeholder of a null
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("parse JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("parse JSON: something follows the value")
	}
	return numbers(v), nil
}

// numbers puts numbers into a JSON's value, in place.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return int(i)
		}
		f, _ := v.Float64() // of more than a float64 holds, an infinity
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}
