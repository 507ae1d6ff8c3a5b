package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/internal/h2"
	"github.com/duplexhq/duplex/topic"
)

const (
	// defaultMaxStreams is what a browser opens at most, and some.
	defaultMaxStreams = 250
	// defaultMaxGlitches is several times what all streams of a connection are
	// when they are reset at once.
	defaultMaxGlitches = 1000

	// An HTTP/2 stream takes so many bytes of a body that nobody has read yet,
	// and a connection those of several, so that a request which is slow to be
	// read holds up no other.
	streamWindow     = 256 << 10
	connectionWindow = 1 << 20

	// headerOverhead is for what HTTP/2 counts as larger than HTTP/1.1 does: 32
	// bytes for each of ten fields.
	headerOverhead = 10 * 32

	// pingAnswer is how long a peer may take to answer an HTTP/2 ping.
	pingAnswer = 15 * time.Second
)

// A listenAddress is one of Config.Listen.
type listenAddress struct {
	hostPort string
	secure   bool // TLS
}

// parseListen reads HOST:PORT, http://HOST:PORT or https://HOST:PORT. Without a
// scheme it depends on whether there is a certificate.
func parseListen(text string, certified bool) (listenAddress, error) {
	a := listenAddress{text, certified}
	scheme, rest, found := strings.Cut(text, "://")
	if found {
		a = listenAddress{rest, scheme == "https"}
	}
	_, _, err := net.SplitHostPort(a.hostPort)
	if err != nil || strings.Contains(a.hostPort, "/") || found && scheme != "http" && scheme != "https" {
		return a, fmt.Errorf("listen on %q: want HOST:PORT, http://HOST:PORT or https://HOST:PORT", text)
	}
	if a.secure && !certified {
		return a, fmt.Errorf("listen on %q: there is no certificate", text)
	}
	return a, nil
}

// addresses are those of Listen, which have to go together with whether there is a
// certificate.
func (c *Config) addresses(certified bool) ([]listenAddress, error) {
	if c.HTTP3 && !certified {
		return nil, errors.New("HTTP/3: there is no certificate")
	}
	addresses := make([]listenAddress, len(c.Listen))
	for i, text := range c.Listen {
		var err error
		if addresses[i], err = parseListen(text, certified); err != nil {
			return nil, err
		}
	}
	secure := func(a listenAddress) bool { return a.secure }
	if certified && len(c.Listeners) == 0 && !slices.ContainsFunc(addresses, secure) {
		return nil, errors.New("there is a certificate, and no address to listen on that is not http://")
	}
	return addresses, nil
}

// An Endpoint is where a server listens.
type Endpoint struct {
	Addr     net.Addr
	Secure   bool     // TLS
	Versions []string // of HTTP, as "HTTP/1.1"
}

// An endpoint is a listener, and what is served there.
type endpoint struct {
	net.Listener
	tls      *tls.Config // nil: plain
	loopback bool        // only this machine can reach it
	versions []string
	http3    *http3Endpoint // or nil
	altSvc   string         // what is said of it

	// remote is what a proxy said of the connection that Accept has given.
	// net/http calls ConnContext before it accepts another.
	remote string
}

// newEndpoint serves over TLS, if it is to.
func (s *Server) newEndpoint(l net.Listener, secure bool) *endpoint {
	e := &endpoint{Listener: l, loopback: isLoopback(l.Addr()), versions: []string{"HTTP/1.1"}}
	if secure {
		e.tls = s.http.TLSConfig
	}
	if secure || s.config.H2C {
		e.versions = append(e.versions, "HTTP/2")
	}
	if len(s.config.TrustProxy) > 0 {
		e.Listener = newProxyListener(l, s.config.TrustProxy, s.config.Logger)
	}
	return e
}

