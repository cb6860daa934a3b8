package milvus_test

import (
	"context"
	"errors"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/rgpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
)

// scripted is a server of a version that the tests have none of: it answers each method as the test says, and keeps the
// requests of those that are no questions.
type scripted struct {
	milvuspb.UnimplementedMilvusServiceServer

	answers map[string]func(req any) (any, error)

	mu   sync.Mutex
	told []any
}

// newScripted serves it and opens a Target on it.
func newScripted(t *testing.T, answers map[string]func(req any) (any, error)) (*scripted, *milvus.Target) {
	t.Helper()
	s := &scripted{answers: answers}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(s.answer))
	milvuspb.RegisterMilvusServiceServer(server, s)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	target, err := milvus.Open(t.Context(), milvus.Config{URI: "http://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	return s, target
}

func (s *scripted) answer(_ context.Context, req any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
	method := path.Base(info.FullMethod)
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.answers[method]
	if !ok {
		return nil, status.Error(codes.Unimplemented, "unknown method "+method)
	}
	if question := strings.HasPrefix(method, "Describe") || strings.HasPrefix(method, "Get") || strings.HasPrefix(method, "Show"); !question {
		s.told = append(s.told, req)
	}
	return f(req)
}

// were compares what the server was told, and forgets it.
func (s *scripted) were(t *testing.T, want ...proto.Message) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	same := slices.EqualFunc(s.told, want, func(a any, b proto.Message) bool { return proto.Equal(a.(proto.Message), b) })
	if !same {
		t.Errorf("the server was told\n%v\nwant\n%v", s.told, want)
	}
	s.told = nil
}

func says(a any) func(any) (any, error) { return func(any) (any, error) { return a, nil } }
func ok(any) (any, error)               { return &commonpb.Status{}, nil }
func no(code int32) func(any) (any, error) {
	return says(&commonpb.Status{Code: code, ErrorCode: commonpb.ErrorCode_UnexpectedError, Reason: "because"})
}

func kvs(list ...string) []*commonpb.KeyValuePair {
	var out []*commonpb.KeyValuePair
	for i := 0; i < len(list); i += 2 {
		out = append(out, &commonpb.KeyValuePair{Key: list[i], Value: list[i+1]})
	}
	return out
}

// TestNewerProperties sets and removes them apart, only those that have to be, and none that would stop the target.
func TestNewerProperties(t *testing.T) {
	text := field("s", schemapb.DataType_VarChar, param("max_length", 20), param("x", 1))
	s, target := newScripted(t, map[string]func(any) (any, error){
		"DescribeCollection": says(&milvuspb.DescribeCollectionResponse{
			Status: &commonpb.Status{}, Schema: schemaOf(idField(), text), Properties: kvs("old", "1", "same", "2"),
		}),
		"DescribeIndex": says(&milvuspb.DescribeIndexResponse{Status: &commonpb.Status{}, IndexDescriptions: []*milvuspb.IndexDescription{
			{IndexName: "i", FieldName: "s", Params: kvs("mmap.enabled", "true", "same", "2")},
		}}),
		"AlterCollection": ok, "AlterDatabase": ok, "AlterCollectionField": ok, "AlterIndex": ok,
	})
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(target.AlterDatabase(ctx, &milvuspb.AlterDatabaseRequest{DbName: "db",
		Properties: kvs("a", "1", "replicate.id", "x", "database.force.deny.writing", "true", "database.resource_groups", "rg"),
		DeleteKeys: []string{"b", "replicate.id"}}))
	s.were(t, &milvuspb.AlterDatabaseRequest{DbName: "db", Properties: kvs("a", "1")}, &milvuspb.AlterDatabaseRequest{DbName: "db", DeleteKeys: []string{"b"}})

	must(target.AlterCollection(ctx, &milvuspb.AlterCollectionRequest{DbName: "db", CollectionName: "c",
		Properties: kvs("same", "2", "new", "3"), DeleteKeys: []string{"none"}}))
	s.were(t, &milvuspb.AlterCollectionRequest{DbName: "db", CollectionName: "c", Properties: kvs("new", "3")})

	must(target.AlterField(ctx, &milvuspb.AlterCollectionFieldRequest{DbName: "db", CollectionName: "c", FieldName: "s",
		Properties: kvs("max_length", "30"), DeleteKeys: []string{"x", "none"}}))
	s.were(t, &milvuspb.AlterCollectionFieldRequest{DbName: "db", CollectionName: "c", FieldName: "s", Properties: kvs("max_length", "30")},
		&milvuspb.AlterCollectionFieldRequest{DbName: "db", CollectionName: "c", FieldName: "s", DeleteKeys: []string{"x"}})

	must(target.AlterIndex(ctx, &milvuspb.AlterIndexRequest{DbName: "db", CollectionName: "c", IndexName: "i",
		ExtraParams: kvs("mmap.enabled", "false", "same", "2")}))
	s.were(t, &milvuspb.AlterIndexRequest{DbName: "db", CollectionName: "c", IndexName: "i", ExtraParams: kvs("mmap.enabled", "false")})
}

