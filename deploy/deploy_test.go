// Package deploy holds how Kitestream is installed; its tests hold what is shipped to what the program takes.
package deploy

import (
	"os"
	"strings"
	"testing"

	"kitestream/functions/config"
)

// TestUnitsSettings loads the environment that is shipped with the systemd unit, as the process would.
func TestUnitsSettings(t *testing.T) {
	raw, err := os.ReadFile("systemd/kitestream.env")
	if err != nil {
		t.Fatal(err)
	}
	var environ []string
	for _, line := range strings.Split(string(raw), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("%q is no setting", line)
		}
		t.Setenv(name, value)
		environ = append(environ, line)
	}
	c, err := config.Load(config.Up, environ)
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/var/lib/kitestream" || len(c.SourceEtcdEndpoints) != 1 {
		t.Errorf("settings were not taken: %+v", c)
	}
	unit, err := os.ReadFile("systemd/kitestream.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ExecStart=/usr/local/bin/kitestream " + string(config.Up) + "\n", "EnvironmentFile=/etc/kitestream/kitestream.env\n"} {
		if !strings.Contains(string(unit), want) {
			t.Errorf("the unit has no %q", want)
		}
	}
}
