package natsmq_test

import (
	"context"
	"crypto/tls"
	"errors"
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
	"kitestream/bridge/mq/mqtest"
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
	ca := mqtest.NewAuthority(t)
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
			server: func(o *server.Options) {
				o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{ca.Pair(t, "server")}, ClientCAs: ca.Pool, ClientAuth: tls.RequireAndVerifyClientCert}
				o.TLSTimeout = 5
			},
			admin: nats.Secure(&tls.Config{Certificates: []tls.Certificate{ca.Pair(t, "admin")}, RootCAs: ca.Pool}),
			login: func(c *natsmq.Config) { c.CAFile, c.CertFile, c.KeyFile = ca.Files(t, "client") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := jetstreamtest.Run(t, tc.server)
			w := newWriter(t, s.URL(), tc.admin)
			w.create(t, "channel")
			w.number(t, "channel", 0, 10, 8)
			cfg := config(s.URL())
			tc.login(&cfg)
			q := mqtest.Connect(t, natsmq.Connect, cfg)
			r := mqtest.Open(t, q, "channel", "")
			mqtest.Expect(t, r, 0, 10)
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
	cfg := config(s.URL())
	cfg.User, cfg.Password = "reader", "s3cret"
	q, out := mqtest.ConnectLogging(t, natsmq.Connect, cfg)
	r := mqtest.Open(t, q, "channel", "")
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
	mqtest.Expect(t, r, 0, 1)
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
	cfg := config(s.URL())
	cfg.User, cfg.Password = "reader", "r"
	q, out := mqtest.ConnectLogging(t, natsmq.Connect, cfg)
	r := mqtest.Open(t, q, "channel", "")
	result := make(chan error, 1)
	go func() {
		_, err := r.Next(t.Context())
		result <- err
	}()
	mqtest.Eventually(t, "the log names the permission", func() bool {
		return strings.Contains(out.String(), "CONSUMER.CREATE") && strings.Contains(out.String(), "ermissions")
	})
	mqtest.Must(t, q.Close())
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
		mqtest.Must(t, err)
		mqtest.Must(t, resolver.Store(k, token))
	}
	token, err := jwt.NewUserClaims(public(t, user)).Encode(account)
	mqtest.Must(t, err)
	seed, err := user.Seed()
	mqtest.Must(t, err)
	text, err := jwt.FormatUserConfig(token, seed)
	mqtest.Must(t, err)
	file = filepath.Join(t.TempDir(), "reader.creds")
	mqtest.Must(t, os.WriteFile(file, text, 0o600))
	return file, func(o *server.Options) {
		o.TrustedOperators, o.AccountResolver, o.SystemAccount = []*jwt.OperatorClaims{oc}, resolver, public(t, system)
	}
}

func key(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	k, err := create()
	mqtest.Must(t, err)
	return k
}

func public(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	p, err := k.PublicKey()
	mqtest.Must(t, err)
	return p
}