// TestAddField adds a field to a target that can, once.
func TestAddField(t *testing.T) {
	schema := schemaOf(idField())
	added := field("f", schemapb.DataType_Int64, func(f *schemapb.FieldSchema) { f.Nullable, f.FieldID = true, 107 })
	var mu sync.Mutex
	_, target := newScripted(t, map[string]func(any) (any, error){
		"DescribeCollection": func(any) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			return &milvuspb.DescribeCollectionResponse{Status: &commonpb.Status{}, Schema: proto.CloneOf(schema)}, nil
		},
		"AddCollectionField": func(req any) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			f := &schemapb.FieldSchema{}
			if err := proto.Unmarshal(req.(*milvuspb.AddCollectionFieldRequest).GetSchema(), f); err != nil {
				return nil, err
			}
			if f.FieldID != 0 || !f.Nullable {
				t.Errorf("field %v", f)
			}
			schema.Fields = append(schema.Fields, f)
			return &commonpb.Status{Code: 5, Reason: "added, and could not say so"}, nil
		},
		"Upsert": says(&milvuspb.MutationResult{Status: &commonpb.Status{}}),
	})
	if _, err := target.Shape(t.Context(), stubRef); err != nil { // as it was before
		t.Fatal(err)
	}
	for range 2 {
		if err := target.AddField(t.Context(), stubRef, added); err != nil {
			t.Fatal(err)
		}
	}
	if len(schema.Fields) != 2 {
		t.Errorf("schema %v", schema)
	}
	if err := target.Upsert(t.Context(), stubRef, "", pack(t, longs("id", 1), longs("f", 1))); err != nil {
		t.Errorf("rows with the field: %v", err)
	}
	// The collection's creation comes again: its first schema is not another one.
	if err := target.CreateCollection(t.Context(), request(t, schemaOf(idField()))); err != nil {
		t.Errorf("CreateCollection again = %v", err)
	}
}

