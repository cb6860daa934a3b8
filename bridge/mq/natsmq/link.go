package natsmq

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

var errDown = errors.New("no connection to natsmq")

// link is one connection to the server, kept for ever. Each reader has its own: the server cuts a connection off when
// more than max_pending (64 MiB in Milvus) wait to be sent on it, which many readers with large messages can ask for
// together but one cannot.
type link struct {
	nc      *nats.Conn
	js      natsjs.JetStream
	log     *slog.Logger
	renewed func() // called when the connection has been made anew

	mu    sync.Mutex
	fresh chan struct{} // closed, and replaced, whenever the connection has been made anew
}

// dial makes a link. That no server answers yet is no error.
func dial(cfg Config, log *slog.Logger, renewed func()) (*link, error) {
	l := &link{log: log, renewed: renewed, fresh: make(chan struct{})}
	opts := append(cfg.options(),
		nats.ReconnectHandler(l.reconnected),
		nats.ErrorHandler(l.trouble),
	)
	var err error
	if l.nc, err = nats.Connect(cfg.URL, opts...); err != nil {
		return nil, fmt.Errorf("connect to natsmq: %w", err)
	}
	if l.js, err = natsjs.New(l.nc); err != nil {
		l.nc.Close()
		return nil, fmt.Errorf("connect to natsmq: %w", err)
	}
	return l, nil
}

// reconnected spreads the word that whatever was asked of the server before is forgotten.
func (l *link) reconnected(nc *nats.Conn) {
	l.log.Debug("natsmq connected", keyServer, nc.ConnectedServerVersion())
	l.mu.Lock()
	close(l.fresh)
	l.fresh = make(chan struct{})
	l.mu.Unlock()
	l.renewed()
}

// trouble hears of errors that no call returns. explain brings those that matter to where they are logged once.
func (l *link) trouble(_ *nats.Conn, _ *nats.Subscription, err error) {
	l.log.Debug("natsmq connection", keyError, err)
}

// refreshed returns a channel that is closed once the connection has been made anew.
func (l *link) refreshed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fresh
}

// up returns an error that says why there is no connection, if there is none.
func (l *link) up() error {
	if l.nc.IsConnected() {
		return nil
	}
	if l.nc.LastError() == nil { // it has never been there
		return fmt.Errorf("%w (%w)", errDown, nats.ErrNoServers)
	}
	return l.explain(errDown)
}

// explain adds what the connection last complained of, such as a missing permission: a request that the server
// refuses is otherwise just never answered.
func (l *link) explain(err error) error {
	if last := l.nc.LastError(); last != nil {
		return fmt.Errorf("%w (%w)", err, last)
	}
	return err
}

func (l *link) close() { l.nc.Close() }
