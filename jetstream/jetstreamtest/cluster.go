package jetstreamtest

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Cluster is several servers that replicate streams among them.
type Cluster struct {
	t       testing.TB
	Servers []*Server
}

// RunCluster starts n servers and waits until they have found each other.
func RunCluster(t testing.TB, n int) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	var routes []*url.URL
	ports := freePorts(t, n)
	for _, p := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", p)})
	}
	for i, p := range ports {
		c.Servers = append(c.Servers, Run(t, func(o *server.Options) {
			o.ServerName = fmt.Sprintf("s%d", i)
			o.Cluster = server.ClusterOpts{Name: "jetstreamtest", Host: "127.0.0.1", Port: p}
			o.Routes = routes
		}))
	}
	c.WaitReady()
	return c
}

// WaitReady waits until the cluster has a leader that knows all members to be up to date.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	c.wait("cluster is ready", func() bool {
		for _, s := range c.Servers {
			if s.srv != nil && s.srv.JetStreamIsLeader() && len(s.srv.JetStreamClusterPeers()) == len(c.Servers) {
				return true
			}
		}
		return false
	})
}

// Leader is the server that leads the stream, once there is one.
func (c *Cluster) Leader(stream string) *Server {
	c.t.Helper()
	var leader *Server
	c.wait("stream "+stream+" has a leader", func() bool {
		for _, s := range c.Servers {
			if s.srv != nil && s.srv.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
				leader = s
				return true
			}
		}
		return false
	})
	return leader
}

// JetStream is JetStream over a client that knows all servers.
func (c *Cluster) JetStream(options ...nats.Option) natsjs.JetStream {
	c.t.Helper()
	urls := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		urls[i] = s.URL()
	}
	return open(c.t, connect(c.t, strings.Join(urls, ","), options))
}

func (c *Cluster) wait(what string, cond func() bool) {
	c.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("after %v not yet: %s", patience, what)
		}
	}
}

func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("find a free port: %v", err)
		}
		defer func() { _ = ln.Close() }() // all at the end, so that no port is found twice
		addr, ok := ln.Addr().(*net.TCPAddr)
		if !ok {
			t.Fatalf("find a free port: %T is no TCP address", ln.Addr())
		}
		ports[i] = addr.Port
	}
	return ports
}
