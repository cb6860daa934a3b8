package pulsar

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/apache/pulsar-client-go/pulsar"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says how to reach the source's Pulsar and how far to read ahead.
type Config struct {
	// URL of the brokers or of a Pulsar proxy: "pulsar://host:6650", or "pulsar+ssl://host:6651" for TLS; several hosts
	// separated by commas after one scheme. Default pulsar://127.0.0.1:6650.
	URL string

	// Tenant and Namespace in which Milvus keeps its topics (its pulsar.tenant and pulsar.namespace). Default public and
	// default. A wrong one shows as channels that do not exist.
	Tenant, Namespace string

	// Token is a JSON Web Token to log in with. TokenFile is a file that holds one; it is read again whenever the broker
	// asks, so a token may be replaced before it expires. At most one of the two.
	Token, TokenFile string

	// CAFile, CertFile and KeyFile are PEM files for TLS: whom to trust (default: the system's), and a client certificate
	// with its key, which logs in where no token does. They are read again at each new connection and need a
	// pulsar+ssl URL.
	CAFile, CertFile, KeyFile string

	// SkipHostnameVerification accepts a certificate of a trusted authority whatever host it names. Off by default; it is
	// for brokers that advertise addresses which their certificates do not name. It needs a pulsar+ssl URL.
	SkipHostnameVerification bool

	// Anchor keeps a durable subscription on each channel, which holds everything from the bridge's checkpoint on in the
	// broker, for a Pulsar without retention. Off by default, for there is a price: a bridge that stands still lets the
	// backlog grow, and at the backlog quota Pulsar refuses Milvus's own messages. The topics' time to live and the
	// expiration of subscriptions still apply. It needs a role that may consume in the namespace, as reading does.
	Anchor bool

	// AnchorName begins the names of those subscriptions, AnchorName-owner. It must be the same at every start and, where
	// several Kitestreams read one Pulsar, another for each. Default kitestream.
	AnchorName string

	// AdminURL of the brokers' admin API, "http://host:8080" or "https://host:8443", is asked for the backlog of the anchor
	// subscriptions. Without it their size is in no metric and there is no warning before the quota is reached. The role
	// needs no more than to consume. Token and certificates are used for it too.
	AdminURL string

	// Registerer takes the metric of the anchors' backlog; nil: none.
	Registerer prometheus.Registerer

	// PrefetchMessages and PrefetchBytes bound what one reader holds that its caller has not taken: messages (default
	// 4096) and bytes (default 4 MiB; a single larger message still passes, alone). Pulsar counts messages and not bytes,
	// so the bound in bytes is kept by looking at the size of recent messages and is passed for a moment when they grow.
	PrefetchMessages, PrefetchBytes int
}

// DefaultConfig is what a Pulsar with default settings on this machine needs.
func DefaultConfig() Config {
	return Config{
		URL: "pulsar://127.0.0.1:6650", Tenant: "public", Namespace: "default",
		AnchorName: "kitestream", PrefetchMessages: 4096, PrefetchBytes: 4 << 20,
	}
}

const (
	schemePlain = "pulsar://"
	schemeTLS   = "pulsar+ssl://"
)

// Validate reports everything that is wrong with the configuration, joined.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := checkURL(c.URL); err != nil {
		errs = append(errs, err)
	}
	for field, part := range map[string]string{"Tenant": c.Tenant, "Namespace": c.Namespace} {
		if part == "" || strings.ContainsAny(part, "/: \t\r\n") {
			bad("%s: %q, want a name as in tenant/namespace", field, part)
		}
	}
	if c.Anchor && (c.AnchorName == "" || strings.ContainsAny(c.AnchorName, "/ \t\r\n")) {
		bad("AnchorName: %q, want a name", c.AnchorName)
	}
	if c.AdminURL != "" {
		if u, err := url.Parse(c.AdminURL); err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			bad("AdminURL: not of the form http://host:port or https://host:port")
		}
	}
	errs = append(errs, c.checkLogin()...)
	errs = append(errs, c.checkFiles()...)
	if c.PrefetchMessages < 1 {
		bad("PrefetchMessages: %d, want at least 1", c.PrefetchMessages)
	}
	if c.PrefetchBytes < 1<<10 {
		bad("PrefetchBytes: %d, want at least 1024", c.PrefetchBytes)
	}
	return errors.Join(errs...)
}

