package process

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// How the connection is kept: never given up, and known to be dead within seconds.
const (
	dialTimeout   = 2 * time.Second
	reconnectWait = 250 * time.Millisecond
	pingInterval  = 3 * time.Second
	pingsMissed   = 2
	closeTimeout  = 2 * time.Second
	flushTimeout  = 3 * time.Second // of a write while the network takes no bytes: the end of a process waits for it
)

// DefaultURL is where NATS is looked for by those that are told nothing.
const DefaultURL = nats.DefaultURL

// connect gives a connection that lasts until it is closed, through any absence of the server, also at the start.
func connect(servers, creds, name string, log *slog.Logger, more ...nats.Option) (*nats.Conn, error) {
	o := []nats.Option{
		nats.Name(name), nats.Timeout(dialTimeout), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait/4, reconnectWait),
		nats.IgnoreAuthErrorAbort(), // an operator may be about to mend it
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(pingsMissed), nats.DrainTimeout(closeTimeout), nats.FlusherTimeout(flushTimeout),
		nats.ConnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS", keyURL, nc.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS again", keyURL, nc.ConnectedUrlRedacted()) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: closed by ourselves
				log.Warn("connection to NATS lost", keyError, err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { log.Debug("NATS not reached", keyError, err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("NATS client", keyError, err) }),
	}
	if creds != "" {
		o = append(o, nats.UserCredentials(creds))
	}
	nc, err := nats.Connect(servers, append(o, more...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return nc, nil
}

// Dial gives a connection for one command: now or not at all.
func Dial(servers, creds string) (*nats.Conn, error) {
	o := []nats.Option{nats.Name("kitestream command"), nats.Timeout(dialTimeout), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait)}
	if creds != "" {
		o = append(o, nats.UserCredentials(creds))
	}
	nc, err := nats.Connect(servers, o...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", redacted(servers), err)
	}
	return nc, nil
}

// redacted is a list of URLs without passwords.
func redacted(servers string) string {
	list := strings.Split(servers, ",")
	for i, s := range list {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil {
			return "the given URLs"
		}
		list[i] = u.Redacted()
	}
	return strings.Join(list, ",")
}

// closeConn sends what is still to be sent, and closes.
func closeConn(nc *nats.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = nc.FlushWithContext(ctx) // a server that is away has its leases expire
	nc.Close()
}
