package scan

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// Config says where the Milvus is that is read.
type Config struct {
	// URI is http://host:port, https://host:port for TLS with the system's certificates, or host:port.
	URI string
	// Token is user:password or an API key. Empty: no authentication.
	Token string
}

// Validate says what is wrong with the configuration. It never shows the token.
func (c Config) Validate() error {
	_, _, err := c.address()
	return err
}

// address is host:port, and whether there is TLS.
func (c Config) address() (addr string, tls bool, err error) {
	uri := c.URI
	if uri == "" {
		return "", false, errors.New("uri is empty: give http://host:port or https://host:port")
	}
	if !strings.Contains(uri, "://") {
		uri = "http://" + uri
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return "", false, errors.New("uri can't be parsed: want http://host:port or https://host:port") // err would show it, with what is in it
	case u.Scheme != "http" && u.Scheme != "https":
		return "", false, fmt.Errorf("uri %s: scheme is %q, not http or https", u.Redacted(), u.Scheme)
	case u.Hostname() == "":
		return "", false, fmt.Errorf("uri %s has no host", u.Redacted())
	case u.User != nil:
		return "", false, fmt.Errorf("uri %s has credentials in it: they belong into the token", u.Redacted())
	case u.Path != "" && u.Path != "/":
		return "", false, fmt.Errorf("uri %s has a path: name the host and port only", u.Redacted())
	}
	tls = u.Scheme == "https"
	if addr = u.Host; u.Port() == "" {
		addr = u.Host + map[bool]string{false: ":19530", true: ":443"}[tls]
	}
	return addr, tls, nil
}

// Client reads a Milvus. It is safe for concurrent use.
type Client struct {
	conn    *grpc.ClientConn
	service milvuspb.MilvusServiceClient
	lite    bool          // it is a Milvus Lite
	clock   atomic.Uint64 // the last timestamp given out for a source that has no clock of its own
}

// Dial makes a Client and checks that the server answers.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	addr, tls, err := cfg.address()
	if err != nil {
		return nil, fmt.Errorf("configuration of the source's API: %w", err)
	}
	secure := insecure.NewCredentials()
	if tls {
		secure = credentials.NewTLS(nil)
	}
	conn, err := grpc.NewClient(addr, append(dialOptions(cfg.Token), grpc.WithTransportCredentials(secure))...)
	if err != nil {
		return nil, fmt.Errorf("connect to the source's API at %s: %w", addr, err)
	}
	c := &Client{conn: conn, service: milvuspb.NewMilvusServiceClient(conn)}
	v, err := checked(c.service.GetVersion(ctx, &milvuspb.GetVersionRequest{}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask the source's API at %s for its version: %w", addr, err), conn.Close())
	}
	c.lite = strings.HasPrefix(v.GetVersion(), "milvus_lite-")
	return c, nil
}

// dialOptions don't retry: whether to is for the caller to decide.
func dialOptions(token string) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 10 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true,
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 3 * time.Second,
		}),
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if token != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", base64.StdEncoding.EncodeToString([]byte(token)))
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
	}
}

// Close closes the connection.
func (c *Client) Close() error {
	if err := c.conn.Close(); err != nil {
		return fmt.Errorf("close the source's API: %w", err)
	}
	return nil
}

// logicalBits are the lower bits of a timestamp, below the milliseconds.
const logicalBits = 18

// Now is a timestamp of the source: not before that of any row whose write was answered before Now was called, and later
// than every earlier Now. A Milvus Lite, which gives rows no timestamps, has that of this machine's clock.
func (c *Client) Now(ctx context.Context) (uint64, error) {
	if !c.lite {
		a, err := checked(c.service.AllocTimestamp(ctx, &milvuspb.AllocTimestampRequest{}))
		if err != nil {
			return 0, fmt.Errorf("ask the source for a timestamp: %w", err)
		}
		return a.GetTimestamp(), nil
	}
	now := uint64(time.Now().UnixMilli()) << logicalBits
	for {
		last := c.clock.Load()
		next := max(now, last+1)
		if c.clock.CompareAndSwap(last, next) {
			return next, nil
		}
	}
}
