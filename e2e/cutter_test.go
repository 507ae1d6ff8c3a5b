//go:build e2e

package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A cutter is a TCP proxy that can cut all connections, and counts them.
type cutter struct {
	url, addr string
	target    string
	listener  net.Listener
	serving   sync.WaitGroup

	mu       sync.Mutex // guards what follows
	accepted int
	open     map[net.Conn]bool
	closed   bool
}

func newCutter(t testing.TB, target string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{target: target, listener: l, addr: l.Addr().String(), url: "http://" + l.Addr().String(), open: make(map[net.Conn]bool)}
	// Ends with the listener. Joined by the cleanup.
	c.serving.Go(c.accept)
	t.Cleanup(func() {
		l.Close()
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.cut()
		c.serving.Wait()
	})
	return c
}

func (c *cutter) accept() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.accepted++
		c.mu.Unlock()
		c.serving.Go(func() { c.relay(conn) })
	}
}

// relay ends when one of the two connections does.
func (c *cutter) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer server.Close()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.open[client] = true
	c.mu.Unlock()
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(server, client)
		server.Close()
	})
	io.Copy(client, server)
	client.Close()
	up.Wait()
	c.mu.Lock()
	delete(c.open, client)
	c.mu.Unlock()
}

// cut resets the connections that are open, and says how many they were.
func (c *cutter) cut() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		_ = conn.(*net.TCPConn).SetLinger(0) // it may be closed already
		conn.Close()
	}
	return len(c.open)
}

// connections is how many there have been.
func (c *cutter) connections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.accepted
}
