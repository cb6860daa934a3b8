package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Keys of log attributes.
const (
	keyError = "error"
	keyKey   = "key"
)

// Catalog follows one source's meta. Open lists it, Run keeps it up to date, Close ends it. All methods are safe for
// concurrent use.
type Catalog struct {
	cfg     Config
	client  *clientv3.Client
	keys    keyRange
	log     *slog.Logger
	metrics *metrics
	board   board
	health  health
	turn    chan struct{} // holds a token while nobody asks etcd what has changed

	mu    sync.Mutex // held while changes are taken in, so that a Sync sees all of a response or nothing
	model *model
	count int64                   // of the keys in the range
	stop  context.CancelCauseFunc // ends the watch; nil while there is none
}

// Open connects to the source's etcd and lists its meta at one revision. An etcd that does not answer within
// Config.RequestTimeout, or refuses, is an error. A nil log discards.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Catalog, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Catalog{cfg: cfg, keys: newKeyRange(cfg.prefix()), log: log, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	c.health.log = log
	var err error
	if c.client, err = connect(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open catalogue: connect to etcd at %v: %w", cfg.Endpoints, err)
	}
	if c.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, errors.Join(fmt.Errorf("open catalogue: register metrics: %w", err), c.client.Close())
	}
	if err := c.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open catalogue: %w", err), c.Close())
	}
	if v := c.View(); len(v.Databases) == 0 && len(v.Collections) == 0 {
		log.Warn("etcd holds no meta of Milvus: is its root path another, or its metastore TiKV?", keyKey, c.keys.prefix)
	}
	return c, nil
}

// connect makes the client. It says nothing of etcd yet, unless there is a user to be authenticated.
func connect(ctx context.Context, cfg Config) (*clientv3.Client, error) {
	t, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{
		Context:              context.WithoutCancel(ctx), // the client's life is until Close
		Endpoints:            cfg.Endpoints,
		Username:             cfg.Username,
		Password:             cfg.Password,
		TLS:                  t,
		DialTimeout:          cfg.RequestTimeout,
		DialKeepAliveTime:    10 * time.Second, // a watch on a dead connection would never end by itself
		DialKeepAliveTimeout: cfg.RequestTimeout,
		MaxUnaryRetries:      10,           // whoever asks tries on anyway
		Logger:               zap.NewNop(), // it would write to stderr; what goes wrong is in the errors
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				// The default grows to two minutes, which an etcd that is back would not be noticed for.
				Backoff:           backoff.Config{BaseDelay: minPause, Multiplier: 2, Jitter: 0.2, MaxDelay: maxPause},
				MinConnectTimeout: cfg.RequestTimeout,
			}),
			grpc.WithChainUnaryInterceptor(failFast),
		},
	})
}

// failFast makes a request fail with the reason why there is no connection, a refused certificate for one. Etcd's client
// would wait for a connection, and say no more than that the deadline had passed.
//
//nolint:revive // argument-limit: the signature is grpc.UnaryClientInterceptor's
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return call(ctx, method, req, reply, cc, append(slices.Clip(opts), grpc.WaitForReady(false))...)
}

// View is the meta as far as it is known. It is never nil and never changes.
func (c *Catalog) View() *View {
	v, _ := c.board.read()
	return v
}

// Changed is closed when there is another View than the one that View returns now. Take it before View, and a new one
// each time.
func (c *Catalog) Changed() <-chan struct{} {
	_, changed := c.board.read()
	return changed
}

// Health says whether the source's etcd answers.
func (c *Catalog) Health() Health { return c.health.read() }

// Close disconnects and takes the metrics back. Call it after Run has returned.
func (c *Catalog) Close() error {
	c.metrics.unregister()
	if err := c.client.Close(); err != nil {
		return fmt.Errorf("close catalogue: %w", err)
	}
	return nil
}

// publish makes a View the current one. The caller holds c.mu.
func (c *Catalog) publish(v *View) {
	old := c.board.post(v)
	c.metrics.revision.Set(float64(v.Revision))
	c.metrics.unreadable.Set(float64(len(v.Unreadable)))
	for key, err := range v.Unreadable {
		if old == nil || old.Unreadable[key] == nil {
			c.metrics.unreadableTotal.Inc()
			c.log.Error("the source's meta holds what can't be read; its object is left out", keyKey, key, keyError, err)
		}
	}
}

// board is where the current View is posted.
type board struct {
	mu      sync.Mutex // guards all below
	view    *View
	changed chan struct{}
}

func (b *board) read() (*View, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view, b.changed
}

func (b *board) post(v *View) (old *View) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
	}
	old, b.view, b.changed = b.view, v, make(chan struct{})
	return old
}
