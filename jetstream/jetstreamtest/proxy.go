package jetstreamtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Proxy stands between clients and a server, and spoils what passes.
type Proxy struct {
	t      testing.TB
	server string
	ln     net.Listener
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	held  chan struct{} // closed when clients' bytes may pass; nil if they may
	drop  func(subject string, payload []byte) bool
}

// Proxy starts a proxy before the server. It ends with the test.
func (s *Server) Proxy() *Proxy {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatalf("listen: %v", err)
	}
	p := &Proxy{t: s.t, server: strings.TrimPrefix(s.URL(), "nats://"), ln: ln, conns: make(map[net.Conn]struct{})}
	p.wg.Go(p.accept)
	s.t.Cleanup(func() {
		_ = ln.Close()
		p.Release()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// URL is where clients connect.
func (p *Proxy) URL() string { return "nats://" + p.ln.Addr().String() }

// JetStream is JetStream over a client that goes through the proxy.
func (p *Proxy) JetStream(options ...nats.Option) natsjs.JetStream {
	p.t.Helper()
	return open(p.t, connect(p.t, p.URL(), options))
}

// Hold keeps back what clients send from now on, as a stopped process or a broken network does.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = make(chan struct{})
	}
}

// Release sends on what was kept back, in order.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

// Drop has the proxy swallow the server's messages for which fn is true; nil ends it.
func (p *Proxy) Drop(fn func(subject string, payload []byte) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop = fn
}

// Cut closes the connections, with what was kept back.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close() // the client tries again
			continue
		}
		p.add(client, server)
		p.wg.Go(func() { p.pass(client, server, p.up) })
		p.wg.Go(func() { p.pass(server, client, p.down) })
	}
}

func (p *Proxy) pass(from, to net.Conn, how func(from, to net.Conn) error) {
	_ = how(from, to) // whatever it was, both sides see an end
	_ = from.Close()
	_ = to.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, from)
}

func (p *Proxy) add(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
}

func (p *Proxy) up(client, server net.Conn) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return fmt.Errorf("read client: %w", err)
		}
		p.mu.Lock()
		held := p.held
		p.mu.Unlock()
		if held != nil {
			<-held
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return fmt.Errorf("write server: %w", err)
		}
	}
}

func (p *Proxy) down(server, client net.Conn) error {
	r := bufio.NewReaderSize(server, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("read server: %w", err)
		}
		out := line
		if bytes.HasPrefix(line, []byte("MSG ")) || bytes.HasPrefix(line, []byte("HMSG ")) {
			f := strings.Fields(string(line))
			size, err := strconv.Atoi(f[len(f)-1])
			if err != nil {
				return fmt.Errorf("parse %q: %w", line, err)
			}
			payload := make([]byte, size+2)
			if _, err := io.ReadFull(r, payload); err != nil {
				return fmt.Errorf("read server: %w", err)
			}
			if p.dropped(f[1], payload) {
				continue
			}
			out = append(line, payload...)
		}
		if _, err := client.Write(out); err != nil {
			return fmt.Errorf("write client: %w", err)
		}
	}
}

func (p *Proxy) dropped(subject string, payload []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drop != nil && p.drop(subject, payload)
}
