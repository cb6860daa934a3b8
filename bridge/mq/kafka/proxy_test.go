//go:build servers

package kafka_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kitestream/test/servers"
)

// proxy stands between the reader and the broker: it counts, cuts, and can lose what passes without a word.
type proxy struct {
	addr  string
	to    string
	l     net.Listener
	bytes atomic.Int64 // sent on to clients
	wg    sync.WaitGroup

	mu    sync.Mutex
	pairs []*pair
}

// pair is a connection and its continuation.
type pair struct {
	client, server net.Conn
	frozen         atomic.Bool
}

func newProxy(t testing.TB, at servers.Proxy) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", at.Listen)
	must(t, err)
	p := &proxy{addr: at.Listen, to: at.Upstream, l: l}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		c := &pair{client: client, server: server}
		p.mu.Lock()
		p.pairs = append(p.pairs, c)
		p.mu.Unlock()
		p.wg.Go(func() { c.copy(server, client, nil) })
		p.wg.Go(func() { c.copy(client, server, &p.bytes) })
	}
}

// copy passes bytes on until one side ends, or swallows them once the connection is frozen.
func (c *pair) copy(to, from net.Conn, count *atomic.Int64) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !c.frozen.Load() {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
			if count != nil {
				count.Add(int64(n))
			}
		}
		if err != nil {
			if !c.frozen.Load() {
				_ = to.Close()
			}
			return
		}
	}
}

func (p *proxy) received() int { return int(p.bytes.Load()) }

// freeze swallows, from now on, whatever is sent over the connections that there are. New ones work.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.pairs {
		c.frozen.Store(true)
	}
}

// cut ends the connections that there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.pairs {
		_ = c.client.Close()
		_ = c.server.Close()
	}
	p.pairs = nil
}

// settles returns when nothing has passed for a while.
func (p *proxy) settles(t testing.TB) {
	t.Helper()
	last, since := p.received(), time.Now()
	for time.Since(since) < 700*time.Millisecond {
		if now := p.received(); now != last {
			last, since = now, time.Now()
		}
		<-time.After(20 * time.Millisecond)
	}
}
