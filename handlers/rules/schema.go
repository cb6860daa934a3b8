package rules

import (
	"errors"
	"fmt"
	"slices"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream"
)

// Fits compares the rule with the schema of a collection that it is for. The error joins all that does not fit, each a
// *jetstream.FieldError as Parse makes them.
func (r *Rule) Fits(s *schemapb.CollectionSchema) error {
	var errs []error
	add := func(field, format string, args ...any) {
		errs = append(errs, &jetstream.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if err := r.checkWhere(s); err != nil {
		add("where", "%v", err)
	}
	for i, f := range r.spec.DropFields {
		if why := undroppable(s, f); why != "" {
			add(fmt.Sprintf("drop_fields[%d]", i), "%q %s", f, why)
		}
	}
	if hasVectors(s) && !hasVectors(r.Cut(s)) {
		add("drop_fields", "a collection needs a vector field, and no one is left")
	}
	if len(r.spec.Partitions) > 0 && slices.ContainsFunc(s.GetFields(), (*schemapb.FieldSchema).GetIsPartitionKey) {
		add("partitions", "the collection has a partition key: Milvus spreads its rows over partitions by itself")
	}
	return errors.Join(errs...)
}

// checkWhere checks names and types.
func (r *Rule) checkWhere(s *schemapb.CollectionSchema) error {
	if r.program == nil {
		return nil
	}
	env := types.Map{}
	for _, n := range r.names {
		typ, err := typeOf(s, n.text)
		if err != nil {
			at := file.Error{Location: file.Location{From: n.at}, Message: err.Error()}
			return mistake(at.Bind(file.NewSource(r.spec.Where)))
		}
		env[n.text] = typ
	}
	if _, err := expr.Compile(r.spec.Where, append(limits(), expr.Env(env))...); err != nil {
		return mistake(err)
	}
	return nil
}

// typeOf is the type that a name in an expression has.
func typeOf(s *schemapb.CollectionSchema, name string) (types.Type, error) {
	for _, f := range s.GetFields() {
		if f.GetName() != name || f.GetIsDynamic() {
			continue
		}
		if f.GetIsFunctionOutput() {
			return nil, fmt.Errorf("%q is computed by the target: rows have no value of it", name)
		}
		if f.GetDataType() == schemapb.DataType_Array {
			if elem, ok := arrays[f.GetElementType()]; ok {
				return elem, nil
			}
		} else if typ, ok := scalars[f.GetDataType()]; ok {
			return typ, nil
		}
		return nil, fmt.Errorf("%q is a %s; only booleans, numbers, strings, JSON and arrays can be looked at", name, f.GetDataType())
	}
	switch open := hasDynamicPart(s); {
	case open && name == dynamicName:
		return types.TypeOf(map[string]any{}), nil
	case open:
		return nil, fmt.Errorf("there is no field %q; what rows have beyond the schema is %s[%q]", name, dynamicName, name)
	case name == dynamicName:
		return nil, fmt.Errorf("there is no field %q, and the collection has no dynamic field", name)
	}
	return nil, fmt.Errorf("there is no field %q", name)
}

// hasDynamicPart reports whether rows may have more than the schema's fields. Some servers list a field for that.
func hasDynamicPart(s *schemapb.CollectionSchema) bool {
	return s.GetEnableDynamicField() || slices.ContainsFunc(s.GetFields(), (*schemapb.FieldSchema).GetIsDynamic)
}

// scalars and arrays are the types of values as Keep gives them to an expression.
var (
	scalars = map[schemapb.DataType]types.Type{
		schemapb.DataType_Bool: types.Bool, schemapb.DataType_Int8: types.Int, schemapb.DataType_Int16: types.Int,
		schemapb.DataType_Int32: types.Int, schemapb.DataType_Int64: types.Int, schemapb.DataType_Float: types.Float64,
		schemapb.DataType_Double: types.Float64, schemapb.DataType_VarChar: types.String, schemapb.DataType_String: types.String,
		schemapb.DataType_Text: types.String,
		schemapb.DataType_JSON: types.Any,
	}
	arrays = map[schemapb.DataType]types.Type{
		schemapb.DataType_Bool: types.TypeOf([]bool{}), schemapb.DataType_Int8: types.TypeOf([]int64{}),
		schemapb.DataType_Int16: types.TypeOf([]int64{}), schemapb.DataType_Int32: types.TypeOf([]int64{}),
		schemapb.DataType_Int64: types.TypeOf([]int64{}), schemapb.DataType_Float: types.TypeOf([]float64{}),
		schemapb.DataType_Double: types.TypeOf([]float64{}), schemapb.DataType_VarChar: types.TypeOf([]string{}),
		schemapb.DataType_String: types.TypeOf([]string{}),
	}
)

// undroppable says why the targets can't do without a field; empty if they can.
func undroppable(s *schemapb.CollectionSchema, name string) string {
	if name == metaField && hasDynamicPart(s) {
		return ""
	}
	for _, f := range s.GetFunctions() {
		if slices.Contains(f.GetInputFieldNames(), name) {
			return "is what the function " + f.GetName() + " reads"
		}
		if slices.Contains(f.GetOutputFieldNames(), name) {
			return "is what the function " + f.GetName() + " computes"
		}
	}
	for _, f := range s.GetFields() {
		switch {
		case f.GetName() != name:
		case f.GetIsPrimaryKey():
			return "is the primary key"
		case f.GetIsPartitionKey():
			return "is the partition key"
		default:
			return ""
		}
	}
	return "is no field of the collection"
}

func hasVectors(s *schemapb.CollectionSchema) bool {
	return slices.ContainsFunc(s.GetFields(), func(f *schemapb.FieldSchema) bool {
		return f.GetDataType() >= schemapb.DataType_BinaryVector && f.GetDataType() < schemapb.DataType_ArrayOfVector
	})
}

// Cut is the schema without the fields that the targets are not to have.
func (r *Rule) Cut(s *schemapb.CollectionSchema) *schemapb.CollectionSchema {
	out, _ := proto.Clone(s).(*schemapb.CollectionSchema)
	out.Fields = slices.DeleteFunc(out.GetFields(), func(f *schemapb.FieldSchema) bool { return r.Drops(f.GetName()) })
	if r.Drops(metaField) {
		out.EnableDynamicField = false
	}
	return out
}
