package view

import "sync"

// connections counts what the handler took from net/http, whose Shutdown does
// not know it any more.
type connections struct {
	mu       sync.Mutex
	open     int           // guarded by mu
	draining bool          // guarded by mu
	gone     chan struct{} // closed when draining and none is open
}

// enter counts one more, unless the server is stopping.
func (c *connections) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return false
	}
	c.open++
	return true
}

func (c *connections) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.draining && c.open == 0 {
		close(c.gone)
	}
}

// drain lets nobody enter any more. The channel is closed when all have left.
func (c *connections) drain() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining {
		c.draining = true
		c.gone = make(chan struct{})
		if c.open == 0 {
			close(c.gone)
		}
	}
	return c.gone
}
