package view

import (
	"net"
	"net/http"
	"sync"
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
	open     int           // also those that are being taken; guarded by mu
	taken    []taken       // in no order; guarded by mu
	draining bool          // guarded by mu
	cutting  bool          // guarded by mu
	gone     chan struct{} // closed when draining and none is open
}

// taken is a connection. Its methods do not block.
type taken interface {
	goAway() // if nothing is being answered on it
	cut()
	place() *place
}

// A place is what each has for the connections: where it stands in taken, from
// 1 on; 0 if it does not. It is guarded by their mu.
type place int32

// enter counts one more, unless the server is stopping. Either leave or add
// follows.
func (c *connections) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return false
	}
	c.open++
	return true
}

// leave is for one that was not taken after all.
func (c *connections) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left()
}

// left counts one less. The caller holds mu.
func (c *connections) left() {
	c.open--
	if c.draining && c.open == 0 {
		close(c.gone)
	}
}

func (c *connections) add(t taken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = append(c.taken, t)
	*t.place() = place(len(c.taken))
	if c.cutting {
		t.cut()
	}
}

// remove is for one that has ended or was given back.
func (c *connections) remove(t taken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := t.place(); *p != 0 {
		last := len(c.taken) - 1
		c.taken[*p-1] = c.taken[last]
		*c.taken[last].place() = *p
		c.taken[last] = nil
		c.taken, *p = c.taken[:last], 0
	}
	c.left()
}

// count is how many there are.
func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// drain lets nobody enter any more, and has those go on which nothing is being
// answered. The channel is closed when all have left.
func (c *connections) drain() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining {
		c.draining = true
		c.gone = make(chan struct{})
		if c.open == 0 {
			close(c.gone)
		}
		for _, t := range c.taken {
			t.goAway()
		}
	}
	return c.gone
}

// cut ends all that are left.
func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutting = true
	for _, t := range c.taken {
		t.cut()
	}
}