// TestReplicas has a target with three query nodes.
func TestReplicas(t *testing.T) {
	var loaded int32
	load := func(n int32) (any, error) {
		switch {
		case loaded != 0 && loaded != n: // as a 2.3.5 answers
			return &commonpb.Status{Code: 1100, Reason: "can't change the replica number"}, nil
		case n > 3:
			return &commonpb.Status{Code: 65535, Reason: "nodes not enough"}, nil
		}
		loaded = n
		return &commonpb.Status{}, nil
	}
	s, target := newScripted(t, map[string]func(any) (any, error){
		"DescribeCollection": says(&milvuspb.DescribeCollectionResponse{Status: &commonpb.Status{}, Schema: schemaOf(idField())}),
		"DescribeResourceGroup": says(&milvuspb.DescribeResourceGroupResponse{Status: &commonpb.Status{},
			ResourceGroup: &milvuspb.ResourceGroup{Name: "__default_resource_group", NumAvailableNode: 3, Config: &rgpb.ResourceGroupConfig{}}}),
		"GetLoadState": func(any) (any, error) {
			if loaded == 0 {
				return &milvuspb.GetLoadStateResponse{Status: &commonpb.Status{}, State: commonpb.LoadState_LoadStateNotLoad}, nil
			}
			return &milvuspb.GetLoadStateResponse{Status: &commonpb.Status{}, State: commonpb.LoadState_LoadStateLoaded}, nil
		},
		"ShowPartitions": says(&milvuspb.ShowPartitionsResponse{Status: &commonpb.Status{}, PartitionNames: []string{"_default", "p"}}),
		"GetReplicas":    says(&milvuspb.GetReplicasResponse{Status: &commonpb.Status{}, Replicas: make([]*milvuspb.ReplicaInfo, 2)}),
		"LoadCollection": func(req any) (any, error) { return load(req.(*milvuspb.LoadCollectionRequest).ReplicaNumber) },
		"LoadPartitions": func(req any) (any, error) { return load(req.(*milvuspb.LoadPartitionsRequest).ReplicaNumber) },
		"ReleaseCollection": func(any) (any, error) {
			loaded = 0
			return &commonpb.Status{}, nil
		},
	})
	want := func(n int32) proto.Message {
		return &milvuspb.LoadCollectionRequest{DbName: "db", CollectionName: "c", ReplicaNumber: n, LoadFields: []string{"id"}}
	}
	try := func(n int32) error {
		return target.LoadCollection(t.Context(), &milvuspb.LoadCollectionRequest{
			DbName: "db", CollectionName: "c", ReplicaNumber: n, LoadFields: []string{"id"}, ResourceGroups: []string{"theirs"},
		})
	}
	release := &milvuspb.ReleaseCollectionRequest{DbName: "db", CollectionName: "c"}
	if err := try(2); err != nil {
		t.Error(err)
	}
	s.were(t, want(2))
	if err := try(1); err != nil { // another number: not while it is loaded
		t.Error(err)
	}
	s.were(t, want(1), release, want(1))
	for i := range 2 { // more than there are nodes: as many as there are, and the second time nothing is released
		err := try(5)
		var known *handlers.Error
		if !errors.As(err, &known) || known.Class != handlers.Permanent || known.Code != milvus.CodeReplicas ||
			!strings.Contains(err.Error(), "in 3 of the 5 replicas") {
			t.Errorf("LoadCollection = %v", err)
		}
		if i == 0 {
			s.were(t, want(3), release, want(3))
		} else {
			s.were(t, want(3))
		}
	}
	// Partitions beside a collection that is loaded whole, in other replicas: whole it stays.
	err := target.LoadPartitions(t.Context(), &milvuspb.LoadPartitionsRequest{
		DbName: "db", CollectionName: "c", PartitionNames: []string{"p"}, ReplicaNumber: 2, LoadFields: []string{"id"},
	})
	if err != nil {
		t.Error(err)
	}
	s.were(t, &milvuspb.LoadPartitionsRequest{DbName: "db", CollectionName: "c", PartitionNames: []string{"p"}, ReplicaNumber: 2, LoadFields: []string{"id"}},
		release, want(2))
}

