// Package hostile holds the networks that clients have to get through: proxies
// that do what proxies do, each a small value. It is for tests.
//
// A Network makes a testnet.Path, so it works in a testing/synctest bubble,
// where its times are exact, and on real sockets, by Listen. Proxies speak
// plain HTTP/1.1, so what they do shows in the server's own bytes.
package hostile

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
)

// A Network is what is in the way between clients and a server. The zero value
// is in nobody's way.
type Network struct {
	Name string

	Upgrade Upgrade // what becomes of WebSocket handshakes
	Body    Body    // what becomes of answers that come little by little
	HTTP10  bool    // a proxy that speaks only HTTP/1.0

	// CutAfter cuts each connection so long after it was made, CutUpgraded each
	// WebSocket, and CutBytes a connection once so many bytes have come from the
	// server, wherever that is.
	CutAfter, CutUpgraded time.Duration
	CutBytes              int64

	// Silent lets connections be made, and then nothing through.
	Silent bool

	// RoundTrip is how long bytes are on their way there and back; half of it
	// each way. BytesPerSecond is what fits through each connection, each way.
	RoundTrip      time.Duration
	BytesPerSecond int

	// Datagrams is what becomes of UDP.
	Datagrams Datagrams

	// Token is what requests must bring as a bearer; others are answered with 401.
	Token string

	// Answer, if not 0, is the status of all answers, with the header below.
	Answer     int
	RetryAfter string
	Problem    string // the NAME, if it is to look like an answer of the server
}

// An Upgrade is what becomes of WebSocket handshakes.
type Upgrade int

const (
	Passes    Upgrade = iota
	Refused           // 403, by a firewall
	Unheard           // never answered
	Swallowed         // the 101 comes back, and then nothing, in neither direction
	Stripped          // the proxy drops the fields of the connection, as RFC 9110 §7.6.1 wants
)

// A Body is what becomes of answers without a length.
type Body int

const (
	Streams  Body = iota
	Held          // kept until the end
	Gzipped       // compressed without flushing, if the client takes gzip
	Refusing      // 502 in their place, by a gateway
)

// Networks are those of the field that one proxy can be, with the transport by
// which a client gets through.
var Networks = []struct {
	Network
	Transport string
}{
	{Network{Name: "direct"}, "websocket"},
	{Network{Name: "upgrade refused", Upgrade: Refused}, "sse"},
	{Network{Name: "upgrade never answered", Upgrade: Unheard}, "sse"},
	{Network{Name: "101, then a black hole", Upgrade: Swallowed}, "sse"},
	{Network{Name: "upgrade stripped", Upgrade: Stripped}, "sse"},
	{Network{Name: "streams held to their end", Upgrade: Stripped, Body: Held}, "longpoll"},
	{Network{Name: "streams refused by a gateway", Upgrade: Refused, Body: Refusing}, "longpoll"},
	{Network{Name: "black hole and held streams", Upgrade: Swallowed, Body: Held}, "longpoll"},
	{Network{Name: "gzip that does not flush", Upgrade: Stripped, Body: Gzipped}, ""},
	{Network{Name: "only HTTP/1.0", HTTP10: true}, "sse"},
	{Network{Name: "5 s of latency", RoundTrip: 5 * time.Second}, ""},
	{Network{Name: "1 kB/s", BytesPerSecond: 1000}, ""},
	{Network{Name: "cut in the middle", CutBytes: 1500}, ""},
}

// Datagrams is what a network does to UDP. The zero value is in nobody's way, but
// for the RoundTrip of the network.
type Datagrams struct {
	Blocked bool // none gets through, and nobody is told
	Refused bool // nobody listens, and senders are told so (ICMP), as by a server without HTTP/3

	Lost     int // one of so many is lost, if not 0
	Late     int // one of so many comes after those that follow it, if not 0
	MaxBytes int // longer ones are dropped, if not 0
}

// late is how much longer a datagram takes that others overtake.
const late = 10 * time.Millisecond

// Datagram decides about one: whether it gets through, and how long it takes.
func (n *Network) Datagram(bytes int) (delay time.Duration, through bool) {
	d := &n.Datagrams
	switch {
	case d.Blocked, d.Refused, d.MaxBytes > 0 && bytes > d.MaxBytes, d.Lost > 0 && rand.N(d.Lost) == 0:
		return 0, false
	case d.Late > 0 && rand.N(d.Late) == 0:
		return n.RoundTrip/2 + late, true
	}
	return n.RoundTrip / 2, true
}

