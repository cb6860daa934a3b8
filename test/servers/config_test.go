package servers_test

import (
	"errors"
	"testing"

	"kitestream/test/servers"
)

// TestNotInstalled checks that a machine without the server is told what to do.
func TestNotInstalled(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, err := servers.StartMilvus(t.Context(), servers.MilvusConfig{Dir: t.TempDir()})
	if !errors.Is(err, servers.ErrNotInstalled) {
		t.Errorf("start without an installed server: %v, want %v", err, servers.ErrNotInstalled)
	}
}

func TestOpenNothing(t *testing.T) {
	if _, err := servers.Open(t.TempDir()); err == nil {
		t.Error("opened a server in an empty folder")
	}
}
