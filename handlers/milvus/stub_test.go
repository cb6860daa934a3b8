package milvus_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
)

// stub is a gRPC server that answers as a test says, and keeps the last requests.
type stub struct {
	milvuspb.UnimplementedMilvusServiceServer

	mu      sync.Mutex
	schema  *schemapb.CollectionSchema // nil: there is no such collection
	aliases []string
	answer  *commonpb.Status // of Upsert and Delete
	err     error            // of Upsert and Delete
	shows   int              // calls of DescribeCollection
	header  metadata.MD
	upsert  *milvuspb.UpsertRequest
	remove  *milvuspb.DeleteRequest
	create  *milvuspb.CreateCollectionRequest
}

// newStub serves a stub and opens a Target on it.
func newStub(t testing.TB, s *stub, token string) *milvus.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	milvuspb.RegisterMilvusServiceServer(server, s)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	target, err := milvus.Open(t.Context(), milvus.Config{URI: "http://" + l.Addr().String(), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.Close(); err != nil {
			t.Error(err)
		}
	})
	return target
}

func (s *stub) DescribeCollection(context.Context, *milvuspb.DescribeCollectionRequest) (*milvuspb.DescribeCollectionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shows++
	if s.schema == nil {
		return &milvuspb.DescribeCollectionResponse{Status: &commonpb.Status{
			ErrorCode: commonpb.ErrorCode_UnexpectedError, Code: 100, Reason: "can't find collection",
		}}, nil
	}
	return &milvuspb.DescribeCollectionResponse{Status: &commonpb.Status{}, Schema: s.schema, Aliases: s.aliases}, nil
}

func (s *stub) Upsert(ctx context.Context, req *milvuspb.UpsertRequest) (*milvuspb.MutationResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upsert = req
	s.header, _ = metadata.FromIncomingContext(ctx)
	return &milvuspb.MutationResult{Status: s.answer}, s.err
}

func (s *stub) Delete(_ context.Context, req *milvuspb.DeleteRequest) (*milvuspb.MutationResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove = req
	return &milvuspb.MutationResult{Status: s.answer}, s.err
}

func (s *stub) ListDatabases(context.Context, *milvuspb.ListDatabasesRequest) (*milvuspb.ListDatabasesResponse, error) {
	return &milvuspb.ListDatabasesResponse{Status: &commonpb.Status{}, DbNames: []string{"default", "db"}}, nil
}

func (s *stub) CreateCollection(_ context.Context, req *milvuspb.CreateCollectionRequest) (*commonpb.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.create = req
	return s.answer, s.err
}

var stubRef = handlers.Ref{Database: "db", Collection: "c"}

func schemaOf(fields ...*schemapb.FieldSchema) *schemapb.CollectionSchema {
	return &schemapb.CollectionSchema{Name: "c", Fields: fields}
}

// request asks for a collection of the schema.
func request(t testing.TB, s *schemapb.CollectionSchema) *milvuspb.CreateCollectionRequest {
	t.Helper()
	b, err := proto.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return &milvuspb.CreateCollectionRequest{DbName: "db", CollectionName: "c", Schema: b}
}