// TestReleasedCollectionIsOwedALoad has calls fail between the release for a new index and the load after it: tried again,
// the collection is loaded in the end, as it was.
func TestReleasedCollectionIsOwedALoad(t *testing.T) {
	index := &milvuspb.IndexDescription{IndexName: "i", FieldName: "v", Params: kvs("index_type", "FLAT")}
	loaded := []string{"p"}
	failures := 0
	flaky := func(then func()) func(any) (any, error) {
		return func(any) (any, error) {
			if failures++; failures%3 != 0 {
				return nil, status.Error(codes.Unavailable, "gone")
			}
			then()
			return &commonpb.Status{}, nil
		}
	}
	_, target := newScripted(t, map[string]func(any) (any, error){
		"DescribeCollection": says(&milvuspb.DescribeCollectionResponse{Status: &commonpb.Status{}, Schema: schemaOf(idField(), vectorField(4))}),
		"DescribeIndex": func(any) (any, error) {
			if index == nil {
				return &milvuspb.DescribeIndexResponse{Status: &commonpb.Status{Code: 700}}, nil
			}
			return &milvuspb.DescribeIndexResponse{Status: &commonpb.Status{}, IndexDescriptions: []*milvuspb.IndexDescription{index}}, nil
		},
		"GetLoadState": func(any) (any, error) {
			state := commonpb.LoadState_LoadStateNotLoad
			if loaded != nil {
				state = commonpb.LoadState_LoadStateLoading
			}
			return &milvuspb.GetLoadStateResponse{Status: &commonpb.Status{}, State: state}, nil
		},
		"ShowPartitions": func(req any) (any, error) {
			names := []string{"_default", "p"}
			if req.(*milvuspb.ShowPartitionsRequest).Type == milvuspb.ShowType_InMemory {
				names = loaded
			}
			return &milvuspb.ShowPartitionsResponse{Status: &commonpb.Status{}, PartitionNames: names}, nil
		},
		"DropIndex": func(any) (any, error) {
			if loaded != nil {
				return &commonpb.Status{Code: 65535, Reason: "please release it first"}, nil
			}
			index = nil
			return &commonpb.Status{}, nil
		},
		"ReleaseCollection": flaky(func() { loaded = nil }),
		"CreateIndex": flaky(func() {
			index = &milvuspb.IndexDescription{IndexName: "i", FieldName: "v", Params: kvs("index_type", "HNSW")}
		}),
		"LoadPartitions": flaky(func() { loaded = []string{"p"} }),
	})
	tries := 0
	for err := errors.New("not yet"); err != nil; tries++ {
		if tries > 20 {
			t.Fatal(err)
		}
		err = target.CreateIndex(t.Context(), &milvuspb.CreateIndexRequest{
			DbName: "db", CollectionName: "c", FieldName: "v", IndexName: "i", ExtraParams: kvs("index_type", "HNSW"),
		})
	}
	if tries < 5 || index.GetParams()[0].GetValue() != "HNSW" || !slices.Equal(loaded, []string{"p"}) {
		t.Errorf("after %d tries: index %v, loaded %q", tries, index, loaded)
	}
}

// TestSettingsWaitForNobody has a user without privileges, and a server that knows little; a wrong token is waited for.
func TestSettingsWaitForNobody(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(any) (any, error)
		class  handlers.Class
		code   string
	}{
		"privilege": {func(any) (any, error) { return nil, status.Error(codes.PermissionDenied, "because") }, handlers.Permanent, milvus.CodeNotAllowed},
		"version":   {func(any) (any, error) { return nil, status.Error(codes.Unimplemented, "because") }, handlers.Permanent, milvus.CodeUnsupported},
		"nil": {func(any) (any, error) { // as a 2.3.5 answers to AlterIndex
			return nil, status.Error(codes.Internal, "grpc: error while marshaling: proto: Marshal called with nil")
		}, handlers.Permanent, milvus.CodeUnsupported},
		"token": {func(any) (any, error) { return nil, status.Error(codes.Unauthenticated, "because") }, handlers.Misconfigured, milvus.CodeUnauthenticated},
		"limit": {no(8), handlers.Limited, milvus.CodeRateLimited},
	} {
		t.Run(name, func(t *testing.T) {
			_, target := newScripted(t, map[string]func(any) (any, error){
				"DescribeCollection": says(&milvuspb.DescribeCollectionResponse{Status: &commonpb.Status{}, Schema: schemaOf(idField())}),
				"DescribeIndex":      says(&milvuspb.DescribeIndexResponse{Status: &commonpb.Status{}}),
				"AlterDatabase":      tc.answer, "CreateAlias": tc.answer, "CreateIndex": tc.answer, "LoadCollection": tc.answer,
			})
			ctx := t.Context()
			for what, err := range map[string]error{
				"AlterDatabase":  target.AlterDatabase(ctx, &milvuspb.AlterDatabaseRequest{DbName: "db", Properties: kvs("a", "1")}),
				"SetAlias":       target.SetAlias(ctx, handlers.Ref{Database: "db", Collection: "x"}, stubRef),
				"CreateIndex":    target.CreateIndex(ctx, &milvuspb.CreateIndexRequest{DbName: "db", CollectionName: "c", FieldName: "id", IndexName: "i"}),
				"LoadCollection": target.LoadCollection(ctx, &milvuspb.LoadCollectionRequest{DbName: "db", CollectionName: "c"}),
			} {
				var known *handlers.Error
				if !errors.As(err, &known) || known.Class != tc.class || known.Code != tc.code {
					t.Errorf("%s = %v, want %s %s", what, err, tc.class, tc.code)
				}
			}
		})
	}
}
