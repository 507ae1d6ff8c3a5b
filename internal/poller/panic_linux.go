package poller

import (
	"errors"
	"runtime/debug"
)

// errPanicked is why a connection has ended whose handler has panicked.
var errPanicked = errors.New("poller: the handler has panicked")

// call calls the handler.
func (c *Conn) call(f func()) {
	defer c.caught()
	f()
}

func (c *Conn) data(p []byte) {
	defer c.caught()
	c.handler.Data(c, p)
}

func (c *Conn) halfClosed() (goOn bool) {
	defer c.caught()
	return c.handler.HalfClosed(c)
}

// caught is deferred: a panic resets the connection, and others go on.
func (c *Conn) caught() {
	if c.limits == nil || c.limits.Panicked == nil {
		return
	}
	if v := recover(); v != nil {
		c.limits.Panicked(v, debug.Stack())
		c.mu.Lock()
		defer c.mu.Unlock()
		c.abort(errPanicked)
	}
}
