package kafka

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

// ConnectAsBefore28 is Connect with a client that uses no newer request than a broker before Kafka 2.8 understands,
// where topics have no ids.
func ConnectAsBefore28(cfg Config, log *slog.Logger) (*Queue, error) {
	return connect(cfg, log, kgo.MaxVersions(kversion.V2_4_0()))
}

// ConnectWithoutIDs is Connect with a broker that knows the newest requests and yet no ids of its topics, as one in the
// middle of an upgrade from before 2.8.
func ConnectWithoutIDs(cfg Config, log *slog.Logger) (*Queue, error) {
	v := kversion.Stable()
	v.SetMaxKeyVersion(3, 9)
	return connect(cfg, log, kgo.MaxVersions(v))
}
