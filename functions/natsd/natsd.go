package natsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// maxPayload leaves room for Milvus's largest messages. Above it NATS advises against.
	maxPayload = 8 << 20
	// readyLook is how often Start looks whether the server is ready, and readyMost for how long. A store of many
	// gigabytes takes its time after a crash.
	readyLook = 20 * time.Millisecond
	readyMost = 2 * time.Minute
)

// Server is a running NATS server.
type Server struct {
	srv  *server.Server
	lock *os.File // held for as long as the store is ours
}

// Start runs a server that listens on host:port (port 0: a free one) and keeps its store below dir, which is made if it
// is not there. One folder is for one server at a time: a second one is refused.
func Start(ctx context.Context, listen, dir string, log *slog.Logger) (*Server, error) {
	opts, err := options(listen, dir)
	if err != nil {
		return nil, fmt.Errorf("start NATS server: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start NATS server: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("start NATS server: %w", err)
	}
	s := &Server{lock: lock}
	if s.srv, err = server.NewServer(opts); err != nil {
		return nil, errors.Join(fmt.Errorf("start NATS server: %w", err), lock.Close())
	}
	l := &logger{log: log, fatal: make(chan string, 1)}
	s.srv.SetLoggerV2(l, false, false, false)
	s.srv.Start()
	if err := s.await(ctx, l.fatal, listen); err != nil {
		s.Stop()
		return nil, fmt.Errorf("start NATS server: %w", err)
	}
	return s, nil
}

func options(listen, dir string) (*server.Options, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("port %q is no number", port)
	}
	if n == 0 {
		n = server.RANDOM_PORT
	}
	return &server.Options{
		ServerName: "kitestream", Host: host, Port: n, MaxPayload: maxPayload,
		JetStream: true, StoreDir: filepath.Join(dir, "nats"),
		NoSigs: true, NoLog: false,
	}, nil
}

// await returns when the server takes clients, or why it can't.
func (s *Server) await(ctx context.Context, fatal <-chan string, listen string) error {
	deadline := time.NewTimer(readyMost)
	defer deadline.Stop()
	look := time.NewTicker(readyLook)
	defer look.Stop()
	for !s.srv.ReadyForConnections(time.Millisecond) {
		select {
		case why := <-fatal:
			return fmt.Errorf("listen on %s: %s", listen, why)
		case <-look.C:
		case <-deadline.C:
			return fmt.Errorf("not ready after %v", readyMost)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// URL is where clients connect.
func (s *Server) URL() string { return s.srv.ClientURL() }

// InProcess has a client of this process connect without a socket.
func (s *Server) InProcess() nats.Option { return nats.InProcessServer(s.srv) }

// Stop ends the server and returns when its store is closed.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	_ = s.lock.Close() // the lock ends with the file
}

// logger hands on what the server has to say.
type logger struct {
	log   *slog.Logger
	fatal chan string // the first thing that it can't go on after
}

// Noticef is for what a server of its own would print when it starts.
func (l *logger) Noticef(format string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(format, v...)) }

// Warnf is part of server.Logger.
func (l *logger) Warnf(format string, v ...any) { l.log.Warn("nats: " + fmt.Sprintf(format, v...)) }

// Errorf is part of server.Logger.
func (l *logger) Errorf(format string, v ...any) { l.log.Error("nats: " + fmt.Sprintf(format, v...)) }

// Debugf is part of server.Logger; the server is told not to call it.
func (l *logger) Debugf(string, ...any) {}

// Tracef is part of server.Logger; the server is told not to call it.
func (l *logger) Tracef(string, ...any) {}

// Fatalf must not end the process, which has other things to put in order.
func (l *logger) Fatalf(format string, v ...any) {
	why := fmt.Sprintf(format, v...)
	l.log.Error("nats: " + why)
	select {
	case l.fatal <- why:
	default:
	}
}
