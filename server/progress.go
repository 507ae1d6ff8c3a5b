package server

import "sync"

// progress counts the requests that are being answered. It refuses new ones
// once the server stops.
type progress struct {
	mu       sync.Mutex
	requests int           // guarded by mu
	over     chan struct{} // guarded by mu; made by stop, closed when there are none
}

// enter counts one more, unless the server stops. If so, leave must follow.
func (p *progress) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != nil {
		return false
	}
	p.requests++
	return true
}

func (p *progress) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests--
	if p.over != nil && p.requests == 0 {
		close(p.over)
	}
}

// stop lets no more requests in. The channel is closed when the last one has
// been answered. It is called once.
func (p *progress) stop() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = make(chan struct{})
	if p.requests == 0 {
		close(p.over)
	}
	return p.over
}
