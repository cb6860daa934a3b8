package main

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/natsmq"
	"kitestream/bridge/mq/pulsar"
	"kitestream/functions/config"
)

// connectQueue gives the source's queue, of the kind that is configured.
func connectQueue(cfg config.Config, reg prometheus.Registerer, log *slog.Logger) (mq.Queue, error) {
	switch cfg.SourceMQ {
	case config.NATSMQ:
		return natsmq.Connect(cfg.NATSMQConfig(), log)
	case config.Pulsar:
		c := cfg.PulsarConfig()
		c.Registerer = reg
		return pulsar.Connect(c, log)
	case config.Kafka:
		return kafka.Connect(cfg.KafkaConfig(), log)
	}
	return nil, fmt.Errorf("connect to the source's queue: no such kind as %q", cfg.SourceMQ)
}
