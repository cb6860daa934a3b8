package config_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kitestream/functions/config"
)

// good is an environment that every role is content with.
func good() map[string]string {
	return map[string]string{
		"KITESTREAM_SOURCE_ETCD_ENDPOINTS": "127.0.0.1:2379",
		"KITESTREAM_SOURCE_MQ_URL":         "nats://127.0.0.1:4333",
	}
}

func load(t *testing.T, role config.Role, env map[string]string) (config.Config, error) {
	t.Helper()
	var environ []string
	for k, v := range env {
		t.Setenv(k, v)
		environ = append(environ, k+"="+v)
	}
	return config.Load(role, environ)
}

// variables are the names that an error complains of, sorted.
func variables(err error) []string {
	out := []string{}
	var walk func(error)
	walk = func(err error) {
		var p *config.VariableError
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
		} else if errors.As(err, &p) {
			out = append(out, strings.TrimPrefix(p.Variable, config.Prefix))
		}
	}
	walk(err)
	slices.Sort(out)
	return out
}

func TestDefaults(t *testing.T) {
	got, err := load(t, config.Up, good())
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		NATSListen: "127.0.0.1:4222", DataDir: "./kitestream-data", SourceName: "default",
		SourceEtcdEndpoints: []string{"127.0.0.1:2379"}, SourceEtcdRoot: "by-dev", SourceEtcdMeta: "meta",
		SourceMQ: "natsmq", SourceMQURL: "nats://127.0.0.1:4333", MetricsAddr: "127.0.0.1:9464",
		SourceMQMechanism: "PLAIN", SourceMQTenant: "public", SourceMQNamespace: "default",
		LeaseTTL: 3 * time.Second, LogLevel: slog.LevelInfo, LogFormat: "text",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("config = %+v\nwant     %+v", got, want)
	}
	want.SourceEtcdEndpoints, want.SourceMQURL = nil, ""
	if got := config.Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("Default() = %+v\nwant        %+v", got, want)
	}
}

