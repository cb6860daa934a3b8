package config

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/kelseyhightower/envconfig"
)

// Prefix begins the name of every variable.
const Prefix = "KITESTREAM_"

// Role is what a process does; it decides which settings matter.
type Role string

// The roles. Each but Client is a verb of the binary.
const (
	Up      Role = "up"      // control, bridges and workers in one process, with a NATS server of its own unless told of one
	Bridge  Role = "bridge"  // reads the source
	Worker  Role = "worker"  // applies to the targets
	Control Role = "control" // answers requests about tasks
	Client  Role = "client"  // asks Control: the verbs below `task`
)

// Config is everything that can be set. The tags are the only list of the variables: their names, the roles that use
// them ("all": each of them), defaults, units and what --help says.
type Config struct {
	// NATSURL is where NATS is: one URL or several with commas between (nats, tls, ws or wss). Empty: `up` starts a
	// server of its own, everything else goes to nats://127.0.0.1:4222. A server that can't be reached is tried for ever
	// by the long-running roles; the client gives up after two seconds.
	NATSURL string `envconfig:"KITESTREAM_NATS_URL" roles:"all" unit:"URLs" desc:"NATS servers, separated by commas; empty: 'up' runs its own, the others use nats://127.0.0.1:4222"`

	// NATSCreds is a NATS .creds file (user JWT and key). Empty: no login. The file is read again at each reconnect.
	NATSCreds string `envconfig:"KITESTREAM_NATS_CREDS" roles:"all" unit:"file" desc:"NATS credentials file; empty: none"`

	// NATSListen is where the server inside `up` listens. Port 0 takes a free one (printed at the start). Anything but
	// a loopback address is open to the network, without login.
	NATSListen string `envconfig:"KITESTREAM_NATS_LISTEN" roles:"up" default:"127.0.0.1:4222" unit:"host:port" desc:"where the NATS server inside 'up' listens; unused with KITESTREAM_NATS_URL"`

	// DataDir holds the store of the server inside `up`: every task and every event not yet applied. Two processes
	// can't share it; on a full disk the bridge waits, and the source's queue has to hold what comes meanwhile.
	DataDir string `envconfig:"KITESTREAM_DATA_DIR" roles:"up" default:"./kitestream-data" unit:"folder" desc:"where the NATS server inside 'up' keeps its store; made if not there"`

	// SourceName is what tasks call the source. Processes with the same name must read the same source: any of them may
	// take over any of its tasks. 1 to 48 of a-z, 0-9, '_' and '-'.
	SourceName string `envconfig:"KITESTREAM_SOURCE_NAME" roles:"up bridge worker" default:"default" unit:"name" desc:"the source's name in task files"`

	// SourceEtcdEndpoints is the etcd that the source keeps its catalogue in. There is no default: a wrong one would
	// replicate some other cluster.
	SourceEtcdEndpoints []string `envconfig:"KITESTREAM_SOURCE_ETCD_ENDPOINTS" roles:"up bridge" unit:"host:port list" desc:"etcd of the source, separated by commas (Milvus: etcd.endpoints); required"`

	// SourceEtcdRoot is Milvus's etcd.rootPath. With a wrong one the catalogue looks empty: tasks wait for collections.
	SourceEtcdRoot string `envconfig:"KITESTREAM_SOURCE_ETCD_ROOT" roles:"up bridge" default:"by-dev" unit:"key prefix" desc:"Milvus's etcd.rootPath"`

	// SourceEtcdMeta is Milvus's etcd.metaSubPath. With a wrong one the catalogue looks empty, as above.
	SourceEtcdMeta string `envconfig:"KITESTREAM_SOURCE_ETCD_META" roles:"up bridge" default:"meta" unit:"key prefix" desc:"Milvus's etcd.metaSubPath"`

	// SourceMQ is the kind of queue that the source writes to. RocksMQ can't be read from outside Milvus.
	SourceMQ string `envconfig:"KITESTREAM_SOURCE_MQ" roles:"up bridge" default:"natsmq" unit:"natsmq|pulsar|kafka" desc:"the source's message queue (Milvus: mq.type)"`

	// SourceMQURL is where that queue is: natsmq nats:// or tls://host:port, of Milvus's own server and never of the NATS
	// that carries the stream; pulsar pulsar:// or pulsar+ssl://host:port; kafka host:port, or several with commas between.
	SourceMQURL string `envconfig:"KITESTREAM_SOURCE_MQ_URL" roles:"up bridge" unit:"URL" desc:"address of the source's message queue: nats://…, pulsar://…, or Kafka's host:port list; required"`

	// SourceMQUser and SourceMQPassword log in to natsmq, or to Kafka by SASL. Neither is ever logged.
	SourceMQUser     string `envconfig:"KITESTREAM_SOURCE_MQ_USER" roles:"up bridge" queues:"natsmq kafka" unit:"name" desc:"login of natsmq or kafka; empty: none"`
	SourceMQPassword Secret `envconfig:"KITESTREAM_SOURCE_MQ_PASSWORD" roles:"up bridge" queues:"natsmq kafka" unit:"password" desc:"its password"`

	// SourceMQMechanism is how Kafka is shown the password.
	SourceMQMechanism string `envconfig:"KITESTREAM_SOURCE_MQ_MECHANISM" roles:"up bridge" queues:"kafka" default:"PLAIN" unit:"PLAIN|SCRAM-SHA-256|SCRAM-SHA-512" desc:"SASL mechanism of that login (Milvus: kafka.saslMechanisms)"`

	// SourceMQToken logs in to natsmq, or to Pulsar with a JSON Web Token. It is never logged.
	SourceMQToken Secret `envconfig:"KITESTREAM_SOURCE_MQ_TOKEN" roles:"up bridge" queues:"natsmq pulsar" unit:"token" desc:"token of natsmq or pulsar; empty: none"`

	// SourceMQTokenFile holds Pulsar's token. It is read again whenever the broker asks, so that a token may be replaced
	// before it expires. At most one of the two.
	SourceMQTokenFile string `envconfig:"KITESTREAM_SOURCE_MQ_TOKEN_FILE" roles:"up bridge" queues:"pulsar" unit:"file" desc:"file with pulsar's token, read again when it is asked for"`

	// SourceMQTLS insists on TLS with Kafka's brokers; natsmq and Pulsar say so in the URL's scheme.
	SourceMQTLS bool `envconfig:"KITESTREAM_SOURCE_MQ_TLS" roles:"up bridge" queues:"kafka" default:"false" unit:"true|false" desc:"TLS to kafka's brokers (the others: by the URL's scheme)"`

	// SourceMQCAFile says whom to trust, the system's authorities if it is empty; SourceMQCertFile and SourceMQKeyFile are a client
	// certificate with its key, both or neither. PEM.
	SourceMQCAFile   string `envconfig:"KITESTREAM_SOURCE_MQ_CA_FILE" roles:"up bridge" unit:"file" desc:"PEM of the authorities to trust in TLS; empty: the system's"`
	SourceMQCertFile string `envconfig:"KITESTREAM_SOURCE_MQ_CERT_FILE" roles:"up bridge" unit:"file" desc:"PEM of a client certificate"`
	SourceMQKeyFile  string `envconfig:"KITESTREAM_SOURCE_MQ_KEY_FILE" roles:"up bridge" unit:"file" desc:"PEM of its key"`

	// SourceMQTenant and SourceMQNamespace are where Milvus keeps its Pulsar topics. With a wrong one every channel is waited for.
	SourceMQTenant    string `envconfig:"KITESTREAM_SOURCE_MQ_TENANT" roles:"up bridge" queues:"pulsar" default:"public" unit:"name" desc:"Milvus's pulsar.tenant"`
	SourceMQNamespace string `envconfig:"KITESTREAM_SOURCE_MQ_NAMESPACE" roles:"up bridge" queues:"pulsar" default:"default" unit:"name" desc:"Milvus's pulsar.namespace"`

	// SourceMQAnchor keeps a subscription on each channel, so that Pulsar holds what a task has not read, whatever its
	// retention. What it holds counts against the backlog quota: when that is full, Milvus can't write. So it is for clusters
	// without retention, and for tasks that are deleted when nobody reads them any more.
	SourceMQAnchor bool `envconfig:"KITESTREAM_SOURCE_MQ_ANCHOR" roles:"up bridge" queues:"pulsar" default:"false" unit:"true|false" desc:"hold unread messages by a subscription, for a Pulsar without retention; see README"`

	// SourceMQAdminURL is Pulsar's admin API, asked for the size of what the anchors hold and for the quota, which a warning comes
	// before. Nothing else needs it.
	SourceMQAdminURL string `envconfig:"KITESTREAM_SOURCE_MQ_ADMIN_URL" roles:"up bridge" queues:"pulsar" unit:"URL" desc:"pulsar's admin API, http://host:8080, to watch what the anchors hold; may be empty"`

	// SourceMilvusURI is the source's own API. Bridges copy rows through it, and workers compare targets with it: those that
	// have it serve 'kitestream verify'. Without it they do neither.
	SourceMilvusURI string `envconfig:"KITESTREAM_SOURCE_MILVUS_URI" roles:"up bridge worker" unit:"URI" desc:"the source's API, http://host:port, for copies and verification; empty: none"`

	// SourceMilvusToken logs in there: "user:password" or an API key. It is never logged.
	SourceMilvusToken Secret `envconfig:"KITESTREAM_SOURCE_MILVUS_TOKEN" roles:"up bridge worker" unit:"user:password" desc:"login for the source's API; may be empty"`

	// SourceMilvusTokenFile holds it. It is read whenever a connection is made. At most one of the two.
	SourceMilvusTokenFile string `envconfig:"KITESTREAM_SOURCE_MILVUS_TOKEN_FILE" roles:"up bridge worker" unit:"file" desc:"file with the login for the source's API"`

	// SecretKeyFile holds the key that seals users' passwords on the stream, 32 bytes in base64. Bridges and workers need the
	// same one. Without it passwords that a source tells of are not published. It is read at the start.
	SecretKeyFile string `envconfig:"KITESTREAM_SECRET_KEY_FILE" roles:"up bridge worker" unit:"file" desc:"key that seals users' passwords ('openssl rand -base64 32'), the same for bridges and workers; empty: passwords are not carried"`

	// MetricsAddr is where /metrics, /healthz and /readyz are. Empty: nowhere. Port 0 takes a free one. A port in use is
	// an error at the start, so several processes on one machine need one each.
	MetricsAddr string `envconfig:"KITESTREAM_METRICS_ADDR" roles:"up bridge worker control" default:"127.0.0.1:9464" unit:"host:port" desc:"where /metrics, /healthz and /readyz are served; empty: off"`

	// LeaseTTL is for how long a bridge or a lane stays without a holder when its process dies: whole seconds, 1s to
	// 60s, the same in every process. Short ones move for a hiccup of the network, long ones delay what the dead one
	// held; every write to a target has to fit in.
	LeaseTTL time.Duration `envconfig:"KITESTREAM_LEASE_TTL" roles:"up bridge worker control" default:"3s" unit:"duration" desc:"how long a dead process's work waits until another takes it: whole seconds, 1s to 60s, the same everywhere"`

	// LogLevel is the least level that is logged. debug says something for each batch.
	LogLevel slog.Level `envconfig:"KITESTREAM_LOG_LEVEL" roles:"all" default:"info" unit:"debug|info|warn|error" desc:"what is logged, to stderr"`

	// LogFormat is how.
	LogFormat string `envconfig:"KITESTREAM_LOG_FORMAT" roles:"up bridge worker control" default:"text" unit:"text|json" desc:"how it is logged"`
}

