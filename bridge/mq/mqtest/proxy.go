package mqtest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy stands between a reader and a broker: it counts, cuts, and can lose what passes without a word. It knows nothing
// of what passes.
type Proxy struct {
	Addr  string // where it listens
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

// NewProxy takes connections at one address, "127.0.0.1:0" for any port, and leads them to another. It ends with the test.
func NewProxy(t testing.TB, listen, to string) *Proxy {
	t.Helper()
	p := &Proxy{Addr: listen, to: to}
	p.Up(t)
	t.Cleanup(func() {
		p.Down()
		p.wg.Wait()
	})
	return p
}

// Up takes connections, again after Down.
func (p *Proxy) Up(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", p.Addr)
	Must(t, err)
	p.l, p.Addr = l, l.Addr().String()
	p.wg.Go(func() { p.accept(l) })
}

// Down ends the connections that there are and takes none any more.
func (p *Proxy) Down() {
	_ = p.l.Close()
	p.Cut()
}

func (p *Proxy) accept(l net.Listener) {
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

// Received is how many bytes were sent on to clients.
func (p *Proxy) Received() int { return int(p.bytes.Load()) }

// Freeze swallows, from now on, whatever is sent over the connections that there are. New ones work.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.pairs {
		c.frozen.Store(true)
	}
}

// Cut ends the connections that there are.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.pairs {
		_ = c.client.Close()
		_ = c.server.Close()
	}
	p.pairs = nil
}

// Settles returns when nothing has passed for a while.
func (p *Proxy) Settles() {
	last, since := p.Received(), time.Now()
	for time.Since(since) < 700*time.Millisecond {
		if now := p.Received(); now != last {
			last, since = now, time.Now()
		}
		<-time.After(20 * time.Millisecond)
	}
}