func TestEverySettingIsRead(t *testing.T) {
	creds := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(creds, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := load(t, config.Up, map[string]string{
		"KITESTREAM_NATS_URL": "nats://a:1,tls://b:2", "KITESTREAM_NATS_CREDS": creds, "KITESTREAM_NATS_LISTEN": "127.0.0.1:0",
		"KITESTREAM_DATA_DIR": "/tmp/x", "KITESTREAM_SOURCE_NAME": "east", "KITESTREAM_SOURCE_ETCD_ENDPOINTS": "a:2379,http://b:2379",
		"KITESTREAM_SOURCE_ETCD_ROOT": "r", "KITESTREAM_SOURCE_ETCD_META": "m", "KITESTREAM_SOURCE_MQ": "natsmq",
		"KITESTREAM_SOURCE_MQ_URL": "nats://q:4222", "KITESTREAM_SOURCE_MILVUS_URI": "http://m:19530",
		"KITESTREAM_SOURCE_MILVUS_TOKEN": "root:Milvus", "KITESTREAM_METRICS_ADDR": "", "KITESTREAM_LEASE_TTL": "5s",
		"KITESTREAM_LOG_LEVEL": "debug", "KITESTREAM_LOG_FORMAT": "json",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		NATSURL: "nats://a:1,tls://b:2", NATSCreds: creds, NATSListen: "127.0.0.1:0", DataDir: "/tmp/x", SourceName: "east",
		SourceEtcdEndpoints: []string{"a:2379", "http://b:2379"}, SourceEtcdRoot: "r", SourceEtcdMeta: "m", SourceMQ: "natsmq",
		SourceMQURL: "nats://q:4222", SourceMilvusURI: "http://m:19530", SourceMilvusToken: "root:Milvus",
		SourceMQMechanism: "PLAIN", SourceMQTenant: "public", SourceMQNamespace: "default",
		LeaseTTL: 5 * time.Second, LogLevel: slog.LevelDebug, LogFormat: "json",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("config = %+v\nwant     %+v", got, want)
	}
	if s := fmt.Sprintf("%v %+v", got, got); strings.Contains(s, "Milvus:") || strings.Contains(s, "root:") {
		t.Errorf("the token is printed: %s", s)
	}
}

func TestProblems(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		role config.Role
		set  map[string]string
		want []string
	}{
		"good_up":                    {config.Up, nil, nil},
		"nothing_set_up":             {config.Up, map[string]string{"SOURCE_ETCD_ENDPOINTS": "", "SOURCE_MQ_URL": ""}, []string{"SOURCE_ETCD_ENDPOINTS", "SOURCE_MQ_URL"}},
		"control_needs_no_source":    {config.Control, map[string]string{"SOURCE_ETCD_ENDPOINTS": "", "SOURCE_MQ_URL": ""}, nil},
		"worker_ignores_source":      {config.Worker, map[string]string{"SOURCE_MQ": "rabbit", "SOURCE_ETCD_ROOT": ""}, nil},
		"client_ignores_all_but_url": {config.Client, map[string]string{"LEASE_TTL": "9h", "LOG_FORMAT": "xml", "METRICS_ADDR": "x"}, nil},
		"pulsar":                     {config.Bridge, map[string]string{"SOURCE_MQ": "pulsar", "SOURCE_MQ_URL": "pulsar://x:6650,y:6650"}, nil},
		"pulsar_with_natss_url":      {config.Bridge, map[string]string{"SOURCE_MQ": "pulsar"}, []string{"SOURCE_MQ_URL"}},
		"pulsar_two_tokens":          {config.Bridge, map[string]string{"SOURCE_MQ": "pulsar", "SOURCE_MQ_URL": "pulsar://x:6650", "SOURCE_MQ_TOKEN": "t", "SOURCE_MQ_TOKEN_FILE": file}, []string{"SOURCE_MQ_TOKEN", "SOURCE_MQ_TOKEN_FILE"}},
		"pulsar_no_tenant":           {config.Bridge, map[string]string{"SOURCE_MQ": "pulsar", "SOURCE_MQ_URL": "pulsar://x:6650", "SOURCE_MQ_TENANT": ""}, []string{"SOURCE_MQ_TENANT"}},
		"pulsar_with_kafkas_login":   {config.Bridge, map[string]string{"SOURCE_MQ": "pulsar", "SOURCE_MQ_URL": "pulsar://x:6650", "SOURCE_MQ_USER": "u", "SOURCE_MQ_TLS": "true"}, []string{"SOURCE_MQ_TLS", "SOURCE_MQ_USER"}},
		"kafka":                      {config.Bridge, map[string]string{"SOURCE_MQ": "kafka", "SOURCE_MQ_URL": "a:9092,b:9092", "SOURCE_MQ_USER": "u", "SOURCE_MQ_PASSWORD": "p", "SOURCE_MQ_MECHANISM": "SCRAM-SHA-512"}, nil},
		"kafka_with_a_scheme":        {config.Bridge, map[string]string{"SOURCE_MQ": "kafka", "SOURCE_MQ_URL": "kafka://a:9092"}, []string{"SOURCE_MQ_URL"}},
		"kafka_mechanism":            {config.Bridge, map[string]string{"SOURCE_MQ": "kafka", "SOURCE_MQ_URL": "a:9092", "SOURCE_MQ_USER": "u", "SOURCE_MQ_PASSWORD": "p", "SOURCE_MQ_MECHANISM": "GSSAPI"}, []string{"SOURCE_MQ_MECHANISM"}},
		"kafka_files_without_tls":    {config.Bridge, map[string]string{"SOURCE_MQ": "kafka", "SOURCE_MQ_URL": "a:9092", "SOURCE_MQ_CA_FILE": "/no/such/file"}, []string{"SOURCE_MQ_CA_FILE", "SOURCE_MQ_CA_FILE"}},
		"kafka_with_pulsars_tenant":  {config.Bridge, map[string]string{"SOURCE_MQ": "kafka", "SOURCE_MQ_URL": "a:9092", "SOURCE_MQ_TENANT": "t"}, []string{"SOURCE_MQ_TENANT"}},
		"natsmq_login_and_token":     {config.Bridge, map[string]string{"SOURCE_MQ_USER": "u", "SOURCE_MQ_TOKEN": "t"}, []string{"SOURCE_MQ_USER"}},
		"other_queue":                {config.Bridge, map[string]string{"SOURCE_MQ": "rocksmq"}, []string{"SOURCE_MQ"}},
		"mq_url_scheme":              {config.Bridge, map[string]string{"SOURCE_MQ_URL": "http://x:1"}, []string{"SOURCE_MQ_URL"}},
		"mq_url_no_host":             {config.Bridge, map[string]string{"SOURCE_MQ_URL": "127.0.0.1:4222"}, []string{"SOURCE_MQ_URL"}},
		"mq_is_our_own_server":       {config.Up, map[string]string{"SOURCE_MQ_URL": "nats://127.0.0.1:4222"}, []string{"NATS_LISTEN"}},
		"mq_is_our_nats":             {config.Bridge, map[string]string{"NATS_URL": "nats://127.0.0.1:4333"}, []string{"SOURCE_MQ_URL"}},
		"nats_url":                   {config.Client, map[string]string{"NATS_URL": "nats://a:1,ftp://b,:::,nats://c:x"}, []string{"NATS_URL", "NATS_URL", "NATS_URL"}},
		"nats_listen":                {config.Up, map[string]string{"NATS_LISTEN": "4222"}, []string{"NATS_LISTEN"}},
		"nats_listen_port":           {config.Up, map[string]string{"NATS_LISTEN": "127.0.0.1:66000"}, []string{"NATS_LISTEN"}},
		"nats_listen_unused":         {config.Up, map[string]string{"NATS_URL": "nats://a:1", "NATS_LISTEN": "x", "DATA_DIR": ""}, nil},
		"data_dir_is_file":           {config.Up, map[string]string{"DATA_DIR": file}, []string{"DATA_DIR"}},
		"data_dir_below_file":        {config.Up, map[string]string{"DATA_DIR": file + "/x"}, []string{"DATA_DIR"}},
		"data_dir_empty":             {config.Up, map[string]string{"DATA_DIR": ""}, []string{"DATA_DIR"}},
		"creds_missing":              {config.Worker, map[string]string{"NATS_CREDS": "/no/such/file"}, []string{"NATS_CREDS"}},
		"source_name":                {config.Bridge, map[string]string{"SOURCE_NAME": "a.b"}, []string{"SOURCE_NAME"}},
		"etcd_endpoint":              {config.Bridge, map[string]string{"SOURCE_ETCD_ENDPOINTS": "a:1,b"}, []string{"SOURCE_ETCD_ENDPOINTS"}},
		"etcd_root":                  {config.Bridge, map[string]string{"SOURCE_ETCD_ROOT": "/", "SOURCE_ETCD_META": ""}, []string{"SOURCE_ETCD_META", "SOURCE_ETCD_ROOT"}},
		"milvus_two_logins":          {config.Worker, map[string]string{"SOURCE_MILVUS_TOKEN": "a", "SOURCE_MILVUS_TOKEN_FILE": file}, []string{"SOURCE_MILVUS_TOKEN_FILE"}},
		"milvus_no_file":             {config.Worker, map[string]string{"SOURCE_MILVUS_TOKEN_FILE": "/no/such/file"}, []string{"SOURCE_MILVUS_TOKEN_FILE"}},
		"milvus_uri":                 {config.Bridge, map[string]string{"SOURCE_MILVUS_URI": "localhost:19530"}, []string{"SOURCE_MILVUS_URI"}},
		"metrics_addr":               {config.Worker, map[string]string{"METRICS_ADDR": "9464"}, []string{"METRICS_ADDR"}},
		"metrics_off":                {config.Worker, map[string]string{"METRICS_ADDR": ""}, nil},
		"lease_too_short":            {config.Worker, map[string]string{"LEASE_TTL": "900ms"}, []string{"LEASE_TTL"}},
		"lease_fraction":             {config.Worker, map[string]string{"LEASE_TTL": "1500ms"}, []string{"LEASE_TTL"}},
		"lease_no_duration":          {config.Worker, map[string]string{"LEASE_TTL": "3"}, []string{"LEASE_TTL"}},
		"log":                        {config.Control, map[string]string{"LOG_LEVEL": "loud", "LOG_FORMAT": "xml"}, []string{"LOG_FORMAT", "LOG_LEVEL"}},
		"unknown":                    {config.Client, map[string]string{"SOURCE_ETCD_ENDPOINT": "x", "NATSURL": "y"}, []string{"NATSURL", "SOURCE_ETCD_ENDPOINT"}},
		"tests_own_are_let_by":       {config.Client, map[string]string{"TEST_SOURCE_DIR": "x"}, nil},
		"everything_at_once": {config.Up, map[string]string{"LEASE_TTL": "soon", "LOG_LEVEL": "x", "SOURCE_NAME": "", "SOURCE_MQ": "?", "METRICS_ADDR": "?", "NATS_LISTEN": "?", "TYPO": "1"},
			[]string{"LEASE_TTL", "LOG_LEVEL", "METRICS_ADDR", "NATS_LISTEN", "SOURCE_MQ", "SOURCE_NAME", "TYPO"}},
	} {
		t.Run(name, func(t *testing.T) {
			env := good()
			for k, v := range tc.set {
				env[config.Prefix+k] = v
			}
			_, err := load(t, tc.role, env)
			if got := variables(err); !slices.Equal(got, tc.want) && len(got)+len(tc.want) > 0 {
				t.Errorf("complains of %v, want %v\n%v", got, tc.want, err)
			}
		})
	}
}

func TestUnknownNamesTheNearest(t *testing.T) {
	for name, want := range map[string]string{
		"KITESTREAM_SOURCE_ETCD_ENDPOINT": "KITESTREAM_SOURCE_ETCD_ENDPOINTS", "KITESTREAM_NATSURL": "KITESTREAM_NATS_URL",
		"KITESTREAM_METRICS_ADRESS": "KITESTREAM_METRICS_ADDR", "KITESTREAM_": "KITESTREAM_NATS_URL",
	} {
		_, err := load(t, config.Client, map[string]string{name: "x"})
		if err == nil || !strings.HasSuffix(err.Error(), "nearest is "+want) {
			t.Errorf("%s: %v, want a hint to %s", name, err, want)
		}
	}
}

// NATS_URL is what the nats command line reads: it must not leak into a Kitestream that was told nothing.
func TestOnlyPrefixedVariablesCount(t *testing.T) {
	t.Setenv("NATS_URL", "nats://elsewhere:4222")
	t.Setenv("METRICS_ADDR", "0.0.0.0:1")
	c, err := load(t, config.Up, good())
	if err != nil || c.NATSURL != "" || c.MetricsAddr != "127.0.0.1:9464" {
		t.Errorf("NATSURL = %q, MetricsAddr = %q, %v", c.NATSURL, c.MetricsAddr, err)
	}
}

// A password in a URL or a token must not come out in a complaint.
func TestProblemsTellNoSecrets(t *testing.T) {
	env := good()
	maps.Copy(env, map[string]string{
		"KITESTREAM_NATS_URL": "ftp://user:hunter2@a:1", "KITESTREAM_SOURCE_MQ_URL": "http://u:hunter2@b:1",
		"KITESTREAM_SOURCE_MILVUS_URI": "x://u:hunter2@b", "KITESTREAM_SOURCE_MILVUS_TOKEN": "root:hunter2",
		"KITESTREAM_SOURCE_MQ_PASSWORD": "hunter2", "KITESTREAM_SOURCE_MQ_TOKEN": "hunter2",
	})
	for _, kind := range []string{"natsmq", "pulsar", "kafka"} {
		env["KITESTREAM_SOURCE_MQ"] = kind
		if _, err := load(t, config.Up, env); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error = %v", kind, err)
		}
	}
}

