package milvus_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
)

// TestPlanByVersion has targets of versions that the tests have no server of, and what each can't hold of one schema.
func TestPlanByVersion(t *testing.T) {
	vector := func(name string, typ schemapb.DataType) *schemapb.FieldSchema {
		return field(name, typ, param("dim", 8))
	}
	output := field("words", schemapb.DataType_SparseFloatVector, func(f *schemapb.FieldSchema) { f.IsFunctionOutput = true })
	s := schemaOf(idField(), vectorField(4), vector("half", schemapb.DataType_Float16Vector), vector("byte", schemapb.DataType_Int8Vector),
		field("null", schemapb.DataType_Int64, func(f *schemapb.FieldSchema) { f.Nullable = true }), output,
		field("text", schemapb.DataType_VarChar, param("max_length", 9)), field("where", schemapb.DataType_Geometry))
	s.Functions = []*schemapb.FunctionSchema{{Name: "bm25", Type: schemapb.FunctionType_BM25, InputFieldNames: []string{"text"}, OutputFieldNames: []string{"words"}}}
	s.StructArrayFields = []*schemapb.StructArrayFieldSchema{{Name: "parts"}}

	for text, want := range map[string]struct {
		lacks []string // names of fields and functions
		warns string
	}{
		"v2.2.16":           {lacks: []string{"the collection", "half", "half", "byte", "byte", "null", "words", "words", "where", "parts", "bm25"}},
		"v2.3.5-lite":       {lacks: []string{"half", "half", "byte", "byte", "null", "words", "words", "where", "parts", "bm25"}},
		"v2.4.15":           {lacks: []string{"byte", "null", "where", "parts", "bm25"}},
		"2.5.3":             {lacks: []string{"byte", "where", "parts"}},
		"v2.6.0-rc1":        {lacks: []string{"where"}},
		"v3.0.0":            {lacks: []string{"where"}},
		"milvus_lite-3.2.2": {lacks: []string{"half", "byte", "where", "parts"}, warns: "Milvus Lite loses rows"},
		"zilliz-2.3":        {lacks: []string{"where"}, warns: `the target is of the unknown version "zilliz-2.3"`},
		"":                  {lacks: []string{"where"}, warns: `the target is of the unknown version ""`},
	} {
		t.Run(text, func(t *testing.T) {
			_, target := newScripted(t, map[string]func(any) (any, error){
				"GetVersion":         says(&milvuspb.GetVersionResponse{Status: &commonpb.Status{}, Version: text}),
				"DescribeCollection": says(&milvuspb.DescribeCollectionResponse{Status: &commonpb.Status{Code: 100}}),
			})
			p, err := target.Plan(t.Context(), request(t, s))
			if err != nil {
				t.Fatal(err)
			}
			var lacks []string
			for _, problem := range p.Problems {
				name, _, _ := strings.Cut(problem, " is ")
				lacks = append(lacks, strings.Trim(name, `"`))
			}
			if !slices.Equal(lacks, want.lacks) || p.Action != handlers.ActionRefuse || p.Version != text {
				t.Errorf("plan %+v\nlacks %q, want %q", p, lacks, want.lacks)
			}
			if !strings.Contains(strings.Join(p.Warnings, "\n"), want.warns) {
				t.Errorf("warnings %q, want %q", p.Warnings, want.warns)
			}
			var known *handlers.Error
			if err := target.CreateCollection(t.Context(), request(t, s)); !errors.As(err, &known) || known.Code != milvus.CodeUnsupported {
				t.Errorf("CreateCollection = %v, want %s", err, milvus.CodeUnsupported)
			}
		})
	}
}

// TestPlanOfAnUnknownVersion has a target that doesn't say what it is, or not to this user: nothing is refused on its behalf.
func TestPlanOfAnUnknownVersion(t *testing.T) {
	for _, code := range []codes.Code{codes.Unimplemented, codes.PermissionDenied} {
		_, target := newScripted(t, map[string]func(any) (any, error){
			"GetVersion":         func(any) (any, error) { return nil, status.Error(code, "because") },
			"DescribeCollection": says(&milvuspb.DescribeCollectionResponse{Status: &commonpb.Status{Code: 100}}),
		})
		p, err := target.Plan(t.Context(), request(t, schemaOf(idField(), vectorField(4), field("h", schemapb.DataType_Float16Vector, param("dim", 4)))))
		if err != nil || p.Action != handlers.ActionCreate || len(p.Problems) > 0 || len(p.Warnings) != 1 {
			t.Errorf("%s: plan %+v, %v", code, p, err)
		}
	}
	_, target := newScripted(t, map[string]func(any) (any, error){
		"GetVersion": func(any) (any, error) { return nil, status.Error(codes.Unavailable, "because") },
	})
	if p, err := target.Plan(t.Context(), request(t, schemaOf(idField(), vectorField(4)))); err == nil {
		t.Errorf("plan of a target that is down: %+v", p)
	}
}
