//go:build servers

package pulsar_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	client "github.com/apache/pulsar-client-go/pulsar"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/mqtest"
	"kitestream/bridge/mq/pulsar"
)

// secret signs the tokens.
const secret = "kitestream-kitestream-kitestream-"

// guarded is a Pulsar that lets nobody in without a token or a certificate of its authority. Who brings neither is its
// super-user all the same, for the test's own sake; but who brings a bad one is nobody.
type guarded struct {
	plain, tls, admin string
	ca                *mqtest.Authority
}

func startGuarded(t *testing.T) guarded {
	t.Helper()
	ca := mqtest.NewAuthority(t)
	caFile, cert, key := ca.Files(t, "server")
	port := freePort(t)
	const provider = "org.apache.pulsar.broker.authentication.AuthenticationProvider"
	p := start(t, map[string]string{
		"authenticationEnabled":   "true",
		"authenticationProviders": provider + "Token," + provider + "Tls",
		"tokenSecretKey":          "data:;base64," + base64.StdEncoding.EncodeToString([]byte(secret)),
		"authorizationEnabled":    "true",
		"superUserRoles":          "tester",
		"anonymousUserRole":       "tester",
		"brokerServicePortTls":    port,
		"tlsCertificateFilePath":  cert,
		"tlsKeyFilePath":          key,
		"tlsTrustCertsFilePath":   caFile,
		// One address of each kind.
		"bindAddresses": "", "advertisedListeners": "", "internalListenerName": "", "advertisedAddress": "127.0.0.1",
	})
	w := newWriter(t, p)
	mqtest.Must(t, errorUnless(w.namespace(t, "/permissions/reader", `["consume"]`)))
	return guarded{plain: p.URL, tls: "pulsar+ssl://127.0.0.1:" + port, admin: p.AdminURL, ca: ca}
}

// namespace posts to the admin API of the namespace.
func (w *writer) namespace(t testing.TB, path, body string) (int, string) {
	t.Helper()
	ns := *w
	ns.admin = strings.Replace(w.admin, "persistent/public/default/", "namespaces/public/default", 1)
	return ns.post(t, path, body)
}

