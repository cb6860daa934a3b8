package milvus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	grpcretry "github.com/grpc-ecosystem/go-grpc-middleware/retry"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-sdk-go/v2/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	"kitestream/handlers"
)

// Config says where a target is.
type Config struct {
	// URI is http://host:port, https://host:port for TLS with the system's certificates, or host:port.
	URI string
	// Token is user:password or an API key. Empty: no authentication.
	Token string
}

// Validate joins everything that is wrong with the configuration. It never shows the token.
func (c Config) Validate() error {
	if c.URI == "" {
		return errors.New("uri is empty")
	}
	uri := c.URI
	if !strings.Contains(uri, "://") {
		uri = "http://" + uri
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return errors.New("uri can't be parsed: want http://host:port or https://host:port") // err would show it, with what is in it
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("uri %s: scheme is %q, not http or https", u.Redacted(), u.Scheme)
	case u.Hostname() == "":
		return fmt.Errorf("uri %s has no host", u.Redacted())
	case u.User != nil:
		return fmt.Errorf("uri %s has credentials in it: they belong into the token", u.Redacted())
	case u.Path != "" && u.Path != "/":
		return fmt.Errorf("uri %s has a path: databases are those of the source", u.Redacted())
	}
	return nil
}

// Target is a Milvus that is written to. It is safe for concurrent use.
type Target struct {
	client  client.Client
	service milvuspb.MilvusServiceClient
	shapes  *shapes
	owed    *owed
	single  chan struct{} // held by the one call that writes to a Milvus Lite
}

var _ handlers.Target = (*Target)(nil)

// Open makes a Target. It does not connect: the first call does, and every call after a connection was lost.
func Open(ctx context.Context, cfg Config) (*Target, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration of target: %w", err)
	}
	c, err := client.NewClient(ctx, client.Config{
		Address:        cfg.URI,
		APIKey:         cfg.Token, // the header is the same for user:password
		DisableConn:    true,
		RetryRateLimit: &client.RetryRateLimitOption{}, // never: whether to retry is decided in handlers
		DialOptions:    dialOptions(),
	})
	if err != nil {
		return nil, fmt.Errorf("open target: %w", err)
	}
	raw, ok := c.(*client.GrpcClient)
	if !ok {
		return nil, fmt.Errorf("open target: the SDK's client is a %T", c)
	}
	return &Target{client: c, service: raw.Service, shapes: newShapes(), owed: newOwed(), single: make(chan struct{}, 1)}, nil
}

// Close closes the connection.
func (t *Target) Close() error {
	if err := t.client.Close(); err != nil {
		return fmt.Errorf("close target: %w", err)
	}
	return nil
}

// dialOptions are the SDK's, but that they don't block until there is a connection, and don't retry.
func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 5 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true,
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 3 * time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpcretry.Disable()),
	}
}