// Path is the way of one connection.
func (n *Network) Path() testnet.Path {
	return func(client, server net.Conn) {
		if n.RoundTrip > 0 || n.BytesPerSecond > 0 {
			down, up := n.slow(client), n.slow(server)
			defer down.join()
			defer up.join()
			client, server = down, up
		}
		if n.CutBytes > 0 {
			testnet.CutAfter(n.CutBytes)(client, server)
			return
		}
		if n.CutAfter > 0 {
			timer := time.AfterFunc(n.CutAfter, func() { client.Close(); server.Close() })
			defer timer.Stop()
		}
		switch {
		case n.Silent:
			swallow(client, server)
		case n.inspects():
			(&proxy{Network: n, client: client, server: server}).run()
		default:
			testnet.Relay(client, server)
		}
	}
}

// inspects reports whether it takes a proxy that understands HTTP.
func (n *Network) inspects() bool {
	return n.Upgrade != Passes || n.CutUpgraded != 0 || n.Body != Streams || n.HTTP10 || n.Token != "" || n.Answer != 0
}

// swallow takes everything, and gives nothing.
func swallow(conns ...net.Conn) {
	var both sync.WaitGroup
	for _, conn := range conns {
		both.Go(func() {
			buffer := make([]byte, 4096)
			for {
				if _, err := conn.Read(buffer); err != nil {
					break
				}
			}
			for _, conn := range conns {
				conn.Close()
			}
		})
	}
	both.Wait()
}

// A Proxy is a network on real sockets: it listens, and leads to one server.
type Proxy struct {
	Addr string // HOST:PORT

	listener net.Listener
	relay    *relay // nil where UDP does not get through
	running  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	server  string
	network *Network
	conns   map[net.Conn]struct{}
}

// Listen starts a proxy on a loopback address. Close ends it.
func Listen(network *Network, server string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return newProxy(network, server, listener), nil
}

// ListenUDP starts a proxy that carries datagrams, too: those to the port with the
// number of the TCP port. It does not if the network refuses them.
func ListenUDP(network *Network, server string) (*Proxy, error) {
	if network.Datagrams.Refused {
		return Listen(network, server)
	}
	listener, packets, err := testnet.ListenBoth()
	if err != nil {
		return nil, err
	}
	p := newProxy(network, server, listener)
	p.relay = newRelay(p, packets)
	return p, nil
}

func newProxy(network *Network, server string, listener net.Listener) *Proxy {
	p := &Proxy{Addr: listener.Addr().String(), listener: listener, server: server, network: network, conns: make(map[net.Conn]struct{})}
	// Ends with the listener. Joined by Close.
	p.running.Go(p.accept)
	return p
}

// present is what is in the way now, and where it leads.
func (p *Proxy) present() (network *Network, server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.network, p.server
}

// Rebind gives clients other ports for their datagrams on the server's side, as a
// NAT does that has forgotten them.
func (p *Proxy) Rebind() { p.relay.rebind() }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		path := p.network.Path()
		p.conns[client] = struct{}{}
		server := p.server
		p.mu.Unlock()
		p.running.Go(func() {
			defer func() {
				client.Close()
				p.mu.Lock()
				delete(p.conns, client)
				p.mu.Unlock()
			}()
			conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", server)
			if err != nil {
				_ = client.(*net.TCPConn).SetLinger(0) // a reset tells more than an end
				return
			}
			defer func() {
				conn.Close()
				p.mu.Lock()
				delete(p.conns, conn)
				p.mu.Unlock()
			}()
			p.mu.Lock()
			p.conns[conn] = struct{}{}
			p.mu.Unlock()
			path(client, conn)
		})
	}
}

// Change gives new connections, and all datagrams, another network, or another
// server. What a network refuses from its beginning stays refused.
func (p *Proxy) Change(network *Network, server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network, p.server = network, server
}

// Cut breaks all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.(*net.TCPConn).SetLinger(0) // fails if it is closed already
		conn.Close()
	}
}

// Close ends the proxy and all connections.
func (p *Proxy) Close() {
	p.listener.Close()
	if p.relay != nil {
		p.relay.close()
	}
	ended := make(chan struct{})
	// Ends, and is joined, below.
	go func() { p.running.Wait(); close(ended) }()
	for { // some may still be on their way to the server
		p.Cut()
		select {
		case <-ended:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
