package milvus

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
)

type (
	schema      = schemapb.CollectionSchema
	fieldSchema = schemapb.FieldSchema
)

func parseSchema(b []byte) (*schema, error) {
	s := &schema{}
	if err := proto.Unmarshal(b, s); err != nil {
		return nil, refuse(handlers.CodeEvent, "read schema: %w", err)
	}
	return s, nil
}

// targetSchema makes of the source's schema the one for the target: auto-ID off, and without the
// dynamic field, which the server adds itself.
func targetSchema(name string, source *schema) *schema {
	s := proto.CloneOf(source)
	s.Name, s.DbName = name, ""
	s.AutoID = false //nolint:staticcheck // deprecated, yet older servers look at it
	s.Fields = nil
	for _, f := range source.GetFields() {
		if f.GetIsDynamic() {
			s.EnableDynamicField = true
			continue
		}
		s.Fields = append(s.Fields, targetField(f))
	}
	return s
}

func targetField(source *fieldSchema) *fieldSchema {
	f := proto.CloneOf(source)
	f.AutoID, f.FieldID, f.State = false, 0, schemapb.FieldState_FieldCreated
	return f
}

// differences says in what a collection on the target is not the wanted one, for people to read. Rows need no more
// than the fields to be the same: shards, consistency and properties may be as the target's owner likes them. A field that
// only the target has is none if rows can leave it out: it may have been added by a later event that was carried out already.
func differences(want, have *schema) []string {
	var out []string
	theirs := map[string]*fieldSchema{}
	for _, f := range have.GetFields() {
		if !f.GetIsDynamic() {
			theirs[f.GetName()] = f
		}
	}
	for _, w := range want.GetFields() {
		h, ok := theirs[w.GetName()]
		delete(theirs, w.GetName())
		if !ok {
			out = append(out, fmt.Sprintf("field %q (%s) is missing on the target", w.GetName(), w.GetDataType()))
			continue
		}
		for _, d := range fieldDifferences(w, h) {
			out = append(out, fmt.Sprintf("field %q: %s", w.GetName(), d))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		if theirs[name].GetNullable() || theirs[name].GetDefaultValue() != nil {
			continue
		}
		out = append(out, fmt.Sprintf("field %q (%s) is on the target only", name, theirs[name].GetDataType()))
	}
	if want.GetEnableDynamicField() != have.GetEnableDynamicField() {
		out = append(out, differs("dynamic field", onOff(want.GetEnableDynamicField()), onOff(have.GetEnableDynamicField())))
	}
	return append(out, functionDifferences(want, have)...)
}

func fieldDifferences(want, have *fieldSchema) []string {
	var out []string
	compare := func(what string, w, h any) {
		if w != h {
			out = append(out, differs(what, w, h))
		}
	}
	compare("type", want.GetDataType(), have.GetDataType())
	compare("element type", want.GetElementType(), have.GetElementType())
	compare("primary key", onOff(want.GetIsPrimaryKey()), onOff(have.GetIsPrimaryKey()))
	compare("partition key", onOff(want.GetIsPartitionKey()), onOff(have.GetIsPartitionKey()))
	compare("nullable", onOff(want.GetNullable()), onOff(have.GetNullable()))
	compare("default value", defaultText(want), defaultText(have))
	if have.GetAutoID() {
		out = append(out, "auto-ID is on on the target, which then can't keep the source's keys")
	}
	w, h := params(want.GetTypeParams()), params(have.GetTypeParams())
	if _, limited := h["max_length"]; want.GetDataType() == schemapb.DataType_Array && !limited {
		delete(w, "max_length") // of the elements: Milvus Lite keeps none, and so limits none
	}
	names := maps.Clone(w)
	maps.Copy(names, h)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		compare(name, w[name], h[name])
	}
	return out
}

// params are the type parameters that say what values a field can hold, and what a function makes of them. How the target
// stores and indexes them is its own affair.
func params(list []*commonpb.KeyValuePair) map[string]string {
	out := map[string]string{}
	for _, p := range list {
		switch k, v := p.GetKey(), p.GetValue(); {
		case k == "dim", k == "max_length", k == "max_capacity":
			out[k] = v
		case k == "enable_analyzer" && v != "false":
			out[k] = v
		case k == "analyzer_params", k == "multi_analyzer_params":
			out[k] = compactJSON(v)
		}
	}
	return out
}

// compactJSON is JSON without what servers write otherwise: spaces and the order of keys.
func compactJSON(text string) string {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return string(b)
}

func defaultText(f *fieldSchema) string {
	if f.GetDefaultValue() == nil {
		return ""
	}
	// Spaces in protobuf's text form vary on purpose.
	return strings.Join(strings.Fields(f.GetDefaultValue().String()), " ")
}

func functionDifferences(want, have *schema) []string {
	text := func(s *schema) map[string]string {
		out := map[string]string{}
		for _, f := range s.GetFunctions() {
			out[f.GetName()] = fmt.Sprintf("%s of %q into %q", f.GetType(), f.GetInputFieldNames(), f.GetOutputFieldNames())
		}
		return out
	}
	w, h := text(want), text(have)
	names := maps.Clone(w)
	maps.Copy(names, h)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if w[name] != h[name] {
			out = append(out, differs(fmt.Sprintf("function %q", name), w[name], h[name]))
		}
	}
	return out
}

func differs(what string, source, target any) string {
	show := func(v any) any {
		if v == "" {
			return "none"
		}
		return v
	}
	return fmt.Sprintf("%s is %v on the source, %v on the target", what, show(source), show(target))
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
