package pulsar_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kitestream/bridge/mq/mqtest"
	"kitestream/bridge/mq/pulsar"
)

// unconnected is a queue without a broker.
func unconnected(t testing.TB) *pulsar.Queue {
	t.Helper()
	return mqtest.Connect(t, pulsar.Connect, pulsar.DefaultConfig())
}

func TestValidate(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	mqtest.Must(t, os.WriteFile(empty, []byte(" \n"), 0o600))
	const file = "config.go"
	secure := func(c *pulsar.Config) { c.URL = "pulsar+ssl://a:6651" }
	mqtest.Validate(t, pulsar.DefaultConfig, pulsar.Connect, mqtest.Configs[pulsar.Config]{
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
	})
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
	q := unconnected(t)
	mqtest.NoChannels(t, q, "", "a/b", "persistent://public/default/a", "a b", "a\n")
}
