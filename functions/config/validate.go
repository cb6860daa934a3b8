package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// VariableError is one thing that is wrong with one variable.
type VariableError struct {
	Variable string
	Message  string
}

// Error names the variable first.
func (p *VariableError) Error() string { return p.Variable + ": " + p.Message }

// Edges of the lease's time to live. NATS counts a key's life in whole seconds.
const (
	minLease = time.Second
	maxLease = time.Minute
)

// Validate reports every problem that the role has with the settings, each a *VariableError, joined. It looks at files and
// at the settings beside each other; it opens no connection.
func (c Config) Validate(role Role) error {
	v := validation{role: role}
	v.urls("KITESTREAM_NATS_URL", c.NATSURL)
	v.file("KITESTREAM_NATS_CREDS", c.NATSCreds)
	if c.NATSURL == "" {
		v.address("KITESTREAM_NATS_LISTEN", c.NATSListen)
		v.folder("KITESTREAM_DATA_DIR", c.DataDir)
	}
	if !nameShape.MatchString(c.SourceName) {
		v.bad("KITESTREAM_SOURCE_NAME", "%q, want 1 to 48 of a-z, 0-9, '_' and '-', beginning with a letter or digit", c.SourceName)
	}
	v.endpoints("KITESTREAM_SOURCE_ETCD_ENDPOINTS", c.SourceEtcdEndpoints)
	v.keyPrefix("KITESTREAM_SOURCE_ETCD_ROOT", c.SourceEtcdRoot)
	v.keyPrefix("KITESTREAM_SOURCE_ETCD_META", c.SourceEtcdMeta)
	v.queue(c)
	v.milvus("KITESTREAM_SOURCE_MILVUS_URI", c.SourceMilvusURI)
	v.file("KITESTREAM_SOURCE_MILVUS_TOKEN_FILE", c.SourceMilvusTokenFile)
	if c.SourceMilvusToken != "" && c.SourceMilvusTokenFile != "" {
		v.bad("KITESTREAM_SOURCE_MILVUS_TOKEN_FILE", "KITESTREAM_SOURCE_MILVUS_TOKEN is set too; one of them")
	}
	v.file("KITESTREAM_SECRET_KEY_FILE", c.SecretKeyFile)
	if c.MetricsAddr != "" {
		v.address("KITESTREAM_METRICS_ADDR", c.MetricsAddr)
	}
	if c.LeaseTTL < minLease || c.LeaseTTL > maxLease || c.LeaseTTL%time.Second != 0 {
		v.bad("KITESTREAM_LEASE_TTL", "%v, want whole seconds from %v to %v", c.LeaseTTL, minLease, maxLease)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		v.bad("KITESTREAM_LOG_FORMAT", "%q, want text or json", c.LogFormat)
	}
	return errors.Join(v.problems...)
}

// nameShape is that of a source's name in a task, jetstream.TaskSpec.Source.
var nameShape = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,47}$`)

// validation collects problems with the variables that the role uses.
type validation struct {
	role     Role
	problems []error
}

func (v *validation) bad(variable, format string, args ...any) {
	if used(variable, v.role) {
		v.problems = append(v.problems, &VariableError{Variable: variable, Message: fmt.Sprintf(format, args...)})
	}
}

// urls checks a list of NATS servers. What is wrong is told without the URL, which may hold a password.
func (v *validation) urls(variable, value string) {
	if value == "" {
		return
	}
	for i, s := range strings.Split(value, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		switch {
		case err != nil || u.Host == "":
			v.bad(variable, "URL %d is not of the form nats://host:port", i+1)
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			v.bad(variable, "URL %d has scheme %q, want nats, tls, ws or wss", i+1, u.Scheme)
		case !goodPort(u.Port(), true):
			v.bad(variable, "URL %d has port %q", i+1, u.Port())
		}
	}
}

func (v *validation) file(variable, path string) {
	if path == "" {
		return
	}
	if _, err := os.ReadFile(path); err != nil {
		v.bad(variable, "%v", err)
	}
}

func (v *validation) folder(variable, path string) {
	if path == "" {
		v.bad(variable, "is empty, want a folder")
		return
	}
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		v.bad(variable, "%s is no folder", path)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		v.bad(variable, "%v", err)
	}
}

func (v *validation) address(variable, value string) {
	_, port, err := net.SplitHostPort(value)
	if err != nil || !goodPort(port, false) {
		v.bad(variable, "%q, want host:port", value)
	}
}

func goodPort(port string, optional bool) bool {
	if port == "" {
		return optional
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 0 && n <= 65535
}

func (v *validation) endpoints(variable string, list []string) {
	if len(list) == 0 {
		v.bad(variable, "must be set: where the source's etcd listens, host:port")
	}
	for _, e := range list {
		bare := strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(e), "http://"), "https://")
		if host, port, err := net.SplitHostPort(bare); err != nil || host == "" || !goodPort(port, false) {
			v.bad(variable, "%q, want host:port", e)
		}
	}
}

func (v *validation) keyPrefix(variable, value string) {
	if strings.Trim(value, "/") == "" || strings.ContainsAny(value, " \t\n*") {
		v.bad(variable, "%q, want a key prefix such as %q", value, fieldOf(variable).Tag.Get("default"))
	}
}

func (v *validation) milvus(variable, value string) {
	if value == "" {
		return
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		v.bad(variable, "not of the form http://host:port")
	}
}

// fieldOf is the field that a variable sets.
func fieldOf(variable string) reflect.StructField {
	for f := range fields() {
		if f.Tag.Get("envconfig") == variable {
			return f
		}
	}
	return reflect.StructField{}
}

// used reports whether the role uses the variable.
func used(variable string, role Role) bool {
	roles := fieldOf(variable).Tag.Get("roles")
	return roles == "all" || slices.Contains(strings.Fields(roles), string(role))
}
