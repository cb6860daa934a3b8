package catalog

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says where a source's meta is and how it is read. A zero duration stands for DefaultConfig's.
type Config struct {
	// Endpoints of the source's etcd, "host:port" or URLs. Several are members of one cluster, not several clusters.
	Endpoints []string
	// Root is Milvus's etcd.rootPath, "by-dev" by default; Helm and the operator put the release's name there. With a
	// wrong one the catalogue is empty, which is logged.
	Root string
	// Meta is Milvus's etcd.metaSubPath, "meta" by default.
	Meta string

	// Username and Password for an etcd with authentication: both or none. All that the user has to be allowed is to
	// read the one range of keys from {Root}/{Meta}/field-index/ up to {Root}/{Meta}/root-coord0, which is the end of
	// what is below root-coord/.
	Username, Password string

	// CAFile is a PEM file with the authorities that etcd's certificate is checked against. Empty with an https
	// endpoint: those of the system.
	CAFile string
	// CertFile and KeyFile are PEM files with the certificate that is shown to etcd: both or none.
	CertFile, KeyFile string

	// RequestTimeout bounds one request to etcd, the one of Open included. Too short and a page of a big meta never
	// arrives; too long and a dead connection is noticed late. 5 s by default.
	RequestTimeout time.Duration
	// CheckInterval is how often Run makes sure, by a Sync, that etcd answers and the watch keeps up. Each check costs
	// etcd one pass over the keys that are read, some 15 ms with 5,000 collections. Longer, and a watch that fails
	// without a word is found later. 10 s by default.
	CheckInterval time.Duration

	// Metrics is where the catalogue's metrics are registered until Close; nil registers them nowhere. Two catalogues
	// on one registerer need labels that tell them apart (prometheus.WrapRegistererWith).
	Metrics prometheus.Registerer
}

// DefaultConfig is what Milvus's own default settings ask for. It has no endpoints.
func DefaultConfig() Config {
	return Config{Root: "by-dev", Meta: "meta", RequestTimeout: 5 * time.Second, CheckInterval: 10 * time.Second}
}

// Validate joins all that is wrong with the configuration, or returns nil. It reads no file.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Endpoints) == 0 {
		bad("no etcd endpoint is given")
	}
	for _, e := range c.Endpoints {
		if err := c.validateEndpoint(e); err != nil {
			bad("etcd endpoint %q: %w", e, err)
		}
	}
	if c.Root == "" || c.Meta == "" {
		bad("etcd root %q and meta path %q must not be empty", c.Root, c.Meta)
	}
	if (c.Username == "") != (c.Password == "") {
		bad("etcd user name and password go together: one of them is missing")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("etcd certificate file and key file go together: one of them is missing")
	}
	if c.RequestTimeout < 0 || c.CheckInterval < 0 {
		bad("etcd request timeout %s and check interval %s must not be negative", c.RequestTimeout, c.CheckInterval)
	}
	return errors.Join(errs...)
}

func (c Config) validateEndpoint(e string) error {
	scheme, rest, ok := strings.Cut(e, "://")
	if !ok {
		scheme, rest = "", e
	}
	switch {
	case scheme != "" && scheme != "http" && scheme != "https":
		return fmt.Errorf("scheme %q is neither http nor https", scheme)
	case scheme == "http" && c.usesTLS():
		return errors.New("http beside TLS settings would send everything in the clear: say https")
	}
	u, err := url.Parse("http://" + rest)
	if err != nil || u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" {
		return errors.New("is not host:port")
	}
	return nil
}

// prefix is what all of Milvus's meta keys begin with.
func (c Config) prefix() string { return path.Join(c.Root, c.Meta) + "/" }

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.RequestTimeout == 0 {
		c.RequestTimeout = d.RequestTimeout
	}
	if c.CheckInterval == 0 {
		c.CheckInterval = d.CheckInterval
	}
	return c
}

func (c Config) usesTLS() bool { return c.CAFile != "" || c.CertFile != "" }

// tls is nil where no TLS setting is given; etcd's client then goes by the endpoints' scheme.
func (c Config) tls() (*tls.Config, error) {
	if !c.usesTLS() {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read etcd's authorities: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read etcd's authorities: %s holds no certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate for etcd: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
