//go:build servers

package kafka_test

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/mqtest"
	"kitestream/test/servers"
)

// guarded is a broker that lets users in by all the ways that there are, each on a listener of its own, and lets nobody
// do more than they were given. Its first address is left open to the test, as a super user.
type guarded struct {
	*servers.Kafka
	w     *writer
	ca    *mqtest.Authority
	sasl  string // SASL without TLS
	saslS string // SASL over TLS
	mtls  string // a client certificate
}

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	dir := t.TempDir()
	start := func(set map[string]string) *servers.Kafka {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		k, err := servers.StartKafka(ctx, servers.KafkaConfig{Dir: dir, Set: set})
		mqtest.Must(t, err)
		return k
	}
	k := start(nil) // to learn its own addresses
	mqtest.Must(t, k.Close())
	g := &guarded{ca: mqtest.NewAuthority(t), sasl: freeAddr(t), saslS: freeAddr(t), mtls: freeAddr(t)}
	ca, pair := brokerFiles(t, g.ca)
	old := properties(t, filepath.Join(dir, "server.properties"))
	extra := ",SASL://" + g.sasl + ",SASLS://" + g.saslS + ",MTLS://" + g.mtls
	set := map[string]string{
		"listeners":                      old["listeners"] + extra,
		"advertised.listeners":           old["advertised.listeners"] + extra,
		"listener.security.protocol.map": old["listener.security.protocol.map"] + ",SASL:SASL_PLAINTEXT,SASLS:SASL_SSL,MTLS:SSL",
		"sasl.enabled.mechanisms":        "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"ssl.keystore.type":              "PEM", "ssl.keystore.location": pair,
		"ssl.truststore.type": "PEM", "ssl.truststore.location": ca,
		"listener.name.mtls.ssl.client.auth": "required",
		"authorizer.class.name":              "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                        "User:ANONYMOUS",
	}
	for _, l := range []string{"sasl", "sasls"} {
		set["listener.name."+l+".plain.sasl.jaas.config"] =
			`org.apache.kafka.common.security.plain.PlainLoginModule required user_reader="s3cret" user_other="s3cret";`
		for _, m := range []string{"scram-sha-256", "scram-sha-512"} {
			set["listener.name."+l+"."+m+".sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		}
	}
	g.Kafka = start(set)
	t.Cleanup(func() { mqtest.Must(t, g.Close()) })
	g.w = newWriter(t, g.Addr)
	g.w.create(t, "channel")
	g.w.number(t, "channel", 0, 10, 8)
	g.allow(t, "User:reader", "channel")
	g.allow(t, "User:CN=reader", "channel")
	g.scram(t, "reader", "s3cret")
	return g
}

// brokerFiles are whom to trust, and a new key and certificate in one, as Kafka wants them.
func brokerFiles(t *testing.T, a *mqtest.Authority) (ca, pair string) {
	t.Helper()
	ca, certFile, keyFile := a.Files(t, "broker")
	cert, err := os.ReadFile(certFile)
	mqtest.Must(t, err)
	key, err := os.ReadFile(keyFile)
	mqtest.Must(t, err)
	pair = filepath.Join(t.TempDir(), "broker.pem")
	mqtest.Must(t, os.WriteFile(pair, append(key, cert...), 0o600))
	return ca, pair
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mqtest.Must(t, err)
	defer func() { mqtest.Must(t, l.Close()) }()
	return l.Addr().String()
}

func properties(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(file)
	mqtest.Must(t, err)
	all := map[string]string{}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		all[k] = v
	}
	return all
}

// allow lets somebody read a topic: all that a reader needs.
func (g *guarded) allow(t *testing.T, who, topic string) {
	t.Helper()
	mqtest.Do(t, "allow "+who, func(ctx context.Context) error {
		req := kmsg.NewPtrCreateACLsRequest()
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourceName, c.ResourcePatternType = kmsg.ACLResourceTypeTopic, topic, kmsg.ACLResourcePatternTypeLiteral
		c.Principal, c.Host, c.Operation, c.PermissionType = who, "*", kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, c)
		got, err := req.RequestWith(ctx, g.w.admin)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(got.Results[0].ErrorCode)
	})
}

// scram gives a user a password, for both kinds of SCRAM.
func (g *guarded) scram(t *testing.T, user, password string) {
	t.Helper()
	for kind, salted := range saltedPasswords(t, password, []byte("salt"), 4096) { // one user twice in a request is refused
		mqtest.Do(t, "set a password", func(ctx context.Context) error {
			req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
			u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
			u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = user, kind, 4096, []byte("salt"), salted
			req.Upsertions = append(req.Upsertions, u)
			got, err := req.RequestWith(ctx, g.w.admin)
			if err != nil {
				return err
			}
			return kerr.ErrorForCode(got.Results[0].ErrorCode)
		})
	}
}

// saltedPasswords are what a broker keeps of a password for SCRAM, by Kafka's number for the mechanism.
func saltedPasswords(t *testing.T, password string, salt []byte, times int) map[int8][]byte {
	t.Helper()
	short, err := pbkdf2.Key(sha256.New, password, salt, times, sha256.Size)
	mqtest.Must(t, err)
	long, err := pbkdf2.Key(sha512.New, password, salt, times, sha512.Size)
	mqtest.Must(t, err)
	return map[int8][]byte{1: short, 2: long}
}

