package natsmq_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/natsmq"
	"kitestream/jetstream/jetstreamtest"
)

// readerPermissions are all that a reader needs of a server with users.
func readerPermissions() *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.CONSUMER.CREATE.*.*", "$JS.API.CONSUMER.DELETE.*.*", "$JS.API.CONSUMER.MSG.NEXT.*.*",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}
}

func TestLogin(t *testing.T) {
	creds, operator := credentials(t)
	ca := newAuthority(t)
	for name, tc := range map[string]struct {
		server func(*server.Options)
		admin  nats.Option
		login  func(*natsmq.Config)
	}{
		"user": {
			server: func(o *server.Options) {
				o.Users = []*server.User{{Username: "admin", Password: "a"}, {Username: "reader", Password: "s3cret", Permissions: readerPermissions()}}
			},
			admin: nats.UserInfo("admin", "a"),
			login: func(c *natsmq.Config) { c.User, c.Password = "reader", "s3cret" },
		},
		"token": {
			server: func(o *server.Options) { o.Authorization = "s3cret" },
			admin:  nats.Token("s3cret"),
			login:  func(c *natsmq.Config) { c.Token = "s3cret" },
		},
		"creds_file": {
			server: operator,
			admin:  nats.UserCredentials(creds),
			login:  func(c *natsmq.Config) { c.CredsFile = creds },
		},
		"client_certificate": {
			server: func(o *server.Options) { o.TLSConfig, o.TLSTimeout = ca.server(t), 5 },
			admin:  nats.Secure(ca.client(t)),
			login:  func(c *natsmq.Config) { c.CAFile, c.CertFile, c.KeyFile = ca.files(t, "client") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := jetstreamtest.Run(t, tc.server)
			w := newWriter(t, s.URL(), tc.admin)
			w.create(t, "channel")
			w.number(t, "channel", 0, 10, 8)
			cfg := natsmq.DefaultConfig()
			cfg.URL = s.URL()
			tc.login(&cfg)
			q := connectWith(t, cfg)
			r := open(t, q, "")
			expect(t, r, 0, 10)
			if _, err := q.Last(t.Context(), "channel"); err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if left := w.consumers(t, "channel"); len(left) != 0 {
				t.Errorf("consumers after close: %v", left)
			}
		})
	}
}