// checkURL refuses what the client library would refuse. No error repeats the URL, which may hold what it should not.
func checkURL(address string) error {
	hosts, ok := strings.CutPrefix(address, schemePlain)
	if !ok {
		hosts, ok = strings.CutPrefix(address, schemeTLS)
	}
	if !ok {
		return fmt.Errorf("URL: want one that begins with %s or %s", schemePlain, schemeTLS)
	}
	for host := range strings.SplitSeq(hosts, ",") {
		name, port, err := net.SplitHostPort(host)
		if err != nil || name == "" || port == "" || strings.ContainsAny(host, "@/?# ") {
			return errors.New("URL: want host:port, or several separated by commas, after the scheme and nothing else")
		}
	}
	return nil
}

// checkLogin holds the ways to log in against each other.
func (c Config) checkLogin() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Token != "" && c.TokenFile != "" {
		bad("Token, TokenFile: at most one may be given")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("CertFile, KeyFile: give both or neither")
	}
	if c.secure() {
		return errs
	}
	if c.CAFile != "" || c.CertFile != "" || c.KeyFile != "" {
		bad("CAFile, CertFile, KeyFile: of no use without a URL that begins with %s", schemeTLS)
	}
	if c.SkipHostnameVerification {
		bad("SkipHostnameVerification: of no use without a URL that begins with %s", schemeTLS)
	}
	return errs
}

// checkFiles sees that files can be read and hold what they should.
func (c Config) checkFiles() []error {
	var errs []error
	for field, file := range map[string]string{"TokenFile": c.TokenFile, "CAFile": c.CAFile, "CertFile": c.CertFile, "KeyFile": c.KeyFile} {
		if file == "" {
			continue
		}
		if b, err := os.ReadFile(file); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		} else if len(strings.TrimSpace(string(b))) == 0 {
			errs = append(errs, fmt.Errorf("%s: %s is empty", field, file))
		}
	}
	return errs
}

func (c Config) secure() bool { return strings.HasPrefix(c.URL, schemeTLS) }

// How the broker is asked, and how soon a dead connection is known: after twice the keep-alive.
const (
	dialTimeout    = 2 * time.Second
	requestTimeout = 5 * time.Second
	keepAlive      = 5 * time.Second
)

// options are the client options that follow from the configuration.
func (c Config) options() pulsar.ClientOptions {
	o := pulsar.ClientOptions{
		URL:               c.URL,
		ConnectionTimeout: dialTimeout,
		OperationTimeout:  requestTimeout,
		KeepAliveInterval: keepAlive,
		Description:       "kitestream bridge",
		MetricsRegisterer: prometheus.NewRegistry(), // the library's own go nowhere
	}
	switch {
	case c.Token != "":
		o.Authentication = pulsar.NewAuthenticationToken(c.Token)
	case c.TokenFile != "":
		o.Authentication = pulsar.NewAuthenticationTokenFromFile(c.TokenFile)
	case c.CertFile != "":
		o.Authentication = pulsar.NewAuthenticationTLS(c.CertFile, c.KeyFile)
	}
	switch {
	case c.SkipHostnameVerification:
		o.TLSConfig = c.tlsConfig()
	case c.secure():
		// The library's own check (TLSValidateHostname) would hold every broker to the name of the first host in the URL.
		// Without it, crypto/tls checks each against the address that was dialled, which is right.
		o.TLSTrustCertsFilePath, o.TLSCertificateFile, o.TLSKeyFilePath = c.CAFile, c.CertFile, c.KeyFile
	}
	return o
}

// tlsConfig is what the library can't be told by names of files: to check a broker's certificate in all but the name.
func (c Config) tlsConfig() *tls.Config {
	t := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			opts := x509.VerifyOptions{Intermediates: x509.NewCertPool()}
			if !c.SkipHostnameVerification {
				opts.DNSName = s.ServerName
			}
			if c.CAFile != "" {
				pem, err := os.ReadFile(c.CAFile)
				if err != nil {
					return fmt.Errorf("read CAFile: %w", err)
				}
				opts.Roots = x509.NewCertPool()
				opts.Roots.AppendCertsFromPEM(pem)
			}
			for _, cert := range s.PeerCertificates[1:] {
				opts.Intermediates.AddCert(cert)
			}
			_, err := s.PeerCertificates[0].Verify(opts)
			return err
		},
	}
	if c.CertFile != "" {
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			return &pair, err
		}
	}
	return t
}