// TestLogin has the cases that can share a guarded broker.
func TestLogin(t *testing.T) {
	g := startGuarded(t)
	for name, login := range map[string]func(*kafka.Config){
		"plain":     func(c *kafka.Config) { c.Brokers = g.sasl },
		"scram_256": func(c *kafka.Config) { c.Brokers, c.Mechanism = g.sasl, kafka.MechanismScramSHA256 },
		"scram_512": func(c *kafka.Config) { c.Brokers, c.Mechanism = g.sasl, kafka.MechanismScramSHA512 },
		"plain_tls": func(c *kafka.Config) { c.Brokers, c.TLS, c.CAFile = g.saslS, true, g.ca.File },
		"scram_512_tls": func(c *kafka.Config) {
			c.Brokers, c.TLS, c.CAFile, c.Mechanism = g.saslS, true, g.ca.File, kafka.MechanismScramSHA512
		},
		"client_certificate": func(c *kafka.Config) {
			c.Brokers, c.TLS, c.User, c.Password = g.mtls, true, "", ""
			c.CAFile, c.CertFile, c.KeyFile = g.ca.Files(t, "reader")
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := kafka.DefaultConfig()
			cfg.User, cfg.Password = "reader", "s3cret"
			login(&cfg)
			q := mqtest.Connect(t, kafka.Connect, cfg)
			at := mqtest.Expect(t, mqtest.Open(t, q, "channel", ""), 0, 10)
			mqtest.Expect(t, mqtest.Open(t, q, "channel", at[4]), 4, 10)
			if p, err := q.Last(t.Context(), "channel"); err != nil || p != at[9] {
				t.Errorf("last = %q, %v; want %q", p, err, at[9])
			}
		})
	}
	t.Run("wrong_password", func(t *testing.T) { testWrongPassword(t, g) })
	t.Run("missing_permission", func(t *testing.T) { testMissingPermission(t, g) })
	t.Run("untrusted_broker", func(t *testing.T) { testUntrusted(t, g) })
	t.Run("tls_to_a_broker_without", func(t *testing.T) { testNoTLS(t, g) })
}

// waits starts a Next that must go on waiting until the log names the reason; the channel gets what comes of it.
func waits(t *testing.T, cfg kafka.Config, from mq.Position, reason string) chan error {
	t.Helper()
	q, out := mqtest.ConnectLogging(t, kafka.Connect, cfg)
	r := mqtest.Open(t, q, "channel", from)
	result := make(chan error, 1)
	go func() {
		m, err := r.Next(t.Context())
		if err == nil && mqtest.Number(m) != 0 {
			err = fmt.Errorf("message %d, want 0", mqtest.Number(m))
		}
		result <- err
	}()
	mqtest.Eventually(t, "the log names the reason", func() bool { return strings.Contains(out.String(), reason) })
	select {
	case err := <-result:
		t.Fatalf("next = %v, want that it waits", err)
	case <-time.After(time.Second):
	}
	if log := out.String(); strings.Contains(log, "s3cret") || out.Lines() != 1 {
		t.Errorf("log = %s\nwant one line and no password", log)
	}
	if _, err := q.Last(t.Context(), "channel"); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("last = %v, want an error without a password", err)
	}
	return result
}

// testWrongPassword: the reader says so in the log, and goes on when the password is mended at the broker.
func testWrongPassword(t *testing.T, g *guarded) {
	cfg := kafka.DefaultConfig()
	cfg.Brokers, cfg.User, cfg.Password, cfg.Mechanism = g.sasl, "reader", "new-s3cret", kafka.MechanismScramSHA256
	result := waits(t, cfg, "0", "SASL_AUTHENTICATION_FAILED")
	g.scram(t, "reader", "new-s3cret")
	mqtest.Must(t, <-result)

	cfg.Mechanism, cfg.Password = kafka.MechanismPlain, "other-s3cret"
	waits(t, cfg, "0", "SASL_AUTHENTICATION_FAILED")
}

// testMissingPermission: a topic that one may not see is not taken for one that is gone, though a position is known.
func testMissingPermission(t *testing.T, g *guarded) {
	cfg := kafka.DefaultConfig()
	cfg.Brokers, cfg.User, cfg.Password = g.sasl, "other", "s3cret"
	result := waits(t, cfg, "0", "TOPIC_AUTHORIZATION_FAILED")
	select {
	case err := <-result:
		t.Fatalf("next = %v, want that it waits", err)
	case <-time.After(12 * time.Second): // longer than a topic must be away
	}
	g.allow(t, "User:other", "channel")
	mqtest.Must(t, <-result)
}

func testUntrusted(t *testing.T, g *guarded) {
	cfg := kafka.DefaultConfig()
	cfg.Brokers, cfg.User, cfg.Password, cfg.TLS = g.saslS, "reader", "s3cret", true
	waits(t, cfg, "0", "certificate")
}

func testNoTLS(t *testing.T, g *guarded) {
	cfg := kafka.DefaultConfig()
	cfg.Brokers, cfg.TLS = g.Addr, true
	waits(t, cfg, "0", "is TLS misconfigured")
}
