package natsmq_test

import (
	"log/slog"
	"strings"
	"testing"

	"kitestream/bridge/mq/natsmq"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := natsmq.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*natsmq.Config)
		want   []string // in the error; none: valid
	}{
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
	} {
		t.Run(name, func(t *testing.T) {
			c := natsmq.DefaultConfig()
			tc.change(&c)
			err := c.Validate()
			if (err != nil) != (len(tc.want) > 0) {
				t.Fatalf("validate = %v, want an error: %t", err, len(tc.want) > 0)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error does not name %q: %v", part, err)
				}
			}
			if err != nil {
				if _, err := natsmq.Connect(c, slog.New(slog.DiscardHandler)); err == nil {
					t.Error("connect accepts what validate refuses")
				}
			}
		})
	}
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
	for _, name := range []string{"", "a.b", "a b", "*", ">", "a/b", `a\b`, "a\n"} {
		if r, err := q.Open(t.Context(), name, ""); err == nil {
			t.Errorf("open %q = %v, want an error", name, r)
		}
	}
}
