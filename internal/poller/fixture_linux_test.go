package poller_test

import (
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
)

// hooks is a handler made of functions; those that are nil do nothing.
type hooks struct {
	data    func(c *poller.Conn, p []byte)
	drained func(c *poller.Conn)
	alarm   func(c *poller.Conn)
	half    func(c *poller.Conn) bool
	closed  func(c *poller.Conn, err error)
}

func (h *hooks) Data(c *poller.Conn, p []byte) {
	if h.data != nil {
		h.data(c, p)
	}
}

func (h *hooks) Drained(c *poller.Conn) {
	if h.drained != nil {
		h.drained(c)
	}
}

func (h *hooks) Alarm(c *poller.Conn) {
	if h.alarm != nil {
		h.alarm(c)
	}
}

func (h *hooks) HalfClosed(c *poller.Conn) bool { return h.half != nil && h.half(c) }

func (h *hooks) Closed(c *poller.Conn, err error) {
	if h.closed != nil {
		h.closed(c, err)
	}
}

func echo(c *poller.Conn, p []byte) { _, _ = c.WriteLent(p) }

// closing makes a Closed that tells the error.
func closing() (func(*poller.Conn, error), <-chan error) {
	over := make(chan error, 2) // a second call shows
	return func(_ *poller.Conn, err error) { over <- err }, over
}

func newPoller(t testing.TB, loops int) *poller.Poller {
	t.Helper()
	p, err := poller.New(loops)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// dialer makes pairs of connected sockets.
type dialer struct {
	t  testing.TB
	ln *net.TCPListener
}

func newDialer(t testing.TB) *dialer {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return &dialer{t, ln}
}

// pair gives the server's and the client's side.
func (d *dialer) pair() (server, client *net.TCPConn) {
	d.t.Helper()
	client, err := net.DialTCP("tcp", nil, d.ln.Addr().(*net.TCPAddr))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { client.Close() })
	if err := client.SetDeadline(time.Now().Add(time.Minute)); err != nil { // so that a fault fails instead of hanging
		d.t.Fatal(err)
	}
	server, err = d.ln.AcceptTCP()
	if err != nil {
		d.t.Fatal(err)
	}
	return server, client
}

// adopt starts a connection with that handler, and gives it and the client's side.
func adopt(t testing.TB, p *poller.Poller, h poller.Handler, limits *poller.Limits) (*poller.Conn, *net.TCPConn) {
	t.Helper()
	server, client := newDialer(t).pair()
	c, err := p.Adopt(server, h, limits, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, client
}

// random gives a source whose seed is logged.
func random(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func fill(r *rand.Rand, p []byte) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
}

// openFiles counts this process's descriptors by what they are of.
func openFiles(t testing.TB) map[string]int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]int{}
	for _, e := range entries {
		if file, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // else it was that of the directory
			files[file]++
		}
	}
	return files
}

// newFiles counts those that were not open before. What tests before have left may
// be closed meanwhile, when it is collected.
func newFiles(t testing.TB, before map[string]int) (n int) {
	t.Helper()
	for file, now := range openFiles(t) {
		n += max(0, now-before[file])
	}
	return n
}
