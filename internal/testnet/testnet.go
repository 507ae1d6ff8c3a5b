// Package testnet is a network in memory, for tests only.
//
// Listeners have addresses, and Dial reaches them. A connection is a pipe: it
// holds no bytes, so what was written was read, and a peer that does not read
// stops the writer at once. Everything that waits does so on channels: in a
// testing/synctest bubble the clock moves on, and times are exact.
//
// What is in the way of a connection is a Path: a proxy that does whatever a
// test needs to see survived.
//
//	network := testnet.New(t)
//	listener, err := network.Listen("tcp", "server.test:80")
//	...
//	client := &http.Client{Transport: &http.Transport{DialContext: network.Dial}}
//	client.Get("http://server.test/")
//
// Tests of programs on the real one have their Ports from here.
package testnet

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
)

// A Network joins dialers and listeners. In a bubble it must be made there. Its
// methods may be called by any goroutine.
type Network struct {
	// Route, if not nil, says which way a connection goes; nil is the direct
	// one. It gets the number of the connection, the first being 1, and runs on
	// the goroutine that dials. It must be set before the first Dial.
	Route func(number int) Path

	paths sync.WaitGroup // one for each path that is in use

	mu        sync.Mutex // guards what follows
	listeners map[string]*listener
	links     map[*link]struct{} // those with an end that is open
	dialled   int
}

// New returns a network that ends with the test: with it all listeners are
// closed, and all connections cut.
func New(t testing.TB) *Network {
	n := &Network{listeners: make(map[string]*listener), links: make(map[*link]struct{})}
	t.Cleanup(func() {
		for _, l := range n.listening() {
			l.Close()
		}
		n.Cut()
		n.paths.Wait()
	})
	return n
}

// Listen is like net.Listen, except that any host and port are to be had, once
// each.
func (n *Network) Listen(network, address string) (net.Listener, error) {
	l := &listener{network: n, addr: addressOf(network, address), dialled: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: l.addr, Err: syscall.EADDRINUSE}
	}
	n.listeners[address] = l
	return l, nil
}

// Dial connects to a listener, as net.Dialer.DialContext does, and returns when
// the connection was accepted. Where nobody listens, it is refused.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	failed := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addressOf(network, address), Err: err}
	}
	n.mu.Lock()
	l := n.listeners[address]
	n.dialled++
	number := n.dialled
	n.mu.Unlock()
	if l == nil {
		return failed(syscall.ECONNREFUSED)
	}
	var path Path
	if n.Route != nil {
		path = n.Route(number)
	}
	link := newLink(n, l.addr, number, path)
	n.mu.Lock()
	n.links[link] = struct{}{}
	n.mu.Unlock()
	select {
	case l.dialled <- link.server:
		return link.client, nil
	case <-l.closed:
		link.cut()
		return failed(syscall.ECONNREFUSED)
	case <-ctx.Done():
		link.cut()
		return failed(context.Cause(ctx))
	}
}

// Dialled is how many connections have been asked for.
func (n *Network) Dialled() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dialled
}

// Open is how many connections are open: those that neither side has closed.
func (n *Network) Open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return whole(n.links)
}

// Cut breaks all open connections, as if both sides had got a reset, and says
// how many there were.
func (n *Network) Cut() int {
	n.mu.Lock()
	links := n.links
	n.links = make(map[*link]struct{})
	n.mu.Unlock()
	count := whole(links)
	for link := range links {
		link.cut()
	}
	return count
}

func whole(links map[*link]struct{}) (count int) {
	for link := range links {
		if !link.client.closed.Load() && !link.server.closed.Load() {
			count++
		}
	}
	return count
}

// forget leaves a link alone from now on.
func (n *Network) forget(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.links, l)
}

func (n *Network) listening() []*listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*listener
	for _, l := range n.listeners {
		all = append(all, l)
	}
	return all
}

// A listener is one address of a network.
type listener struct {
	network *Network
	addr    net.Addr
	dialled chan net.Conn
	closed  chan struct{} // when it is no longer among the network's
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.dialled:
		return conn, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
	}
}

// Close frees the address.
func (l *listener) Close() error {
	n := l.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[l.addr.String()] != l {
		return &net.OpError{Op: "close", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
	}
	delete(n.listeners, l.addr.String())
	close(l.closed)
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// addressOf gives a net.TCPAddr if the host is an IP address.
func addressOf(network, address string) net.Addr {
	if ip, err := netip.ParseAddrPort(address); err == nil {
		return net.TCPAddrFromAddrPort(ip)
	}
	return name{network, address}
}

// A name is an address that is no IP address.
type name struct{ network, address string }

func (n name) Network() string { return n.network }
func (n name) String() string  { return n.address }
