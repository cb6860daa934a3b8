// Command milvus runs the real Milvus servers of tests by hand and for the Makefile:
//
//	milvus fetch                               install the server, once
//	milvus start [-mq KIND] [-set K=V]... DIR  start one that stays, with its data in DIR; prints its addresses
//	milvus stop DIR                            stop it
//	milvus with COMMAND...                     run a command with the shared source and targets, and stop them
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
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
		return errors.Join(servers.Fetch(ctx), servers.FetchBrokers(ctx))
	case len(args) >= 2 && args[0] == "start":
		return start(ctx, args[1:])
	case len(args) == 2 && args[0] == "stop":
		m, err := servers.Open(args[1])
		if err != nil {
			return err
		}
		return m.Stop()
	case len(args) >= 2 && args[0] == "with":
		return servers.With(ctx, args[1:])
	}
	return errors.New("want fetch, start [-mq KIND] [-set KEY=VALUE] DIR, stop DIR, or with COMMAND")
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
	m, err := servers.StartMilvus(ctx, c)
	if err != nil {
		return err
	}
	fmt.Printf("pid %d\nmilvus %s\netcd %s\nmetrics %s\nqueue %s\n", m.Pid, m.URI, m.EtcdEndpoint, m.MetricsAddr, m.MQURL)
	return m.Detach()
}
