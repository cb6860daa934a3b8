package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// The ways to log in with a user's name, as Kafka names them.
const (
	MechanismPlain       = "PLAIN"
	MechanismScramSHA256 = "SCRAM-SHA-256"
	MechanismScramSHA512 = "SCRAM-SHA-512"
)

// Config says how to reach the Kafka that the source's Milvus writes to and how far to read ahead.
type Config struct {
	// Brokers to ask first, "host:port", several separated by commas. The others are learnt from them. Default
	// 127.0.0.1:9092.
	Brokers string

	// User and Password to log in with, by SASL. Without a User, nobody logs in.
	User, Password string
	// Mechanism is how: PLAIN (the default), SCRAM-SHA-256 or SCRAM-SHA-512.
	Mechanism string

	// TLS insists on an encrypted connection to every broker.
	TLS bool
	// CAFile, CertFile and KeyFile are PEM files for TLS: whom to trust (default: the system's), and a client
	// certificate with its key.
	CAFile, CertFile, KeyFile string

	// PrefetchBytes bounds what one reader holds that its caller has not taken (default 4 MiB), as the broker stores it:
	// compressed, if Milvus's client compresses. One batch of messages is held unpacked besides; a single larger
	// message still passes, alone. It comes in halves, one read while the next is on its way.
	PrefetchBytes int
}

// DefaultConfig is what a Kafka on this machine with default settings needs.
func DefaultConfig() Config {
	return Config{Brokers: "127.0.0.1:9092", Mechanism: MechanismPlain, PrefetchBytes: 4 << 20}
}

// Validate reports everything that is wrong with the configuration, joined.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i, b := range c.brokers() {
		host, port, err := net.SplitHostPort(b)
		n, notNumber := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || strings.ContainsAny(host, "/@") || notNumber != nil || n == 0 {
			bad("Brokers: number %d is not of the form host:port", i+1) // it may hold a password
		}
	}
	switch {
	case c.User == "" && c.Password != "":
		bad("Password: given without User")
	case c.User != "" && c.Password == "":
		bad("Password: missing for User")
	}
	if c.User != "" && c.mechanism() == nil {
		bad("Mechanism: %q, want %s, %s or %s", c.Mechanism, MechanismPlain, MechanismScramSHA256, MechanismScramSHA512)
	}
	if !c.TLS && c.CAFile+c.CertFile+c.KeyFile != "" {
		bad("CAFile, CertFile, KeyFile: given without TLS")
	}
	if _, err := c.tls(); err != nil {
		errs = append(errs, err)
	}
	if c.PrefetchBytes < 1<<10 || c.PrefetchBytes > maxResponse {
		bad("PrefetchBytes: %d, want between %d and %d", c.PrefetchBytes, 1<<10, maxResponse)
	}
	return errors.Join(errs...)
}

func (c Config) brokers() []string {
	list := strings.Split(c.Brokers, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// mechanism is how to log in, nil when there is no such way.
func (c Config) mechanism() sasl.Mechanism {
	switch c.Mechanism {
	case MechanismPlain, "":
		return plain.Auth{User: c.User, Pass: c.Password}.AsMechanism()
	case MechanismScramSHA256:
		return scram.Auth{User: c.User, Pass: c.Password}.AsSha256Mechanism()
	case MechanismScramSHA512:
		return scram.Auth{User: c.User, Pass: c.Password}.AsSha512Mechanism()
	}
	return nil
}

// tls reads the PEM files.
func (c Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	var errs []error
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		t.RootCAs = x509.NewCertPool()
		if err != nil {
			errs = append(errs, fmt.Errorf("CAFile: %w", err))
		} else if !t.RootCAs.AppendCertsFromPEM(pem) {
			errs = append(errs, fmt.Errorf("CAFile: no certificate in %s", c.CAFile))
		}
	}
	switch {
	case (c.CertFile == "") != (c.KeyFile == ""):
		errs = append(errs, errors.New("CertFile, KeyFile: give both or neither"))
	case c.CertFile != "":
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("CertFile, KeyFile: %w", err))
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, errors.Join(errs...)
}

// How a broker is asked. A request for messages waits at the broker for fetchWait, so an answer that takes longer than
// that and requestTimeout together means that it is dead; a cable that was pulled is noticed sooner, by keep-alives.
// Both leave time for the largest message on a slow line.
const (
	dialTimeout    = 5 * time.Second
	requestTimeout = 10 * time.Second
	fetchWait      = 5 * time.Second
	maxResponse    = 100 << 20 // bytes; Milvus's messages are up to 10 MiB
)

// options are the client options that follow from the configuration. The client never retries: the reader does.
func (c Config) options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.ClientID("kitestream-bridge"),
		kgo.SoftwareNameAndVersion("kitestream", "bridge"),
		kgo.DisableClientMetrics(),
		kgo.RequestRetries(0),
		kgo.RequestTimeoutOverhead(requestTimeout),
		kgo.BrokerMaxReadBytes(maxResponse),
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 4 * time.Second, Interval: 2 * time.Second, Count: 3,
	}}
	dial := dialer.DialContext
	if c.TLS {
		t, err := c.tls()
		if err != nil {
			return nil, err
		}
		dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&tls.Dialer{NetDialer: dialer, Config: t}).DialContext(ctx, network, addr)
		}
	}
	opts = append(opts, kgo.Dialer(dial))
	if c.User != "" {
		opts = append(opts, kgo.SASL(c.mechanism()))
	}
	return opts, nil
}
