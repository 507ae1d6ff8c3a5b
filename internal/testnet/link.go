package testnet

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// A link is a connection as a whole: two ends, and the path between them.
type link struct {
	network        *Network
	client, server *conn
	broken         atomic.Bool // by a cut
}

// newLink joins a client, which gets an address of its own, to a server, and
// starts the path, if there is one.
func newLink(n *Network, server net.Addr, number int, path Path) *link {
	l := &link{network: n}
	client := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1024 + number%60000} // RFC 5737 §3: for documentation
	near, far := net.Pipe()
	l.client = &conn{Conn: near, link: l, local: client, remote: server}
	if path != nil {
		entrance := far
		var exit net.Conn
		exit, far = net.Pipe()
		// Ends with the path. Joined by the end of the test.
		n.paths.Go(func() {
			defer entrance.Close()
			defer exit.Close()
			path(entrance, exit)
		})
	}
	l.server = &conn{Conn: far, link: l, local: server, remote: client}
	return l
}

// cut breaks both ends, from which a path sees that it is over.
func (l *link) cut() {
	l.broken.Store(true)
	l.client.Conn.Close()
	l.server.Conn.Close()
	l.network.forget(l)
}

// A conn is one end of a link. Its errors are those of a socket.
type conn struct {
	net.Conn      // of net.Pipe
	link          *link
	local, remote net.Addr
	closed        atomic.Bool // by Close
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.failed("read", err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.failed("write", err)
}

func (c *conn) failed(op string, err error) error {
	broken := c.link.broken.Load()
	switch {
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded), err == io.EOF && !broken:
		return err
	case c.closed.Load():
		err = net.ErrClosed
	case broken:
		err = syscall.ECONNRESET
	default:
		err = syscall.EPIPE // the other end is closed
	}
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// Close lets the other end read to the end.
func (c *conn) Close() error {
	c.closed.Store(true)
	if l := c.link; l.client.closed.Load() && l.server.closed.Load() {
		l.network.forget(l)
	}
	return c.Conn.Close()
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }
