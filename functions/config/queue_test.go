package config_test

import (
	"testing"

	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/natsmq"
	"kitestream/bridge/mq/pulsar"
	"kitestream/functions/config"
)

// Every setting of the source's queue arrives at the reader of its kind.
func TestQueueSettingsReachTheirReader(t *testing.T) {
	c := config.Default()
	c.SourceMQURL, c.SourceMQUser, c.SourceMQPassword, c.SourceMQToken, c.SourceMQTokenFile = "url", "user", "password", "token", "token-file"
	c.SourceMQMechanism, c.SourceMQTLS, c.SourceMQCAFile, c.SourceMQCertFile, c.SourceMQKeyFile = "SCRAM-SHA-256", true, "ca", "cert", "key"
	c.SourceMQTenant, c.SourceMQNamespace, c.SourceMQAnchor, c.SourceMQAdminURL = "tenant", "namespace", true, "admin"

	n := natsmq.DefaultConfig()
	n.URL, n.User, n.Password, n.Token, n.CAFile, n.CertFile, n.KeyFile = "url", "user", "password", "token", "ca", "cert", "key"
	if got := c.NATSMQConfig(); got != n {
		t.Errorf("natsmq: %+v, want %+v", got, n)
	}
	p := pulsar.DefaultConfig()
	p.URL, p.Tenant, p.Namespace, p.Token, p.TokenFile, p.CAFile, p.CertFile, p.KeyFile = "url", "tenant", "namespace", "token", "token-file", "ca", "cert", "key"
	p.Anchor, p.AdminURL = true, "admin"
	if got := c.PulsarConfig(); got != p {
		t.Errorf("pulsar: %+v, want %+v", got, p)
	}
	k := kafka.DefaultConfig()
	k.Brokers, k.User, k.Password, k.Mechanism, k.TLS, k.CAFile, k.CertFile, k.KeyFile = "url", "user", "password", "SCRAM-SHA-256", true, "ca", "cert", "key"
	if got := c.KafkaConfig(); got != k {
		t.Errorf("kafka: %+v, want %+v", got, k)
	}
}

// A file that a reader can't use is a problem of the setting that names it.
func TestQueueFilesAreLookedAt(t *testing.T) {
	env := good()
	env["KITESTREAM_SOURCE_MQ"], env["KITESTREAM_SOURCE_MQ_URL"] = "pulsar", "pulsar+ssl://x:6651"
	env["KITESTREAM_SOURCE_MQ_CA_FILE"] = "/no/such/file"
	_, err := load(t, config.Bridge, env)
	if got := variables(err); len(got) != 1 || got[0] != "SOURCE_MQ_CA_FILE" {
		t.Errorf("problems with %v: %v", got, err)
	}
}
