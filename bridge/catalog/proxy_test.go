//go:build servers

package catalog_test

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between a catalogue and a real etcd, so that a test can take etcd away or put another in its place.
type proxy struct {
	addr string

	mu    sync.Mutex // guards all below
	to    string     // empty: nobody is there
	conns map[net.Conn]struct{}
}

// newProxy listens on a port of its own; with a TLS config it speaks TLS to the client and plain to etcd.
func newProxy(t *testing.T, to string, conf *tls.Config) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), to: to, conns: map[net.Conn]struct{}{}}
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.point("")
		wg.Wait()
	})
	return p
}

// point sends new connections elsewhere, and cuts those that are there.
func (p *proxy) point(to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	to := p.to
	p.mu.Unlock()
	if to == "" {
		return
	}
	s, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer s.Close()
	p.mu.Lock()
	if p.to != to {
		p.mu.Unlock()
		return
	}
	p.conns[c], p.conns[s] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(s, c); s.Close() })
	wg.Go(func() { _, _ = io.Copy(c, s); c.Close() })
	wg.Wait()
}
