//go:build servers

package pulsar_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kitestream/test/servers"
)

// proxy stands between the reader and the server: it counts, and it can lose what passes without a word.
type proxy struct {
	l       net.Listener
	listen  string
	to      string
	wg      sync.WaitGroup
	bytes   atomic.Int64 // sent on to clients
	mu      sync.Mutex
	current []*atomic.Bool // of the connections so far: true once frozen
	conns   []net.Conn
}

// newProxy listens where the broker sends clients that came this way.
func newProxy(t testing.TB, way servers.Proxy) *proxy {
	t.Helper()
	p := &proxy{listen: way.Listen, to: way.Upstream}
	p.up(t)
	t.Cleanup(func() {
		p.down()
		p.wg.Wait()
	})
	return p
}

// up takes connections.
func (p *proxy) up(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", p.listen)
	must(t, err)
	p.l = l
	wg := &p.wg
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.to)
			if err != nil {
				_ = client.Close()
				continue
			}
			frozen := p.add(client, server)
			wg.Go(func() { p.copy(server, client, frozen, nil) })
			wg.Go(func() { p.copy(client, server, frozen, &p.bytes) })
		}
	})
}

// cut ends the connections that there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// down takes no connections any more.
func (p *proxy) down() {
	_ = p.l.Close()
	p.cut()
}

func (p *proxy) add(conns ...net.Conn) *atomic.Bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	frozen := new(atomic.Bool)
	p.current = append(p.current, frozen)
	p.conns = append(p.conns, conns...)
	return frozen
}

// copy passes bytes on until one side ends, or swallows them once the connection is frozen.
func (p *proxy) copy(to, from net.Conn, frozen *atomic.Bool, count *atomic.Int64) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !frozen.Load() {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
			if count != nil {
				count.Add(int64(n))
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) && !frozen.Load() {
				_ = to.Close()
			}
			return
		}
	}
}

func (p *proxy) url() string { return "pulsar://" + p.listen }

func (p *proxy) received() int { return int(p.bytes.Load()) }

// freeze swallows, from now on, whatever is sent over the connections that there are. New ones work.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.current {
		f.Store(true)
	}
}

// settles returns when nothing has passed for a while.
func (p *proxy) settles(t testing.TB) {
	t.Helper()
	last, since := p.received(), time.Now()
	for time.Since(since) < 700*time.Millisecond {
		if now := p.received(); now != last {
			last, since = now, time.Now()
		}
		time.Sleep(20 * time.Millisecond)
	}
}
