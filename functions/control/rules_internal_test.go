package control

import (
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream"
)

func collection(t *testing.T, name string, fields ...*schemapb.FieldSchema) *milvuspb.CreateCollectionRequest {
	t.Helper()
	fields = append(fields, &schemapb.FieldSchema{Name: "id", DataType: schemapb.DataType_Int64, IsPrimaryKey: true},
		&schemapb.FieldSchema{Name: "vec", DataType: schemapb.DataType_FloatVector})
	b, err := proto.Marshal(&schemapb.CollectionSchema{Name: name, Fields: fields})
	if err != nil {
		t.Fatal(err)
	}
	return &milvuspb.CreateCollectionRequest{DbName: "db", CollectionName: name, Schema: b}
}

func TestCheckRules(t *testing.T) {
	priced := collection(t, "priced", &schemapb.FieldSchema{Name: "price", DataType: schemapb.DataType_Double})
	bare := collection(t, "bare")
	for name, tc := range map[string]struct {
		rules []jetstream.Rule
		want  []Problem
	}{
		"none":          {nil, nil},
		"fits":          {[]jetstream.Rule{{Collections: []string{"priced"}, Where: "price > 3"}}, nil},
		"first_counts":  {[]jetstream.Rule{{Collections: []string{"bare"}, Where: "id > 3"}, {Where: "price > 3"}}, nil},
		"no_such_field": {[]jetstream.Rule{{Collections: []string{"x"}, Where: "y"}, {Where: "id > 1 and price > 3"}}, []Problem{{"rules[1].where", `1:12: there is no field "price" (db.bare)`}}},
		"drop_fields": {[]jetstream.Rule{{Collections: []string{"priced"}, DropFields: []string{"price", "id"}}}, []Problem{
			{"rules[0].drop_fields[1]", `"id" is the primary key (db.priced)`},
		}},
		"both": {[]jetstream.Rule{{Where: "vec == nil", DropFields: []string{"vec"}}}, []Problem{
			{"rules[0].where", `1:1: "vec" is a FloatVector; only booleans, numbers, strings, JSON and arrays can be looked at (db.priced)`},
			{"rules[0].drop_fields", "a collection needs a vector field, and no one is left (db.priced)"},
			{"rules[0].where", `1:1: "vec" is a FloatVector; only booleans, numbers, strings, JSON and arrays can be looked at (db.bare)`},
			{"rules[0].drop_fields", "a collection needs a vector field, and no one is left (db.bare)"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []Problem
			if err := checkRules(jetstream.TaskSpec{Rules: tc.rules}, []*milvuspb.CreateCollectionRequest{priced, bare}); err != nil {
				collect(err, &got)
			}
			if len(got) != len(tc.want) {
				t.Fatalf("problems %q, want %q", got, tc.want)
			}
			for i := range got {
				if got[i] != tc.want[i] {
					t.Errorf("problem %d is %q, want %q", i, got[i], tc.want[i])
				}
			}
		})
	}
}
