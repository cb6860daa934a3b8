package natsmq

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Config says how to reach the NATS server inside the source's Milvus and how far to read ahead.
type Config struct {
	// URL of the server, or several separated by commas: "nats://host:port", or "tls://host:port" to insist on TLS.
	// Default nats://127.0.0.1:4222, which is where Milvus listens.
	URL string

	// User and Password, Token, or CredsFile (a NATS .creds file): at most one of the three ways to log in. Milvus's
	// own server asks for none.
	User, Password, Token, CredsFile string

	// CAFile, CertFile and KeyFile are PEM files for TLS: whom to trust (default: the system's), and a client
	// certificate with its key.
	CAFile, CertFile, KeyFile string

	// PrefetchMessages and PrefetchBytes bound what one reader holds that its caller has not taken: messages (default
	// 4096) and bytes (default 2 MiB; a single larger message still passes, alone). More is of use only on slow links,
	// since one round trip is paid per half of it; more than the server's max_pending (64 MiB in Milvus) would have the
	// server cut the reader off when it is slow.
	PrefetchMessages, PrefetchBytes int
}

// DefaultConfig is what a Milvus with default settings on this machine needs.
func DefaultConfig() Config {
	return Config{URL: nats.DefaultURL, PrefetchMessages: 4096, PrefetchBytes: 2 << 20}
}

// Validate reports everything that is wrong with the configuration, joined.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, u := range strings.Split(c.URL, ",") {
		p, err := url.Parse(strings.TrimSpace(u))
		switch {
		case err != nil || p.Host == "": // the error would repeat a password in the URL
			bad("URL: not of the form nats://host:port")
		case p.Scheme != "nats" && p.Scheme != "tls":
			bad("URL: scheme %q, want nats or tls", p.Scheme)
		}
	}
	if c.Password != "" && c.User == "" {
		bad("Password: given without User")
	}
	ways := 0
	for _, s := range []string{c.User, c.Token, c.CredsFile} {
		if s != "" {
			ways++
		}
	}
	if ways > 1 {
		bad("User, Token, CredsFile: at most one may be given")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("CertFile, KeyFile: give both or neither")
	}
	for field, file := range map[string]string{"CredsFile": c.CredsFile, "CAFile": c.CAFile, "CertFile": c.CertFile, "KeyFile": c.KeyFile} {
		if file == "" {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			bad("%s: %w", field, err)
		}
	}
	if c.PrefetchMessages < 1 {
		bad("PrefetchMessages: %d, want at least 1", c.PrefetchMessages)
	}
	if c.PrefetchBytes < 1<<10 {
		bad("PrefetchBytes: %d, want at least 1024", c.PrefetchBytes)
	}
	return errors.Join(errs...)
}

// How the connection is kept: never given up, and known to be dead within seconds.
const (
	dialTimeout   = 2 * time.Second
	reconnectWait = 200 * time.Millisecond
	pingInterval  = 3 * time.Second
	pingsMissed   = 2
)

// options are the client options that follow from the configuration.
func (c Config) options() []nats.Option {
	o := []nats.Option{
		nats.Name("kitestream bridge"),
		nats.Timeout(dialTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // an operator may be about to mend it
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait/2, reconnectWait),
		nats.ReconnectBufSize(-1), // a request made while disconnected fails at once, to be made anew
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsMissed),
		nats.IgnoreDiscoveredServers(), // Milvus announces addresses of its own container
	}
	if c.User != "" {
		o = append(o, nats.UserInfo(c.User, c.Password))
	}
	if c.Token != "" {
		o = append(o, nats.Token(c.Token))
	}
	if c.CredsFile != "" {
		o = append(o, nats.UserCredentials(c.CredsFile))
	}
	if c.CAFile != "" {
		o = append(o, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		o = append(o, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	return o
}
