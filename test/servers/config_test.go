package servers_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kitestream/test/servers"
)

// TestNotInstalled checks that a machine without the servers is told what to do.
func TestNotInstalled(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for name, start := range map[string]func(ctx context.Context, dir string) error{
		"milvus": func(ctx context.Context, dir string) error {
			_, err := servers.StartMilvus(ctx, servers.MilvusConfig{Dir: dir})
			return err
		},
		"lite": func(ctx context.Context, dir string) error {
			_, err := servers.StartLite(ctx, servers.LiteConfig{Dir: dir})
			return err
		},
		"pulsar": func(ctx context.Context, dir string) error {
			_, err := servers.StartPulsar(ctx, servers.PulsarConfig{Dir: dir})
			return err
		},
		"kafka": func(ctx context.Context, dir string) error {
			_, err := servers.StartKafka(ctx, servers.KafkaConfig{Dir: dir})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := start(t.Context(), t.TempDir()); !errors.Is(err, servers.ErrNotInstalled) {
				t.Errorf("start without an installed server: %v, want %v", err, servers.ErrNotInstalled)
			}
		})
	}
}

func TestOpenNothing(t *testing.T) {
	_, milvus := servers.Open(t.TempDir())
	_, pulsar := servers.OpenPulsar(t.TempDir())
	_, kafka := servers.OpenKafka(t.TempDir())
	if milvus == nil || pulsar == nil || kafka == nil {
		t.Errorf("opened servers in empty folders: %v, %v, %v", milvus, pulsar, kafka)
	}
}

// TestBrokerMissing checks that a Milvus is not started on a queue that it will not find.
func TestBrokerMissing(t *testing.T) {
	for name, c := range map[string]servers.MilvusConfig{
		"none":  {MQ: servers.PulsarMQ},
		"other": {MQ: servers.PulsarMQ, Broker: &servers.Kafka{}},
	} {
		t.Run(name, func(t *testing.T) {
			c.Dir = t.TempDir()
			if _, err := servers.StartMilvus(t.Context(), c); err == nil || !strings.Contains(err.Error(), servers.PulsarMQ) {
				t.Errorf("start: %v, want an error about the broker", err)
			}
		})
	}
}

// TestFetchOtherContent checks that only the pinned files are installed, whatever Maven brings.
func TestFetchOtherContent(t *testing.T) {
	const mvn = `#!/bin/sh
for a; do case $a in -DoutputDirectory=*) d=${a#*=}; mkdir -p "$d"; echo else >"$d/pulsar-server-distribution-4.0.8-bin.tar.gz";; esac; done
`
	bin, cache := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "mvn"), []byte(mvn), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", cache)
	if err := servers.FetchBrokers(t.Context()); err == nil || !strings.Contains(err.Error(), "hash") {
		t.Errorf("fetch: %v, want an error about the hash", err)
	}
	left, err := os.ReadDir(filepath.Join(cache, "kitestream"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		if f.IsDir() {
			t.Errorf("%s was left in the cache folder", f.Name())
		}
	}
}
