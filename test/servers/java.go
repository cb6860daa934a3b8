package servers

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// javaOptions suit a broker that starts often and does little: one thread of garbage collection, and only the quick
// compiler, which halves the work of a start.
const javaOptions = "-XX:+UseSerialGC -Xss512k -XX:+ExitOnOutOfMemoryError -XX:TieredStopAtLevel=1 -Xshare:auto " +
	"-Djava.net.preferIPv4Stack=true -Djava.awt.headless=true"

// java runs a class from the jars of an installed release. The end of ctx kills it.
func java(ctx context.Context, cache string, options []string, class string, args ...string) *exec.Cmd {
	all := append(strings.Fields(javaOptions), options...)
	all = append(all, "-cp", filepath.Join(cache, "lib", "*"), class)
	return exec.CommandContext(ctx, "java", append(all, args...)...)
}

// setProperties changes lines of a properties file. It leaves out the old ones, so that nothing hangs on which of two
// wins.
func setProperties(stock []byte, set map[string]string) []byte {
	var out bytes.Buffer
	for line := range strings.Lines(string(stock)) {
		key, _, _ := strings.Cut(line, "=")
		if _, ours := set[strings.TrimSpace(key)]; !ours {
			fmt.Fprintln(&out, strings.TrimSuffix(line, "\n"))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		fmt.Fprintf(&out, "%s=%s\n", key, set[key])
	}
	return out.Bytes()
}
