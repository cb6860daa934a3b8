package handlers

import (
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/jetstream"
)

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBodies has every kind of event whose body a mapping or a rule changes.
func TestBodies(t *testing.T) {
	spec := jetstream.TaskSpec{
		Map: []jetstream.Mapping{
			{Database: "db", Collection: "gone", ToDatabase: "x", ToCollection: "c"},
			{Database: "db", Collection: "c", ToDatabase: "x"},
			{Database: "db", ToDatabase: "x", ToCollection: "{db}_{collection}"},
		},
		Rules: []jetstream.Rule{{Database: "db", DropFields: []string{"v"}, Partitions: []string{"a*"}}},
	}
	p, err := newPlacement(spec)
	if err != nil {
		t.Fatal(err)
	}
	grant := func(object, name, db string) *milvuspb.OperatePrivilegeRequest {
		return &milvuspb.OperatePrivilegeRequest{Entity: &milvuspb.GrantEntity{Object: &milvuspb.ObjectEntity{Name: object}, ObjectName: name, DbName: db}}
	}
	for name, tc := range map[string]struct {
		kind jetstream.Kind
		in   proto.Message
		want proto.Message // nil: nothing is left
	}{
		"rename":                  {jetstream.RenameCollection, &milvuspb.RenameCollectionRequest{NewName: "n"}, &milvuspb.RenameCollectionRequest{NewName: "db_n", NewDBName: "x"}},
		"rename_elsewhere":        {jetstream.RenameCollection, &milvuspb.RenameCollectionRequest{NewName: "n", NewDBName: "db2"}, &milvuspb.RenameCollectionRequest{NewName: "n", NewDBName: "db2"}},
		"rename_to_the_same":      {jetstream.RenameCollection, &milvuspb.RenameCollectionRequest{NewName: "gone"}, nil},
		"create_alias":            {jetstream.CreateAlias, &milvuspb.CreateAliasRequest{Alias: "n"}, &milvuspb.CreateAliasRequest{Alias: "db_n"}},
		"alter_alias":             {jetstream.AlterAlias, &milvuspb.AlterAliasRequest{Alias: "n"}, &milvuspb.AlterAliasRequest{Alias: "db_n"}},
		"drop_alias":              {jetstream.DropAlias, &milvuspb.DropAliasRequest{Alias: "n"}, &milvuspb.DropAliasRequest{Alias: "db_n"}},
		"grant_on_a_collection":   {jetstream.OperatePrivilege, grant("Collection", "n", "db"), grant("Collection", "db_n", "x")},
		"grant_on_all_of_one":     {jetstream.OperatePrivilege, grant("Collection", "*", "db"), grant("Collection", "*", "x")},
		"grant_on_everything":     {jetstream.OperatePrivilege, grant("Collection", "*", "*"), grant("Collection", "*", "*")},
		"global_grant":            {jetstream.OperatePrivilege, grant("Global", "*", ""), grant("Global", "*", "")},
		"global_grant_in_one":     {jetstream.OperatePrivilege, grant("Global", "*", "db"), grant("Global", "*", "x")},
		"grant_on_a_user":         {jetstream.OperatePrivilege, grant("User", "n", "db"), grant("User", "n", "db")},
		"index_of_a_field":        {jetstream.CreateIndex, &milvuspb.CreateIndexRequest{FieldName: "vec"}, &milvuspb.CreateIndexRequest{FieldName: "vec"}},
		"index_of_a_dropped_one":  {jetstream.CreateIndex, &milvuspb.CreateIndexRequest{FieldName: "v"}, nil},
		"drop_index":              {jetstream.DropIndex, &milvuspb.DropIndexRequest{FieldName: "v"}, nil},
		"alter_field":             {jetstream.AlterField, &milvuspb.AlterCollectionFieldRequest{FieldName: "v"}, nil},
		"add_field":               {jetstream.AddField, &milvuspb.AddCollectionFieldRequest{Schema: encode(t, &schemapb.FieldSchema{Name: "v"})}, nil},
		"add_another_field":       {jetstream.AddField, &milvuspb.AddCollectionFieldRequest{Schema: encode(t, &schemapb.FieldSchema{Name: "w"})}, &milvuspb.AddCollectionFieldRequest{Schema: encode(t, &schemapb.FieldSchema{Name: "w"})}},
		"load":                    {jetstream.LoadCollection, &milvuspb.LoadCollectionRequest{LoadFields: []string{"id", "v"}}, &milvuspb.LoadCollectionRequest{LoadFields: []string{"id"}}},
		"load_partitions":         {jetstream.LoadPartitions, &milvuspb.LoadPartitionsRequest{PartitionNames: []string{"a1", "b"}}, &milvuspb.LoadPartitionsRequest{PartitionNames: []string{"a1"}}},
		"load_other_partitions":   {jetstream.LoadPartitions, &milvuspb.LoadPartitionsRequest{PartitionNames: []string{"b"}}, nil},
		"release_partitions":      {jetstream.ReleasePartitions, &milvuspb.ReleasePartitionsRequest{PartitionNames: []string{"b", "a"}}, &milvuspb.ReleasePartitionsRequest{PartitionNames: []string{"a"}}},
		"release_other_partition": {jetstream.ReleasePartitions, &milvuspb.ReleasePartitionsRequest{PartitionNames: []string{"b"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e := &jetstream.Event{Kind: tc.kind, Database: "db", Collection: "c", Body: encode(t, tc.in)}
			out, err := p.place(e)
			if err != nil {
				t.Fatal(err)
			}
			if e.Database != "db" || e.Collection != "c" || string(e.Body) != string(encode(t, tc.in)) {
				t.Error("the event itself has changed")
			}
			if tc.want == nil || out == nil {
				if tc.want != nil || out != nil {
					t.Errorf("left is %v, want %v", out, tc.want)
				}
				return
			}
			got := tc.in.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(out.Body, got); err != nil || !proto.Equal(got, tc.want) || out.Database != "x" || out.Collection != "c" {
				t.Errorf("%s.%s %v, %v\nwant %v", out.Database, out.Collection, got, err, tc.want)
			}
		})
	}
	for _, kind := range []jetstream.Kind{jetstream.RenameCollection, jetstream.AddField, jetstream.CreateCollection, jetstream.CreateIndex, jetstream.LoadPartitions} {
		if out, err := p.place(&jetstream.Event{Kind: kind, Database: "db", Collection: "c", Body: []byte{0xff}}); err == nil {
			t.Errorf("a body of %s that can't be read: %v", kind, out)
		}
	}
}
