//go:build e2e

package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A gate is a TCP proxy. While it is shut nothing goes through, and neither end
// is told: it is a network that is parted.
type gate struct {
	addr     string
	target   string
	listener net.Listener
	serving  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	opened sync.Cond
	isShut bool
	ended  bool
	conns  map[net.Conn]bool
}

func newGate(t testing.TB, target string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: l.Addr().String(), target: target, listener: l, conns: make(map[net.Conn]bool)}
	g.opened.L = &g.mu
	g.serving.Go(g.accept) // Ends with the listener. Joined by the cleanup.
	t.Cleanup(func() {
		l.Close()
		g.mu.Lock()
		g.ended = true
		for c := range g.conns {
			c.Close()
		}
		g.mu.Unlock()
		g.opened.Broadcast()
		g.serving.Wait()
	})
	return g
}

func (g *gate) shut(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isShut = shut
	g.opened.Broadcast()
}

// cut ends what goes through.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		c.Close()
	}
}

// pass waits until the gate is open, and reports whether there is one.
func (g *gate) pass() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.isShut && !g.ended {
		g.opened.Wait()
	}
	return !g.ended
}

func (g *gate) accept() {
	for {
		in, err := g.listener.Accept()
		if err != nil {
			return
		}
		g.serving.Go(func() { g.relay(in) }) // Ends with the connection. Joined with the gate.
	}
}

func (g *gate) relay(in net.Conn) {
	defer in.Close()
	if !g.keep(in) || !g.pass() {
		return
	}
	defer g.drop(in)
	out, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer out.Close()
	if !g.keep(out) {
		return
	}
	defer g.drop(out)
	var back sync.WaitGroup
	back.Go(func() { g.copy(in, out) })
	g.copy(out, in)
	back.Wait()
}

// copy ends, and ends both, when one of them does.
func (g *gate) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	_, _ = io.Copy(passing{to, g}, from) // one of them has ended
}

// keep has the connection ended with the gate.
func (g *gate) keep(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c] = true
	return !g.ended
}

func (g *gate) drop(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

// passing writes through a gate.
type passing struct {
	net.Conn
	gate *gate
}

func (p passing) Write(b []byte) (int, error) {
	if !p.gate.pass() {
		return 0, net.ErrClosed
	}
	return p.Conn.Write(b)
}
