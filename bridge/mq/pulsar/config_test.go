package pulsar_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kitestream/bridge/mq/pulsar"
)

func TestDefaultConfigIsValid(t *testing.T) { must(t, pulsar.DefaultConfig().Validate()) }

func TestValidate(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	must(t, os.WriteFile(empty, []byte(" \n"), 0o600))
	const file = "config.go"
	secure := func(c *pulsar.Config) { c.URL = "pulsar+ssl://a:6651" }
	for name, tc := range map[string]struct {
		change func(*pulsar.Config)
		want   []string // in the error; none: valid
	}{
		"several hosts":       {func(c *pulsar.Config) { c.URL = "pulsar://a:6650,b:6650,[::1]:6650" }, nil},
		"TLS":                 {secure, nil},
		"token":               {func(c *pulsar.Config) { c.Token = "t" }, nil},
		"token file":          {func(c *pulsar.Config) { c.TokenFile = file }, nil},
		"no URL":              {func(c *pulsar.Config) { c.URL = "" }, []string{"URL"}},
		"another scheme":      {func(c *pulsar.Config) { c.URL = "http://a:8080" }, []string{"URL", "pulsar+ssl://"}},
		"scheme twice":        {func(c *pulsar.Config) { c.URL = "pulsar://a:1,pulsar://b:1" }, []string{"URL"}},
		"no port":             {func(c *pulsar.Config) { c.URL = "pulsar://a" }, []string{"URL", "host:port"}},
		"no host":             {func(c *pulsar.Config) { c.URL = "pulsar://:6650" }, []string{"URL"}},
		"a path":              {func(c *pulsar.Config) { c.URL = "pulsar://a:6650/x" }, []string{"URL"}},
		"no tenant":           {func(c *pulsar.Config) { c.Tenant = "" }, []string{"Tenant"}},
		"both in one":         {func(c *pulsar.Config) { c.Namespace = "public/default" }, []string{"Namespace"}},
		"two tokens":          {func(c *pulsar.Config) { c.Token, c.TokenFile = "t", file }, []string{"at most one"}},
		"certificate, no key": {func(c *pulsar.Config) { secure(c); c.CertFile = file }, []string{"KeyFile"}},
		"TLS without TLS":     {func(c *pulsar.Config) { c.CAFile = file }, []string{"CAFile", "pulsar+ssl://"}},
		"no name without TLS": {func(c *pulsar.Config) { c.SkipHostnameVerification = true }, []string{"SkipHostnameVerification"}},
		"no such file":        {func(c *pulsar.Config) { secure(c); c.CAFile = "none.pem" }, []string{"CAFile", "none.pem"}},
		"an empty file":       {func(c *pulsar.Config) { c.TokenFile = empty }, []string{"TokenFile", "is empty"}},
		"an anchor":           {func(c *pulsar.Config) { c.Anchor, c.AdminURL = true, "https://a:8443" }, nil},
		"nameless anchor":     {func(c *pulsar.Config) { c.Anchor, c.AnchorName = true, "" }, []string{"AnchorName"}},
		"another admin":       {func(c *pulsar.Config) { c.AdminURL = "pulsar://a:6650" }, []string{"AdminURL", "http"}},
		"admin with password": {func(c *pulsar.Config) { c.AdminURL = "http://u:p@a:8080" }, []string{"AdminURL"}},
		"no messages":         {func(c *pulsar.Config) { c.PrefetchMessages = 0 }, []string{"PrefetchMessages"}},
		"hardly any bytes":    {func(c *pulsar.Config) { c.PrefetchBytes = 1023 }, []string{"PrefetchBytes"}},
		"everything at once": {
			func(c *pulsar.Config) {
				*c = pulsar.Config{URL: "x", Token: "t", TokenFile: "none", KeyFile: "none.pem"}
			},
			[]string{"URL", "Tenant", "Namespace", "at most one", "CertFile, KeyFile", "none.pem", "PrefetchMessages", "PrefetchBytes"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := pulsar.DefaultConfig()
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
				if _, err := pulsar.Connect(c, slog.New(slog.DiscardHandler)); err == nil {
					t.Error("connect accepts what validate refuses")
				}
			}
		})
	}
}

// TestValidateKeepsSecrets: an error is printed.
func TestValidateKeepsSecrets(t *testing.T) {
	c := pulsar.DefaultConfig()
	c.URL, c.Token, c.TokenFile = "pulsar://user:s3cret@a:6650", "s3cret", "none"
	if err := c.Validate(); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("validate = %v, want an error without the secret", err)
	}
}

func TestOpenRefusesNamesThatAreNoTopic(t *testing.T) {
	q := connectWith(t, pulsar.DefaultConfig())
	for _, name := range []string{"", "a/b", "persistent://public/default/a", "a b", "a\n"} {
		if r, err := q.Open(t.Context(), name, ""); err == nil {
			t.Errorf("open %q = %v, want an error", name, r)
		}
		if at, err := q.Last(t.Context(), name); err == nil {
			t.Errorf("last of %q = %q, want an error", name, at)
		}
	}
}
