package h2

import (
	"context"
	"net"

	"github.com/duplexhq/duplex/internal/poller"
)

// A polled connection is driven by internal/poller: it has no goroutine.
type polled struct {
	conn   *conn
	poller *poller.Conn
}

// poll has the poller drive a connection, if it can.
func (s *Server) poll(c *conn, nc net.Conn) bool {
	spare, err := poller.Prepare(nc)
	if err != nil {
		return false
	}
	over := s.goOn(c.ctx)
	if over == nil {
		spare.Release()
		return false
	}
	c.over = over
	// What ends with net/http's goroutine is not the connection's end any more.
	c.cancel()
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(c.ctx))
	t := &polled{conn: c}
	limits := &poller.Limits{WriteTimeout: s.options.WriteTimeout, CloseTimeout: linger}
	if t.poller, err = spare.Adopt(t, limits, nil); err != nil { // it is closed
		c.out = t
		c.start()
		c.end(err)
		return true
	}
	c.out = t
	c.start()
	if err := t.poller.Start(); err != nil {
		c.end(err)
	}
	return true
}

func (t *polled) send(out []byte) (blocked bool) {
	if t.poller == nil {
		freeOut(out)
		return true
	}
	pending, err := t.poller.WriteLent(out)
	freeOut(out)
	return pending > 0 && err == nil
}

func (t *polled) close() { t.poller.Close() }
func (t *polled) abort() { t.poller.Abort() }

// Data is the poller's, as the next ones.
func (t *polled) Data(_ *poller.Conn, p []byte) { t.conn.receive(p) }

func (t *polled) Drained(*poller.Conn) {
	t.conn.mu.Lock()
	defer t.conn.unlock()
	t.conn.drained()
}

func (*polled) Alarm(*poller.Conn) {}

// HalfClosed is the end: nobody could open a window any more.
func (*polled) HalfClosed(*poller.Conn) bool { return false }

func (t *polled) Closed(_ *poller.Conn, err error) { t.conn.end(err) }
