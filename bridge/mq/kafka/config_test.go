package kafka_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/mqtest"
)

func TestValidate(t *testing.T) {
	mqtest.Validate(t, kafka.DefaultConfig, kafka.Connect, mqtest.Configs[kafka.Config]{
		"several brokers":       {func(c *kafka.Config) { c.Brokers = "a:9092, b:9093,[::1]:9094" }, nil},
		"user":                  {func(c *kafka.Config) { c.User, c.Password = "u", "p" }, nil},
		"user by SCRAM":         {func(c *kafka.Config) { c.User, c.Password, c.Mechanism = "u", "p", "SCRAM-SHA-512" }, nil},
		"no mechanism":          {func(c *kafka.Config) { c.User, c.Password, c.Mechanism = "u", "p", "" }, nil},
		"TLS":                   {func(c *kafka.Config) { c.TLS = true }, nil},
		"no brokers":            {func(c *kafka.Config) { c.Brokers = "" }, []string{"Brokers"}},
		"no port":               {func(c *kafka.Config) { c.Brokers = "a:9092,b" }, []string{"Brokers", "number 2"}},
		"port is no number":     {func(c *kafka.Config) { c.Brokers = "a:kafka" }, []string{"Brokers"}},
		"port 0":                {func(c *kafka.Config) { c.Brokers = "a:0" }, []string{"Brokers"}},
		"a URL":                 {func(c *kafka.Config) { c.Brokers = "kafka://a:9092" }, []string{"Brokers"}},
		"no host":               {func(c *kafka.Config) { c.Brokers = ":9092" }, []string{"Brokers"}},
		"password without user": {func(c *kafka.Config) { c.Password = "p" }, []string{"Password"}},
		"user without password": {func(c *kafka.Config) { c.User = "u" }, []string{"Password"}},
		"another mechanism":     {func(c *kafka.Config) { c.User, c.Password, c.Mechanism = "u", "p", "GSSAPI" }, []string{"Mechanism", "GSSAPI"}},
		"files without TLS":     {func(c *kafka.Config) { c.CAFile = notPEM }, []string{"without TLS", "CAFile"}},
		"certificate, no key":   {func(c *kafka.Config) { c.TLS, c.CertFile = true, notPEM }, []string{"KeyFile"}},
		"no such file":          {func(c *kafka.Config) { c.TLS, c.CAFile = true, "none.pem" }, []string{"CAFile", "none.pem"}},
		"not a CA":              {func(c *kafka.Config) { c.TLS, c.CAFile = true, notPEM }, []string{"CAFile", "no certificate"}},
		"not a certificate":     {func(c *kafka.Config) { c.TLS, c.CertFile, c.KeyFile = true, notPEM, notPEM }, []string{"CertFile"}},
		"hardly any bytes":      {func(c *kafka.Config) { c.PrefetchBytes = 1023 }, []string{"PrefetchBytes"}},
		"too many bytes":        {func(c *kafka.Config) { c.PrefetchBytes = 1 << 30 }, []string{"PrefetchBytes"}},
		"all at once": {
			func(c *kafka.Config) { *c = kafka.Config{Password: "p", KeyFile: "none.pem"} },
			[]string{"Brokers", "Password", "TLS", "KeyFile", "PrefetchBytes"},
		},
	})
}

const notPEM = "config.go"

// TestValidateKeepsSecrets: an error is printed, and people write passwords where they don't belong.
func TestValidateKeepsSecrets(t *testing.T) {
	c := kafka.DefaultConfig()
	c.Brokers, c.Password = "user:s3cret@host:9092", "s3cret"
	if err := c.Validate(); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("validate = %v, want an error without the password", err)
	}
}

// TestKeyFileIsNotShown: a key that can't be read as one is not quoted.
func TestKeyFileIsNotShown(t *testing.T) {
	c := kafka.DefaultConfig()
	c.TLS = true
	c.CertFile, c.KeyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for _, file := range []string{c.CertFile, c.KeyFile} {
		if err := os.WriteFile(file, []byte("s3cret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Validate(); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("validate = %v, want an error without what is in the file", err)
	}
}

func TestNamesThatAreNoTopicAreRefused(t *testing.T) {
	q := unconnected(t)
	mqtest.NoChannels(t, q, "", ".", "..", "a b", "a/b", "ä", "a\n", strings.Repeat("a", 250))
}
