package milvus

import (
	"fmt"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
)

// release is a minor version of Milvus, such as 2.4.
type release struct{ major, minor int }

// String is the release for people.
func (r release) String() string { return fmt.Sprintf("Milvus %d.%d", r.major, r.minor) }

// feature is something in a schema that not every target can hold.
type feature struct {
	// since is the first Milvus that has it: of a type or a flag that is later than 2.3, by milvus-wire.md, sections 1
	// and 2, or as a real 2.3.5 answered where it says "seen". The zero release: every Milvus from 2.3 on.
	since release
	// lite says that Milvus Lite 3.2.2 holds it, bit for bit: see types_test.go.
	lite bool
	// never says that no target is given it.
	never bool
	// text says what it is, behind the name of the field or function that has it.
	text string
}

// typeFeature is the feature of a field's type. A type that is not here is claimed to be held by none and refused by none.
//
// A 2.3.5 checks none of them: it makes a collection with a field of any type that its copy of the protocol can spell, and
// then can't write rows to it (seen).
func typeFeature(typ schemapb.DataType) (feature, bool) {
	f := feature{text: "is a " + typ.String()}
	switch typ {
	case schemapb.DataType_Bool, schemapb.DataType_Int8, schemapb.DataType_Int16, schemapb.DataType_Int32,
		schemapb.DataType_Int64, schemapb.DataType_Float, schemapb.DataType_Double, schemapb.DataType_VarChar,
		schemapb.DataType_JSON, schemapb.DataType_Array, schemapb.DataType_FloatVector: // (seen: each on a 2.3.5)
		f.lite = true
	case schemapb.DataType_BinaryVector: // (seen)
	case schemapb.DataType_Float16Vector, schemapb.DataType_BFloat16Vector:
		f.since = release{2, 4}
	case schemapb.DataType_SparseFloatVector:
		f.since, f.lite = release{2, 4}, true
	case schemapb.DataType_Int8Vector, schemapb.DataType_ArrayOfVector, schemapb.DataType_ArrayOfStruct:
		f.since = release{2, 6}
	case schemapb.DataType_Timestamptz:
		f.since, f.lite = release{2, 6}, true
	case schemapb.DataType_Geometry: // rows come in a form that requests do not take, and it would be for this program to convert
		f.never = true
	default:
		return feature{}, false
	}
	return f, true
}

// functionFeature is the feature of a function's type, as typeFeature.
func functionFeature(typ schemapb.FunctionType) (feature, bool) {
	f := feature{since: release{2, 5}, text: "is a " + typ.String() + " function"}
	switch typ {
	case schemapb.FunctionType_BM25:
		f.lite = true
	case schemapb.FunctionType_TextEmbedding:
	default:
		return feature{}, false
	}
	return f, true
}

// lacks says what of the feature the target has not, for people; nothing if it has it, or may have it.
func (v version) lacks(f feature) string {
	switch {
	case f.never:
		return f.text + ": this version of Kitestream can't copy it"
	case v.lite && f.lite, !v.lite && !v.before(f.since):
		return ""
	case f.since == release{}:
		return fmt.Sprintf("%s: needs a Milvus, the target is %s", f.text, v)
	}
	return fmt.Sprintf("%s: needs %s, the target is %s", f.text, f.since, v)
}

// problems are what of the schema the target can't hold, each with its field or function.
func (v version) problems(s *schema) []string {
	upserts := feature{since: release{2, 3}, lite: true, text: "is written to by upsert"}
	nullables := feature{since: release{2, 5}, lite: true, text: "is nullable"}                  // a 2.3.5 forgets that it is, and keeps zeros (seen)
	severalVectors := feature{since: release{2, 4}, lite: true, text: "is another vector field"} // which a 2.3.5 refuses (seen)
	structs := feature{since: release{2, 6}, text: "is an array of structs"}
	var out []string
	find := func(name string, f feature) {
		if text := v.lacks(f); text != "" {
			out = append(out, name+" "+text)
		}
	}
	find("the collection", upserts)
	vectors := 0
	for _, f := range s.GetFields() {
		if typ, ok := typeFeature(f.GetDataType()); ok {
			find(strconv.Quote(f.GetName()), typ)
		}
		if f.GetNullable() {
			find(strconv.Quote(f.GetName()), nullables)
		}
		if isVector(f.GetDataType()) {
			if vectors++; vectors > 1 {
				find(strconv.Quote(f.GetName()), severalVectors)
			}
		}
	}
	for _, f := range s.GetStructArrayFields() {
		find(strconv.Quote(f.GetName()), structs)
	}
	for _, f := range s.GetFunctions() {
		if typ, ok := functionFeature(f.GetType()); ok {
			find(strconv.Quote(f.GetName()), typ)
		}
	}
	return out
}

// isVector reports whether a field of the type is a vector: the numbers from 100 on are, but for those of structs.
func isVector(typ schemapb.DataType) bool {
	return typ >= schemapb.DataType_BinaryVector && typ <= schemapb.DataType_Int8Vector
}