// Accept leaves the handshake of TLS to the first who reads.
func (e *endpoint) Accept() (net.Conn, error) {
	conn, err := e.Listener.Accept()
	if err != nil {
		return nil, err
	}
	e.remote = ""
	if proxied, ok := conn.(*proxiedConn); ok {
		conn, e.remote = proxied.Conn, proxied.remote
	}
	if e.tls != nil {
		return tls.Server(h2.Soften(conn), e.tls), nil
	}
	return &watchedConn{Conn: conn}, nil
}

// open listens on all addresses, or on none.
func (s *Server) open() (err error) {
	defer func() {
		if err != nil {
			for _, e := range s.endpoints {
				e.Close() // the address that could not be had is the error
				if e.http3 != nil {
					e.http3.close()
				}
			}
			s.endpoints = nil
		}
	}()
	for _, l := range s.config.Listeners {
		if err := s.add(l, s.certificates != nil); err != nil {
			return err
		}
	}
	for _, a := range s.addresses {
		if err := s.openAddress(a); err != nil {
			return err
		}
	}
	return nil
}

// portTries is how often a free port is asked for of which UDP is free, too.
const portTries = 10

// openAddress listens on an address. If the system chooses the port, it looks at
// TCP only: somebody may have the UDP port beside it, and then it chooses again.
func (s *Server) openAddress(a listenAddress) error {
	_, port, _ := net.SplitHostPort(a.hostPort)
	for try := 1; ; try++ {
		l, err := s.listen("tcp", a.hostPort)
		if err != nil {
			return err
		}
		if err = s.add(l, a.secure); err == nil {
			return nil
		}
		if port != "0" || try == portTries {
			return err
		}
		last := len(s.endpoints) - 1
		s.endpoints[last].Close() // nobody knows of it
		s.endpoints = s.endpoints[:last]
	}
}

// add makes an endpoint of a listener.
func (s *Server) add(l net.Listener, secure bool) error {
	e := s.newEndpoint(l, secure)
	s.endpoints = append(s.endpoints, e)
	if secure && s.config.HTTP3 {
		return s.openHTTP3(e)
	}
	return nil
}

// Endpoints are those that the server listens on: first Config.Listeners, then
// Config.Listen, each in its order.
func (s *Server) Endpoints() []Endpoint {
	endpoints := make([]Endpoint, len(s.endpoints))
	for i, e := range s.endpoints {
		endpoints[i] = Endpoint{e.Addr(), e.tls != nil, e.versions}
	}
	return endpoints
}

// challengePorts are where an authority reaches this server, over TLS and
// without; 0 is none. What only this machine can reach without TLS is not for it.
func (s *Server) challengePorts() (tlsPort, plainPort int) {
	for _, e := range s.endpoints {
		address, ok := e.Addr().(*net.TCPAddr)
		switch {
		case !ok:
		case e.tls != nil && tlsPort == 0:
			tlsPort = address.Port
		case e.tls == nil && plainPort == 0 && !e.loopback:
			plainPort = address.Port
		}
	}
	return tlsPort, plainPort
}

// Addrs are the addresses of Endpoints.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.endpoints))
	for i, e := range s.endpoints {
		addrs[i] = e.Addr()
	}
	return addrs
}

// protocols are the versions of HTTP that net/http serves.
func (c *Config) protocols(certified bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(certified)
	p.SetUnencryptedHTTP2(c.H2C)
	return p
}

// http2 bounds what one HTTP/2 connection may cost.
func (c *Config) http2(errorLog *log.Logger) *h2.Options {
	return &h2.Options{
		MaxStreams:        c.MaxStreams,
		MaxGlitches:       c.MaxGlitches,
		GlitchesPerSecond: max(1, c.MaxGlitches/5),
		MaxHeaderBytes:    c.MaxHeaderBytes + headerOverhead,
		StreamWindow:      streamWindow,
		ConnectionWindow:  connectionWindow,
		GreetTimeout:      readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		Ping:              cmp.Or(c.Ping, topic.DefaultPing),
		PingTimeout:       pingAnswer,
		WriteTimeout:      c.WriteTimeout,
		NoWebSockets:      c.NoHTTP2WebSocket,
		ErrorLog:          errorLog,
	}
}
