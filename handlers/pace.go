package handlers

import "sync"

// pace is how many rows a call carries. It is halved when a call times out, because what did not get through in one
// piece may in two, and grows again with each call that succeeds.
type pace struct {
	most int

	mu   sync.Mutex
	rows int
}

func newPace(most int) *pace { return &pace{most: most, rows: most} }

// now is how many rows the next call may carry.
func (p *pace) now() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rows
}

// slower is told that a call with n rows timed out.
func (p *pace) slower(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows = max(1, min(p.rows, n/2))
}

// faster is told that a call with n rows succeeded.
func (p *pace) faster(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n >= p.rows {
		p.rows = min(p.most, p.rows+max(1, p.rows/4))
	}
}
