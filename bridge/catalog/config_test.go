package catalog_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kitestream/bridge/catalog"
)

func TestValidateTellsEveryProblem(t *testing.T) {
	good := catalog.DefaultConfig()
	good.Endpoints = []string{"127.0.0.1:2379", "https://etcd.example:2379", "[::1]:2379"}
	good.CAFile = "ca.pem"
	if err := good.Validate(); err != nil {
		t.Errorf("good config: %v", err)
	}
	bad := catalog.Config{
		Endpoints: []string{"http://a:1", "ftp://b:1", "c", ":2379", "d:1/path", "e:x"},
		Username:  "u", CertFile: "c", RequestTimeout: -time.Second,
	}
	err := bad.Validate()
	if err == nil {
		t.Fatal("bad config is taken")
	}
	for _, want := range []string{
		`"http://a:1": http beside TLS`, `"ftp://b:1": scheme`, `"c": is not`, `":2379": is not`, `"d:1/path": is not`,
		`"e:x": is not`, "root", "user name and password", "certificate file and key file", "must not be negative",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if err := (catalog.Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "no etcd endpoint") {
		t.Errorf("empty config: %v", err)
	}
}

func TestOpenRefusesBadTLSFiles(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*catalog.Config){
		"no such authorities": func(c *catalog.Config) { c.CAFile = empty + "x" },
		"no authorities":      func(c *catalog.Config) { c.CAFile = empty },
		"no certificate":      func(c *catalog.Config) { c.CertFile, c.KeyFile = empty, empty },
		"nothing":             func(c *catalog.Config) { c.Endpoints = nil },
	} {
		cfg := catalog.DefaultConfig()
		cfg.Endpoints = []string{"127.0.0.1:1"}
		change(&cfg)
		if _, err := catalog.Open(t.Context(), cfg, nil); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}
