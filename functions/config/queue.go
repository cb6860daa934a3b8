package config

import (
	"errors"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/natsmq"
	"kitestream/bridge/mq/pulsar"
)

// The kinds of queue that a source may have.
const (
	NATSMQ = "natsmq"
	Pulsar = "pulsar"
	Kafka  = "kafka"
)

// NATSMQConfig is how Milvus's embedded queue is read.
func (c Config) NATSMQConfig() natsmq.Config {
	q := natsmq.DefaultConfig()
	q.URL, q.User, q.Password, q.Token = c.SourceMQURL, c.SourceMQUser, string(c.SourceMQPassword), string(c.SourceMQToken)
	q.CAFile, q.CertFile, q.KeyFile = c.SourceMQCAFile, c.SourceMQCertFile, c.SourceMQKeyFile
	return q
}

// PulsarConfig is how a source's Pulsar is read.
func (c Config) PulsarConfig() pulsar.Config {
	q := pulsar.DefaultConfig()
	q.URL, q.Tenant, q.Namespace = c.SourceMQURL, c.SourceMQTenant, c.SourceMQNamespace
	q.Token, q.TokenFile = string(c.SourceMQToken), c.SourceMQTokenFile
	q.Anchor, q.AdminURL = c.SourceMQAnchor, c.SourceMQAdminURL
	q.CAFile, q.CertFile, q.KeyFile = c.SourceMQCAFile, c.SourceMQCertFile, c.SourceMQKeyFile
	return q
}

// KafkaConfig is how a source's Kafka is read.
func (c Config) KafkaConfig() kafka.Config {
	q := kafka.DefaultConfig()
	q.Brokers, q.User, q.Password, q.Mechanism = c.SourceMQURL, c.SourceMQUser, string(c.SourceMQPassword), c.SourceMQMechanism
	q.TLS, q.CAFile, q.CertFile, q.KeyFile = c.SourceMQTLS, c.SourceMQCAFile, c.SourceMQCertFile, c.SourceMQKeyFile
	return q
}

const (
	variableMQ    = "KITESTREAM_SOURCE_MQ"
	variableMQURL = "KITESTREAM_SOURCE_MQ_URL"
)

// reader is the configuration of the source's kind of queue; nil: there is no such kind.
func (c Config) reader() interface{ Validate() error } {
	switch c.SourceMQ {
	case NATSMQ:
		return c.NATSMQConfig()
	case Pulsar:
		return c.PulsarConfig()
	case Kafka:
		return c.KafkaConfig()
	}
	return nil
}

// queue checks the settings of the source's queue as its reader does, and what it needs beside that.
func (v *validation) queue(c Config) {
	q := c.reader()
	if q == nil {
		v.bad(variableMQ, "%q, want natsmq, pulsar or kafka", c.SourceMQ)
		return
	}
	v.unusedBy(c)
	if c.SourceMQURL == "" {
		v.bad(variableMQURL, "must be set: where the source's queue listens; see --help")
		return
	}
	v.reader(q.Validate())
	if c.SourceMQ == NATSMQ {
		v.ownServer(c)
	}
}

// unusedBy refuses what is set and means nothing to this kind of queue: who sets it expects something of it.
func (v *validation) unusedBy(c Config) {
	set, none := reflect.ValueOf(c), reflect.ValueOf(Default())
	for f := range fields() {
		kinds := strings.Fields(f.Tag.Get("queues"))
		if len(kinds) > 0 && !slices.Contains(kinds, c.SourceMQ) && !set.FieldByIndex(f.Index).Equal(none.FieldByIndex(f.Index)) {
			v.bad(f.Tag.Get("envconfig"), "is of no use to %s, only to %s", c.SourceMQ, strings.Join(kinds, " and "))
		}
	}
}

// readerVariable is the variable that fills a field of a reader's configuration.
func readerVariable(field string) string {
	switch field {
	case "URL", "Brokers":
		return variableMQURL
	case "TokenFile":
		return variableMQ + "_TOKEN_FILE"
	case "AdminURL":
		return variableMQ + "_ADMIN_URL"
	case "CAFile":
		return variableMQ + "_CA_FILE"
	case "CertFile":
		return variableMQ + "_CERT_FILE"
	case "KeyFile":
		return variableMQ + "_KEY_FILE"
	}
	return variableMQ + "_" + strings.ToUpper(field)
}

// reader takes over a reader's problems, each of which begins with the fields concerned.
func (v *validation) reader(err error) {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return
	}
	for _, problem := range joined.Unwrap() {
		names, message, ok := strings.Cut(problem.Error(), ": ")
		variable := readerVariable(strings.Split(names, ", ")[0])
		if !ok || fieldOf(variable).Name == "" {
			variable, message = variableMQ, problem.Error()
		}
		v.bad(variable, "%s", message)
	}
}

// ownServer sees that the source's queue is not the NATS that carries the stream: a Milvus that finds its own address
// taken, or a bridge that reads its own output, is hard to understand from the outside.
func (v *validation) ownServer(c Config) {
	if v.role == Up && c.NATSURL == "" && !strings.HasSuffix(c.NATSListen, ":0") && hostOf(c.SourceMQURL) == c.NATSListen {
		v.bad("KITESTREAM_NATS_LISTEN", "%s is the source's queue; this server needs an address of its own", c.NATSListen)
	}
	if c.NATSURL != "" && hostOf(c.SourceMQURL) == hostOf(c.NATSURL) {
		v.bad(variableMQURL, "is the same server as KITESTREAM_NATS_URL; the stream must not be kept in the source's own queue")
	}
}

// hostOf is the host and port of a URL, "" where there is none.
func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Host
}