// TestWrongPassword: the reader says so in the log, without the password, and goes on when the server is mended.
func TestWrongPassword(t *testing.T) {
	password := "other"
	s := jetstreamtest.Run(t, func(o *server.Options) {
		o.CustomClientAuthentication = passwordCheck{&password}
	})
	var out lockedBuffer
	cfg := natsmq.DefaultConfig()
	cfg.URL, cfg.User, cfg.Password = s.URL(), "reader", "s3cret"
	q, err := natsmq.Connect(cfg, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	r := open(t, q, "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := r.Next(ctx); err == nil {
		t.Fatal("a message came in spite of a wrong password")
	}
	log := out.String()
	if !strings.Contains(log, "Authorization Violation") || strings.Contains(log, "s3cret") {
		t.Errorf("log = %s\nwant the reason and no password", log)
	}
	s.Stop()
	password = "s3cret"
	s.Start()
	w := newWriter(t, s.URL(), nats.UserInfo("admin", "s3cret"))
	w.create(t, "channel")
	w.number(t, "channel", 0, 1, 8)
	expect(t, r, 0, 1)
}

// TestMissingPermissionIsNamed: the server never answers a request that it refuses; the log must say more than that.
func TestMissingPermissionIsNamed(t *testing.T) {
	s := jetstreamtest.Run(t, func(o *server.Options) {
		few := readerPermissions()
		few.Publish.Allow = few.Publish.Allow[:1] // the stream may be looked up, and nothing else
		o.Users = []*server.User{{Username: "admin", Password: "a"}, {Username: "reader", Password: "r", Permissions: few}}
	})
	w := newWriter(t, s.URL(), nats.UserInfo("admin", "a"))
	w.create(t, "channel")
	var out lockedBuffer
	cfg := natsmq.DefaultConfig()
	cfg.URL, cfg.User, cfg.Password = s.URL(), "reader", "r"
	q, err := natsmq.Connect(cfg, slog.New(slog.NewTextHandler(&out, nil)))
	must(t, err)
	r := open(t, q, "")
	result := make(chan error, 1)
	go func() {
		_, err := r.Next(t.Context())
		result <- err
	}()
	eventually(t, "the log names the permission", func() bool {
		return strings.Contains(out.String(), "CONSUMER.CREATE") && strings.Contains(out.String(), "ermissions")
	})
	must(t, q.Close())
	if err := <-result; !errors.Is(err, mq.ErrClosed) {
		t.Errorf("next = %v, want that it is closed", err)
	}
}

// passwordCheck lets everybody in who knows the password.
type passwordCheck struct{ password *string }

func (p passwordCheck) Check(c server.ClientAuthentication) bool {
	return c.GetOpts().Password == *p.password
}

// credentials are a .creds file and a server that knows it.
func credentials(t *testing.T) (file string, change func(*server.Options)) {
	t.Helper()
	operator, account, user := key(t, nkeys.CreateOperator), key(t, nkeys.CreateAccount), key(t, nkeys.CreateUser)
	system := key(t, nkeys.CreateAccount)
	oc := jwt.NewOperatorClaims(public(t, operator))
	oc.SystemAccount = public(t, system)
	ac := jwt.NewAccountClaims(public(t, account))
	ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	resolver := &server.MemAccResolver{}
	for k, claims := range map[string]*jwt.AccountClaims{public(t, account): ac, public(t, system): jwt.NewAccountClaims(public(t, system))} {
		token, err := claims.Encode(operator)
		must(t, err)
		must(t, resolver.Store(k, token))
	}
	token, err := jwt.NewUserClaims(public(t, user)).Encode(account)
	must(t, err)
	seed, err := user.Seed()
	must(t, err)
	text, err := jwt.FormatUserConfig(token, seed)
	must(t, err)
	file = filepath.Join(t.TempDir(), "reader.creds")
	must(t, os.WriteFile(file, text, 0o600))
	return file, func(o *server.Options) {
		o.TrustedOperators, o.AccountResolver, o.SystemAccount = []*jwt.OperatorClaims{oc}, resolver, public(t, system)
	}
}

func key(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	k, err := create()
	must(t, err)
	return k
}

func public(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	p, err := k.PublicKey()
	must(t, err)
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority is a certificate authority for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	der, key := a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	var err error
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	a.key = key
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate with a new key; the first one, the authority's own, signs itself.
func (a *authority) sign(t *testing.T, c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	must(t, err)
	return der, key
}

func (a *authority) pair(t *testing.T, name string) tls.Certificate {
	t.Helper()
	der, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) server(t *testing.T) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.pair(t, "server")}, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

func (a *authority) client(t *testing.T) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.pair(t, "admin")}, RootCAs: a.pool}
}

// files writes the authority's certificate, and a new one with its key, as PEM.
func (a *authority) files(t *testing.T, name string) (ca, cert, key string) {
	t.Helper()
	pair := a.pair(t, name)
	der, err := x509.MarshalECPrivateKey(pair.PrivateKey.(*ecdsa.PrivateKey))
	must(t, err)
	dir := t.TempDir()
	write := func(file, kind string, der []byte) string {
		var b bytes.Buffer
		must(t, pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}))
		file = filepath.Join(dir, file)
		must(t, os.WriteFile(file, b.Bytes(), 0o600))
		return file
	}
	return write("ca.pem", "CERTIFICATE", a.cert.Raw), write("cert.pem", "CERTIFICATE", pair.Certificate[0]), write("key.pem", "EC PRIVATE KEY", der)
}
