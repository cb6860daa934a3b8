package scan

import (
	"fmt"
	"slices"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// metaName is the field of all that the schema has no field for.
const metaName = "$meta"

// rowFields are the fields that a row of the source's queue has, in the schema's order. The description of a collection
// leaves the dynamic one out. What a function computes isn't in the queue: each side does that for itself.
func rowFields(s *schemapb.CollectionSchema) []*schemapb.FieldSchema {
	fields := slices.DeleteFunc(slices.Clone(s.GetFields()), (*schemapb.FieldSchema).GetIsFunctionOutput)
	if s.GetEnableDynamicField() && !slices.ContainsFunc(fields, (*schemapb.FieldSchema).GetIsDynamic) {
		fields = append(fields, &schemapb.FieldSchema{Name: metaName, DataType: schemapb.DataType_JSON, IsDynamic: true})
	}
	return fields
}

// columns are the fields to ask for.
func (col *Collection) columns(keysOnly bool) []*schemapb.FieldSchema {
	if keysOnly {
		return []*schemapb.FieldSchema{col.key}
	}
	return col.fields
}

func names(fields []*schemapb.FieldSchema) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.GetName()
	}
	return out
}

// form puts an answer into the form that the queue has: the fields that are wanted, in their order.
func (col *Collection) form(got []*schemapb.FieldData, want []*schemapb.FieldSchema) ([]*schemapb.FieldData, error) {
	rows := 0
	for _, g := range got {
		if g.GetFieldName() == col.key.GetName() {
			rows = height(g)
		}
	}
	out := make([]*schemapb.FieldData, len(want))
	for i, f := range want {
		out[i] = empty(f)
		at := slices.IndexFunc(got, func(g *schemapb.FieldData) bool { return g.GetFieldName() == f.GetName() })
		if rows == 0 {
			continue
		}
		if at < 0 {
			return nil, fmt.Errorf("read %s: the source's answer lacks the field %s: describe the collection again", col, f.GetName())
		}
		g := got[at]
		g.IsDynamic = f.GetIsDynamic()
		if g.FieldId == 0 {
			g.FieldId = f.GetFieldID()
		}
		if f.GetDataType() == schemapb.DataType_Timestamptz {
			if err := toMicros(g); err != nil {
				return nil, fmt.Errorf("read %s, field %s: %w", col, f.GetName(), err)
			}
		}
		if a := g.GetScalars().GetArrayData(); a != nil {
			arrays(a, f.GetElementType())
		}
		g = nulls(g, f.GetNullable(), rows)
		if n := height(g); n != rows {
			return nil, fmt.Errorf("read %s: the source answers with %d rows, and %d of the field %s", col, rows, n, f.GetName())
		}
		out[i] = g
	}
	return out, nil
}

// nulls puts a column into full form: every row has a value, of which null rows have the zero one, and valid_data says
// which is null if the field may be.
func nulls(g *schemapb.FieldData, nullable bool, rows int) *schemapb.FieldData {
	valid := g.GetValidData()
	g.ValidData = nil
	if !nullable {
		return g
	}
	if len(valid) != rows {
		valid = slices.Repeat([]bool{true}, rows)
	}
	if slices.Contains(valid, false) {
		index, full, next := make([]int, rows), height(g) == rows, 0
		for i, ok := range valid {
			switch {
			case !ok:
				index[i] = -1
			case full:
				index[i] = i
			default: // only what is not null has a value
				index[i] = next
				next++
			}
		}
		if full || next == height(g) {
			g = pick(g, index)
		}
	}
	g.ValidData = valid
	return g
}

// arrays says of what type the elements are, of a row without any too: a 2.3.5 leaves that out of its answers.
func arrays(a *schemapb.ArrayArray, of schemapb.DataType) {
	a.ElementType = of
	for i, row := range a.GetData() {
		if row.GetData() == nil {
			a.Data[i] = noElements(of)
		}
	}
}

func noElements(of schemapb.DataType) *schemapb.ScalarField {
	switch of {
	case schemapb.DataType_Bool:
		return &schemapb.ScalarField{Data: &schemapb.ScalarField_BoolData{BoolData: &schemapb.BoolArray{}}}
	case schemapb.DataType_Int8, schemapb.DataType_Int16, schemapb.DataType_Int32:
		return &schemapb.ScalarField{Data: &schemapb.ScalarField_IntData{IntData: &schemapb.IntArray{}}}
	case schemapb.DataType_Int64:
		return &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{}}}
	case schemapb.DataType_Float:
		return &schemapb.ScalarField{Data: &schemapb.ScalarField_FloatData{FloatData: &schemapb.FloatArray{}}}
	case schemapb.DataType_Double:
		return &schemapb.ScalarField{Data: &schemapb.ScalarField_DoubleData{DoubleData: &schemapb.DoubleArray{}}}
	case schemapb.DataType_VarChar, schemapb.DataType_String:
		return &schemapb.ScalarField{Data: &schemapb.ScalarField_StringData{StringData: &schemapb.StringArray{}}}
	}
	return &schemapb.ScalarField{}
}

// toMicros makes the text in which a Milvus answers with times the numbers that rows have.
func toMicros(g *schemapb.FieldData) error {
	text := g.GetScalars().GetStringData()
	if text == nil {
		return nil
	}
	micros := make([]int64, len(text.GetData()))
	for i, s := range text.GetData() {
		if s == "" { // null
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return fmt.Errorf("read a time: %w", err)
		}
		micros[i] = at.UnixMicro()
	}
	g.Type = schemapb.DataType_Timestamptz
	g.Field = &schemapb.FieldData_Scalars{Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_TimestamptzData{
		TimestamptzData: &schemapb.TimestamptzArray{Data: micros},
	}}}
	return nil
}
