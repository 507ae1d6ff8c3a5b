package view

import (
	"net"
	"net/http"
	"sync"

	"github.com/duplexhq/duplex/internal/poller"
)

// A Lease is how the HTTP server hears of a connection that the handler has
// taken from it. Return or Over is called, once. Neither may block.
type Lease interface {
	// Return gives the connection back: the answer was sent, and the next
	// request has begun to arrive. What was read of it, conn gives first. sent
	// is how many bytes the answer had.
	Return(conn net.Conn, sent int64)
	// Over says that the connection has ended, and how many bytes were sent on
	// it.
	Over(sent int64)
}

// noLease is for connections of which nobody wants to hear again.
type noLease struct{}

func (noLease) Return(conn net.Conn, _ int64) { conn.Close() }
func (noLease) Over(int64)                    {}

// lease asks for the connection of a request. It is nil if it cannot be had.
func (h *Handler) lease(w http.ResponseWriter, r *http.Request) (net.Conn, Lease) {
	if h.opts.Take == nil || r.ProtoMajor != 1 {
		return nil, noLease{}
	}
	return h.opts.Take(w, r)
}

// connections are those that the handler has taken from net/http, whose
// Shutdown does not know them any more.
type connections struct {
	mu       sync.Mutex
	open     int                       // guarded by mu
	resting  map[*poller.Conn]struct{} // those between two requests; guarded by mu
	draining bool                      // guarded by mu
	gone     chan struct{}             // closed when draining and none is open
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

// rest notes that a connection waits for its next request, unless the server
// is stopping.
func (c *connections) rest(conn *poller.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return false
	}
	if c.resting == nil {
		c.resting = make(map[*poller.Conn]struct{})
	}
	c.resting[conn] = struct{}{}
	return true
}

// wake is for a connection that rests no more.
func (c *connections) wake(conn *poller.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.resting, conn)
}

// count is how many there are.
func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// drain lets nobody enter any more, and closes those that rest. The channel is
// closed when all have left.
func (c *connections) drain() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining {
		c.draining = true
		c.gone = make(chan struct{})
		if c.open == 0 {
			close(c.gone)
		}
		for conn := range c.resting {
			conn.Close()
		}
	}
	return c.gone
}