// Secret is a text that formats as three stars, so that it can't get into a log by accident.
type Secret string

// String hides the text.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// LogValue hides the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Load fills a Config from the environment; names are the variables that are set, as of os.Environ. The error joins
// every problem: values that can't be read, variables that don't exist, and what Validate finds for the role.
func Load(role Role, environ []string) (Config, error) {
	c, err := read()
	return c, errors.Join(err, unknown(environ), c.Validate(role))
}

// Default is the configuration of an empty environment. Some settings have no default and are required (Validate).
func Default() Config {
	var c Config
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		_ = fill(v.Field(i), reflect.StructTag(fmt.Sprintf(`envconfig:"=" default:%q`, f.Tag.Get("default")))) // a test reads each; "=" can't be set
	}
	return c
}

// read takes the variables one by one, for envconfig stops at the first bad one. One that can't be read keeps its
// default, so that it does not cause a second problem.
func read() (Config, error) {
	c := Default()
	v := reflect.ValueOf(&c).Elem()
	var errs []error
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if err := fill(v.Field(i), f.Tag); err != nil {
			errs = append(errs, &VariableError{Variable: f.Tag.Get("envconfig"), Message: unreadable(f, err)})
		}
	}
	return c, errors.Join(errs...)
}

// fill sets one field as the tag says.
func fill(field reflect.Value, tag reflect.StructTag) error {
	one := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "Value", Type: field.Type(), Tag: tag}}))
	if err := envconfig.Process("", one.Interface()); err != nil {
		return err
	}
	field.Set(one.Elem().Field(0))
	return nil
}

func unreadable(f reflect.StructField, err error) string {
	var parse *envconfig.ParseError
	if errors.As(err, &parse) {
		return fmt.Sprintf("%q is no %s: %v", parse.Value, f.Tag.Get("unit"), parse.Err)
	}
	return err.Error()
}
