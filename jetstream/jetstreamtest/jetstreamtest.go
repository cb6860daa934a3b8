// Package jetstreamtest runs a real nats-server inside the test: JetStream on disk in the test's own folder, on a free
// port of the loopback, gone when the test ends. Restart and Cut break it on purpose.
package jetstreamtest

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// patience is how long a server may take to come up before the test fails.
const patience = 20 * time.Second

// Server is one nats-server, alone or of a Cluster. Its methods are for the test's own goroutine.
type Server struct {
	t    testing.TB
	opts *server.Options
	srv  *server.Server // nil while stopped
}

// Run starts a server. Each change may alter its options before the start, say the max payload.
func Run(t testing.TB, change ...func(*server.Options)) *Server {
	t.Helper()
	s := &Server{t: t, opts: &server.Options{
		ServerName: "jetstreamtest", Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 20 << 30, JetStreamMaxMemory: 1 << 30,
		NoLog: true, NoSigs: true,
	}}
	for _, c := range change {
		c(s.opts)
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts a stopped server again: same port, same store.
func (s *Server) Start() {
	s.t.Helper()
	srv, err := server.NewServer(s.opts.Clone())
	if err != nil {
		s.t.Fatalf("make nats-server: %v", err)
	}
	srv.Start()
	s.srv = srv
	if !srv.ReadyForConnections(patience) {
		s.t.Fatalf("nats-server is not ready after %v", patience)
	}
	if s.opts.Port == server.RANDOM_PORT {
		s.opts.Port = s.port()
	}
}

// Stop shuts the server down and waits for it; its store stays. A stopped server may be stopped again.
func (s *Server) Stop() {
	if s.srv == nil {
		return
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	s.srv = nil
}

// Restart is Stop and Start.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// URL is where clients connect. It stays the same over restarts.
func (s *Server) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.opts.Port) }

// StoreDir is the folder that holds the server's JetStream store.
func (s *Server) StoreDir() string { return s.opts.StoreDir }

// Cut closes the connection of every client from the server's side.
func (s *Server) Cut() {
	s.t.Helper()
	conns, err := s.srv.Connz(nil)
	if err != nil {
		s.t.Fatalf("list connections: %v", err)
	}
	for _, c := range conns.Conns {
		_ = s.srv.DisconnectClientByID(c.Cid) // one that has just gone by itself is as good
	}
}

// Conn is a client that reconnects for ever and at once, closed when the test ends.
func (s *Server) Conn(options ...nats.Option) *nats.Conn {
	s.t.Helper()
	return connect(s.t, s.URL(), options)
}

func connect(t testing.TB, url string, options []nats.Option) *nats.Conn {
	t.Helper()
	options = append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.Timeout(patience),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // else each broken connection is told on stderr
	}, options...)
	nc, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatalf("connect to nats-server: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// JetStream is JetStream over a Conn of its own.
func (s *Server) JetStream(options ...nats.Option) natsjs.JetStream {
	s.t.Helper()
	return open(s.t, s.Conn(options...))
}

func open(t testing.TB, nc *nats.Conn) natsjs.JetStream {
	t.Helper()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatalf("open JetStream: %v", err)
	}
	return js
}

func (s *Server) port() int {
	s.t.Helper()
	u, err := url.Parse(s.srv.ClientURL())
	if err != nil {
		s.t.Fatalf("parse the server's address: %v", err)
	}
	_, p, err := net.SplitHostPort(u.Host)
	if err != nil {
		s.t.Fatalf("parse the server's address: %v", err)
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		s.t.Fatalf("parse the server's port: %v", err)
	}
	return n
}
