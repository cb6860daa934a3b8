// Command milvus runs the real servers of tests by hand and for the Makefile:
//
//	milvus fetch                               install Milvus, Milvus Lite, Pulsar and Kafka, once
//	milvus start [-mq KIND] [-set K=V]... DIR  start a Milvus that stays, with its data in DIR; prints its addresses
//	milvus stop DIR                            stop it
//	milvus with [-roles LIST] COMMAND...       run a command with shared servers, and stop them
//
// KIND is natsmq, rocksmq, pulsar or kafka; the broker of the latter two runs in DIR too. LIST is some of SOURCE,
// TARGET, TARGET2, LITE, PULSAR, KAFKA, SOURCE_PULSAR and SOURCE_KAFKA, by default the first three, or "all".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"kitestream/test/servers"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	cancel()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(max(1, exit.ExitCode()))
	case err != nil:
		fmt.Fprintln(os.Stderr, "milvus:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "fetch":
		return errors.Join(servers.Fetch(ctx), servers.FetchLite(ctx), servers.FetchBrokers(ctx))
	case len(args) >= 2 && args[0] == "start":
		return start(ctx, args[1:])
	case len(args) == 2 && args[0] == "stop":
		return stop(args[1])
	case len(args) >= 2 && args[0] == "with":
		return with(ctx, args[1:])
	}
	return errors.New("want fetch, start [-mq KIND] [-set KEY=VALUE] DIR, stop DIR, or with [-roles LIST] COMMAND")
}

func start(ctx context.Context, args []string) error {
	c := servers.MilvusConfig{Set: map[string]string{}, Detached: true}
	f := flag.NewFlagSet("milvus start", flag.ContinueOnError)
	f.StringVar(&c.MQ, "mq", servers.NATSMQ, "`kind` of message queue: natsmq, rocksmq, pulsar or kafka")
	f.Func("set", "a setting of milvus.yaml, as `path.to.key=value`", func(s string) error {
		k, v, _ := strings.Cut(s, "=")
		c.Set[k] = v
		return nil
	})
	if err := f.Parse(args); err != nil {
		return err
	}
	c.Dir = f.Arg(0)
	broker, err := startBroker(ctx, c.MQ, brokerDir(c.Dir))
	if err != nil {
		return err
	}
	c.Broker = broker
	m, err := servers.StartMilvus(ctx, c)
	if err != nil {
		return errors.Join(err, stopBroker(c.Dir))
	}
	fmt.Printf("pid %d\nmilvus %s\netcd %s\nmetrics %s\nqueue %s\n", m.Pid, m.URI, m.EtcdEndpoint, m.MetricsAddr, m.MQURL)
	return m.Detach()
}

func brokerDir(dir string) string { return filepath.Join(dir, "broker") }

// startBroker starts what the kind of queue needs, if anything.
func startBroker(ctx context.Context, mq, dir string) (servers.Broker, error) {
	switch mq {
	case servers.PulsarMQ:
		p, err := servers.StartPulsar(ctx, servers.PulsarConfig{Dir: dir, Detached: true})
		if err != nil {
			return nil, err
		}
		return p, p.Detach()
	case servers.KafkaMQ:
		k, err := servers.StartKafka(ctx, servers.KafkaConfig{Dir: dir, Detached: true})
		if err != nil {
			return nil, err
		}
		return k, k.Detach()
	}
	return nil, nil
}

func stop(dir string) error {
	m, err := servers.Open(dir)
	if err == nil {
		err = m.Stop()
	}
	return errors.Join(err, stopBroker(dir))
}

// stopBroker stops the broker of a Milvus's folder, if one runs there.
func stopBroker(dir string) error {
	if p, err := servers.OpenPulsar(brokerDir(dir)); err == nil {
		return p.Stop()
	}
	if k, err := servers.OpenKafka(brokerDir(dir)); err == nil {
		return k.Stop()
	}
	return nil
}

func with(ctx context.Context, args []string) error {
	roles := []servers.Role{servers.RoleSource, servers.RoleTarget, servers.RoleTarget2}
	f := flag.NewFlagSet("milvus with", flag.ContinueOnError)
	f.Func("roles", "the servers to start, separated by commas, or `all`", func(s string) error {
		if roles = servers.Roles(); s == "all" {
			return nil
		}
		roles = nil
		for r := range strings.SplitSeq(s, ",") {
			roles = append(roles, servers.Role(r))
		}
		return nil
	})
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() == 0 {
		return errors.New("with: want a command")
	}
	return servers.With(ctx, roles, f.Args())
}
