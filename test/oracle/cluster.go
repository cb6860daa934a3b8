// Package oracle knows the right answer: it reads everything that a Milvus holds, bit for bit, works out by a model
// what it ought to hold, and says how the two differ, or how two Milvus differ from each other.
//
// It speaks Milvus's own protocol and shares no code with what it judges: no SDK, no decoding of the product's. What
// it reads it reads strongly consistent, each partition by itself, and counts as well, so that a row which is stored
// twice shows. It is for clusters that nobody writes to meanwhile.
package oracle

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// maxMessage is the largest answer that is taken, in bytes. Milvus sends up to 64 MiB.
const maxMessage = 256 << 20

// Cluster is a connection to one Milvus. It is safe for concurrent use.
type Cluster struct {
	conn *grpc.ClientConn
	svc  milvuspb.MilvusServiceClient
}

// Dial makes a connection to a Milvus without TLS, at host:port or http://host:port. The token is "user:password", or
// empty.
func Dial(addr, token string) (*Cluster, error) {
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	}
	if token != "" {
		auth := base64.StdEncoding.EncodeToString([]byte(token))
		opts = append(opts, grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any,
			cc *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption,
		) error {
			return invoke(metadata.AppendToOutgoingContext(ctx, "authorization", auth), method, req, reply, cc, o...)
		}))
	}
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(addr, "http://"), opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to Milvus at %s: %w", addr, err)
	}
	return &Cluster{conn: conn, svc: milvuspb.NewMilvusServiceClient(conn)}, nil
}

// Close ends the connection.
func (c *Cluster) Close() error { return c.conn.Close() }

// answer is what every call's response has.
type answer interface{ GetStatus() *commonpb.Status }

// refusal is the error of a call that Milvus answered with no.
type refusal struct {
	code   int32
	reason string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("Milvus says no: %s (code %d)", r.reason, r.code)
}

// checked makes an error of a call's failure or refusal: checked(c.svc.Query(…)).
func checked[A answer](a A, err error) (A, error) {
	if err != nil {
		return a, err
	}
	return a, refused(a.GetStatus())
}

func refused(s *commonpb.Status) error {
	if s.GetCode() == 0 && s.GetErrorCode() == commonpb.ErrorCode_Success { // the latter is all that 2.2 sends
		return nil
	}
	return &refusal{code: s.GetCode(), reason: s.GetReason()}
}

// done is checked for the calls that answer with a status alone.
func done(s *commonpb.Status, err error) error {
	if err != nil {
		return err
	}
	return refused(s)
}
