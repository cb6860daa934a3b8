package natsmq_test

import (
	"strings"
	"testing"

	"kitestream/bridge/mq/mqtest"
	"kitestream/bridge/mq/natsmq"
)

func TestValidate(t *testing.T) {
	mqtest.Validate(t, natsmq.DefaultConfig, natsmq.Connect, mqtest.Configs[natsmq.Config]{
		"several servers":       {func(c *natsmq.Config) { c.URL = "nats://a:4222, tls://b:4222" }, nil},
		"user":                  {func(c *natsmq.Config) { c.User, c.Password = "u", "p" }, nil},
		"no URL":                {func(c *natsmq.Config) { c.URL = "" }, []string{"URL"}},
		"another scheme":        {func(c *natsmq.Config) { c.URL = "http://a:4222" }, []string{"URL", "http"}},
		"no scheme":             {func(c *natsmq.Config) { c.URL = "a:4222" }, []string{"URL"}},
		"password without user": {func(c *natsmq.Config) { c.Password = "p" }, []string{"Password"}},
		"two logins":            {func(c *natsmq.Config) { c.User, c.Token = "u", "t" }, []string{"at most one"}},
		"certificate, no key":   {func(c *natsmq.Config) { c.CertFile = "config.go" }, []string{"KeyFile"}},
		"no such file":          {func(c *natsmq.Config) { c.CAFile = "none.pem" }, []string{"CAFile", "none.pem"}},
		"no messages":           {func(c *natsmq.Config) { c.PrefetchMessages = 0 }, []string{"PrefetchMessages"}},
		"hardly any bytes":      {func(c *natsmq.Config) { c.PrefetchBytes = 1023 }, []string{"PrefetchBytes"}},
		"everything at once": {
			func(c *natsmq.Config) { *c = natsmq.Config{URL: "x", Password: "p", KeyFile: "none.pem"} },
			[]string{"URL", "Password", "CertFile, KeyFile", "none.pem", "PrefetchMessages", "PrefetchBytes"},
		},
	})
}

// TestValidateKeepsSecrets: an error is printed, and a URL may hold a password.
func TestValidateKeepsSecrets(t *testing.T) {
	c := natsmq.DefaultConfig()
	c.URL = "nats://user:s3cret@%zz"
	if err := c.Validate(); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("validate = %v, want an error without the password", err)
	}
}

func TestOpenRefusesNamesThatAreNoStream(t *testing.T) {
	q := connect(t, "nats://127.0.0.1:1")
	mqtest.NoChannels(t, q, "", "a.b", "a b", "*", ">", "a/b", `a\b`, "a\n")
}
