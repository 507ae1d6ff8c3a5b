package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// proxyHeaderTimeout bounds how long a proxy may take to say whose connection
// it is: it does so before anything else.
const proxyHeaderTimeout = 5 * time.Second

// A proxyListener learns from the PROXY protocol (version 1 and 2, as
// haproxy.org/download/3.0/doc/proxy-protocol.txt has it) who is at the other
// end of connections that a trusted proxy opens. Those have to begin with its
// header, and all others must not: "the receiver MUST be configured to only
// receive the protocol described in this specification and MUST not try to
// guess whether the protocol header is present or not."
type proxyListener struct {
	net.Listener
	trusted []netip.Prefix
	logger  *slog.Logger
	ready   chan accepted
	over    context.Context // until Close
	close   context.CancelFunc
	running sync.WaitGroup
}

type accepted struct {
	conn net.Conn
	err  error
}

// A proxiedConn is one that a proxy has opened for somebody.
type proxiedConn struct {
	net.Conn
	remote string // IP:PORT
}

func newProxyListener(l net.Listener, trusted []netip.Prefix, logger *slog.Logger) *proxyListener {
	p := &proxyListener{Listener: l, trusted: trusted, logger: logger, ready: make(chan accepted)}
	p.over, p.close = context.WithCancel(context.Background())
	p.running.Go(p.run) // Ends with the listener. Joined by Close.
	return p
}

func (p *proxyListener) run() {
	for {
		conn, err := p.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // net/http waits a bit, if it may pass
			p.give(nil, err)
		case p.trusts(conn.RemoteAddr()):
			p.running.Go(func() { p.introduce(conn) }) // Ends in time. Joined by Close.
		default:
			p.give(conn, nil)
		}
	}
}

func (p *proxyListener) trusts(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap()
	for _, prefix := range p.trusted {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

// introduce gives the connection when its header was read.
func (p *proxyListener) introduce(conn net.Conn) {
	stop := context.AfterFunc(p.over, func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(proxyHeaderTimeout)) // fails where Read does
	remote, err := readProxyHeader(conn)
	if !stop() {
		return
	}
	if err != nil {
		p.logger.Warn("connection of a trusted proxy without a good PROXY header", "proxy", conn.RemoteAddr().String(), "error", err)
		conn.Close()
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	if remote.IsValid() {
		conn = &proxiedConn{conn, remote.String()}
	}
	p.give(conn, nil)
}

func (p *proxyListener) give(conn net.Conn, err error) {
	select {
	case p.ready <- accepted{conn, err}:
	case <-p.over.Done():
		if conn != nil {
			conn.Close()
		}
	}
}

func (p *proxyListener) Accept() (net.Conn, error) {
	select {
	case a := <-p.ready:
		return a.conn, a.err
	case <-p.over.Done():
		return nil, net.ErrClosed
	}
}

// Close closes the connections, too, that have not said whose they are.
func (p *proxyListener) Close() error {
	p.close()
	err := p.Listener.Close()
	p.running.Wait()
	return err
}

// proxySignature begins a header of version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// maxProxyLine is how long a header of version 1 may be, with its end.
const maxProxyLine = 107

// readProxyHeader reads a header, and no byte of what follows it. The address
// is not valid if the proxy speaks for itself, or does not know for whom.
func readProxyHeader(r io.Reader) (netip.AddrPort, error) {
	head := make([]byte, len(proxySignature), maxProxyLine) // no header is shorter
	if _, err := io.ReadFull(r, head); err != nil {
		return netip.AddrPort{}, err
	}
	if string(head) == proxySignature {
		return readProxyBinary(r)
	}
	if !strings.HasPrefix(string(head), "PROXY ") {
		return netip.AddrPort{}, errors.New("no PROXY header")
	}
	for len(head) < maxProxyLine {
		head = head[:len(head)+1]
		if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil {
			return netip.AddrPort{}, err
		}
		if line, complete := strings.CutSuffix(string(head), "\r\n"); complete {
			return parseProxyLine(line)
		}
	}
	return netip.AddrPort{}, fmt.Errorf("a PROXY header of more than %d bytes", maxProxyLine)
}

// parseProxyLine reads "PROXY TCP4 SOURCE DESTINATION PORT PORT".
func parseProxyLine(line string) (netip.AddrPort, error) {
	fields := strings.Split(line, " ")
	if fields[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	faulty := fmt.Errorf("the PROXY header %q is not one", line)
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return netip.AddrPort{}, faulty
	}
	var ends [2]netip.AddrPort // source and destination
	for i := range ends {
		ip, err := netip.ParseAddr(fields[2+i])
		port, portErr := strconv.ParseUint(fields[4+i], 10, 16)
		if err != nil || portErr != nil || ip.Zone() != "" || ip.Is4() != (fields[1] == "TCP4") {
			return netip.AddrPort{}, faulty
		}
		ends[i] = netip.AddrPortFrom(ip, uint16(port))
	}
	return ends[0], nil
}

// readProxyBinary reads what follows the signature: version and command in a
// byte, family and protocol in another, and how much is still to come in two.
func readProxyBinary(r io.Reader) (netip.AddrPort, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return netip.AddrPort{}, err
	}
	rest := make([]byte, binary.BigEndian.Uint16(head[2:])) // with extensions
	if _, err := io.ReadFull(r, rest); err != nil {
		return netip.AddrPort{}, err
	}
	const local, proxied = 0x20, 0x21
	var size int
	switch {
	case head[0] == local:
		return netip.AddrPort{}, nil
	case head[0] != proxied:
		return netip.AddrPort{}, fmt.Errorf("a PROXY header of another version or command: %#02x", head[0])
	case head[1] == 0x11: // TCP over IPv4
		size = 4
	case head[1] == 0x21: // TCP over IPv6
		size = 16
	default: // nothing that has an address for us
		return netip.AddrPort{}, nil
	}
	if len(rest) < 2*size+4 {
		return netip.AddrPort{}, errors.New("a PROXY header that ends before its addresses")
	}
	ip, _ := netip.AddrFromSlice(rest[:size])
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(rest[2*size:])), nil
}