func TestLogin(t *testing.T) {
	g := startGuarded(t)
	w := newWriterWith(t, g.admin, client.ClientOptions{URL: g.plain})
	w.append(t, "login", mqtest.Numbered(0, 10, 8)...)
	file := filepath.Join(t.TempDir(), "token")
	mqtest.Must(t, os.WriteFile(file, []byte(token("reader")+"\n"), 0o600))
	localhost := strings.Replace(g.tls, "127.0.0.1", "localhost", 1)
	for name, tc := range map[string]struct {
		login func(*pulsar.Config)
		wrong string // in the log; empty: may read
	}{
		"token":      {func(c *pulsar.Config) { c.Token = token("reader") }, ""},
		"token_file": {func(c *pulsar.Config) { c.TokenFile = file }, ""},
		"token_over_tls": {func(c *pulsar.Config) {
			c.URL, c.TokenFile = g.tls, file
			c.CAFile = g.ca.File
		}, ""},
		"client_certificate": {func(c *pulsar.Config) {
			c.URL = g.tls
			c.CAFile, c.CertFile, c.KeyFile = g.ca.Files(t, "reader")
		}, ""},
		"client_certificate_to_a_host_without_name": {func(c *pulsar.Config) {
			c.URL, c.SkipHostnameVerification = localhost, true
			c.CAFile, c.CertFile, c.KeyFile = g.ca.Files(t, "reader")
		}, ""},
		"host_that_the_certificate_does_not_name": {func(c *pulsar.Config) {
			c.URL = localhost
			c.CAFile, c.CertFile, c.KeyFile = g.ca.Files(t, "reader")
		}, "certificate"},
		"authority_that_is_not_trusted": {func(c *pulsar.Config) {
			c.URL = g.tls
			c.CAFile, c.CertFile, c.KeyFile = mqtest.NewAuthority(t).Files(t, "reader")
		}, "unknown authority"},
		"authority_that_is_not_trusted_whatever_the_name": {func(c *pulsar.Config) {
			c.URL, c.SkipHostnameVerification = g.tls, true
			c.CAFile, c.CertFile, c.KeyFile = mqtest.NewAuthority(t).Files(t, "reader")
		}, "unknown authority"},
		"certificate_of_a_stranger": {func(c *pulsar.Config) {
			c.URL = g.tls
			c.CAFile, c.CertFile, c.KeyFile = g.ca.Files(t, "stranger")
		}, "not authorized"},
		"token_of_a_stranger": {func(c *pulsar.Config) { c.Token = token("stranger") }, "not authorized"},
		"token_that_is_false": {func(c *pulsar.Config) { c.Token = token("reader") + "x" }, "authenticat"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out mqtest.Log
			cfg := pulsar.DefaultConfig()
			cfg.URL = g.plain
			tc.login(&cfg)
			q, err := pulsar.Connect(cfg, out.Logger(slog.LevelDebug))
			mqtest.Must(t, err)
			defer func() { mqtest.Must(t, q.Close()) }()
			r := mqtest.Open(t, q, "login", "")
			if tc.wrong == "" {
				mqtest.Expect(t, r, 0, 10)
				if at, err := q.Last(t.Context(), "login"); err != nil || at == "" {
					t.Errorf("last = %q, %v", at, err)
				}
			} else {
				refused(t, r, &out, tc.wrong)
			}
			if cfg.Token != "" && strings.Contains(out.String(), cfg.Token) {
				t.Error("the token is in the log")
			}
		})
	}
	t.Run("backlog", func(t *testing.T) { // what Config.AdminURL is asked for
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.admin+"login/stats?subscriptionBacklogSize=true", nil)
		mqtest.Must(t, err)
		req.Header.Set("Authorization", "Bearer "+token("reader"))
		res, err := http.DefaultClient.Do(req)
		mqtest.Must(t, err)
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("answer %s to one that may consume", res.Status)
		}
	})
	t.Run("token_is_replaced", func(t *testing.T) { testTokenIsReplaced(t, g) })
}

// refused waits for the line that says why a channel cannot be read.
func refused(t *testing.T, r mq.Reader, out *mqtest.Log, why string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		defer cancel()
		for ctx.Err() == nil && !strings.Contains(out.String(), "level=WARN") {
			time.Sleep(20 * time.Millisecond)
		}
	}()
	if m, err := r.Next(ctx); !errors.Is(err, ctx.Err()) || err == nil {
		t.Fatalf("next = message at %q, %v; want none", m.Position, err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "level=WARN") {
			if !strings.Contains(strings.ToLower(line), why) {
				t.Errorf("log = %s, want it to name %q", line, why)
			}
			return
		}
	}
	t.Errorf("no line says why the channel cannot be read:\n%s", out.String())
}

// testTokenIsReplaced: an operator mends a token file and the reader goes on.
func testTokenIsReplaced(t *testing.T, g guarded) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	mqtest.Must(t, os.WriteFile(file, []byte(token("reader")+"x"), 0o600))
	cfg := pulsar.DefaultConfig()
	cfg.URL, cfg.TokenFile = g.plain, file
	q, out := mqtest.ConnectLogging(t, pulsar.Connect, cfg)
	r := mqtest.Open(t, q, "login", "")
	refused(t, r, out, "authenticat")
	mqtest.Must(t, os.WriteFile(file, []byte(token("reader")), 0o600))
	mqtest.Expect(t, r, 0, 10)
}

// token is a JSON Web Token for a role.
func token(role string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	t := b64([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + b64([]byte(fmt.Sprintf(`{"sub":%q}`, role)))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t))
	return t + "." + b64(mac.Sum(nil))
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mqtest.Must(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	mqtest.Must(t, err)
	return port
}