func TestHelpListsTheRolesVariables(t *testing.T) {
	for role, want := range map[config.Role]struct{ with, without []string }{
		config.Up:      {[]string{"NATS_LISTEN", "DATA_DIR", "SOURCE_ETCD_ROOT", "LEASE_TTL"}, nil},
		config.Bridge:  {[]string{"NATS_URL", "SOURCE_MQ", "by-dev"}, []string{"NATS_LISTEN", "DATA_DIR"}},
		config.Worker:  {[]string{"NATS_URL", "METRICS_ADDR", "127.0.0.1:9464", "SOURCE_NAME", "SOURCE_MILVUS_URI"}, []string{"SOURCE_ETCD", "SOURCE_MQ"}},
		config.Control: {[]string{"NATS_URL", "LEASE_TTL", "3s"}, []string{"SOURCE_", "DATA_DIR"}},
		config.Client:  {[]string{"NATS_URL", "NATS_CREDS"}, []string{"METRICS_ADDR", "LEASE_TTL"}},
	} {
		var b strings.Builder
		if err := config.Help(&b, role); err != nil {
			t.Fatal(err)
		}
		for _, s := range want.with {
			if !strings.Contains(b.String(), s) {
				t.Errorf("%s: %s is not in\n%s", role, s, &b)
			}
		}
		for _, s := range want.without {
			if strings.Contains(b.String(), config.Prefix+s) {
				t.Errorf("%s: %s is in\n%s", role, s, &b)
			}
		}
	}
}

// The tags are the documentation: none may be missing, and each default must be one that can be read.
func TestTagsAreComplete(t *testing.T) {
	typ := reflect.TypeFor[config.Config]()
	for i := range typ.NumField() {
		tag := typ.Field(i).Tag
		for _, k := range []string{"envconfig", "roles", "unit", "desc"} {
			if tag.Get(k) == "" {
				t.Errorf("%s has no tag %s", typ.Field(i).Name, k)
			}
		}
		if !strings.HasPrefix(tag.Get("envconfig"), config.Prefix) {
			t.Errorf("%s: variable %s", typ.Field(i).Name, tag.Get("envconfig"))
		}
	}
}

func TestSourceToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("root:Milvus\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []config.Config{{SourceMilvusToken: "root:Milvus"}, {SourceMilvusTokenFile: file}} {
		if got, err := c.SourceToken(); got != "root:Milvus" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if _, err := (config.Config{SourceMilvusTokenFile: file + "x"}).SourceToken(); err == nil {
		t.Error("a file that is not there is no error")
	}
}
