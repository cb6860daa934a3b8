package main

import (
	"fmt"
	"log/slog"

	"kitestream/bridge/mq"
	"kitestream/bridge/mq/kafka"
	"kitestream/bridge/mq/natsmq"
	"kitestream/bridge/mq/pulsar"
	"kitestream/functions/config"
)

// connectQueue gives the source's queue, of the kind that is configured.
func connectQueue(cfg config.Config, log *slog.Logger) (mq.Queue, error) {
	switch cfg.SourceMQ {
	case config.NATSMQ:
		return natsmq.Connect(cfg.NATSMQConfig(), log)
	case config.Pulsar:
		return pulsar.Connect(cfg.PulsarConfig(), log)
	case config.Kafka:
		return kafka.Connect(cfg.KafkaConfig(), log)
	}
	return nil, fmt.Errorf("connect to the source's queue: no such kind as %q", cfg.SourceMQ)
}
