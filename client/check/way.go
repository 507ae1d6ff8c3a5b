package check

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/client/http3"
	"github.com/duplexhq/duplex/websocket"
)

// A way leads to the server by one version of HTTP, on a connection of its own.
type way struct {
	base  url.URL
	http  *http.Client
	dial  websocket.DialOptions
	close func()

	// webTransport is nil but for HTTP/3.
	webTransport func(ctx context.Context, u *url.URL, header http.Header) (client.MessageConn, error)
}

// newWay counts what the connection carries.
func (c *checker) newWay(version string, on *traffic) *way {
	w := &way{base: *c.base}
	w.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if version == HTTP3 {
		t := http3.New(c.TLS)
		w.base.Host = cmp.Or(c.alternative, c.base.Host)
		t.Open = func(_ context.Context, to netip.AddrPort) (net.PacketConn, error) {
			socket, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
			if err != nil {
				return nil, err
			}
			return &countedPackets{socket, on}, nil
		}
		w.http.Transport, w.dial.HTTP3, w.webTransport = t, t, t.WebTransport
		w.close = func() { _ = t.Close() } // there is nothing to be done about it
		return w
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := c.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &counted{conn, on}, nil
	}
	t := &http.Transport{DialContext: dial, TLSClientConfig: c.TLS.Clone(), Protocols: new(http.Protocols)}
	if c.proxied {
		t.Proxy = http.ProxyFromEnvironment
	}
	switch {
	case version == HTTP1:
		t.Protocols.SetHTTP1(true)
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = new(tls.Config)
		}
		t.TLSClientConfig.NextProtos = []string{"http/1.1"} // as browsers do for WebSockets
		w.dial.NetDial, w.dial.TLS, w.dial.Proxy = dial, t.TLSClientConfig, t.Proxy
		if t.Proxy == nil {
			w.dial.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
		}
	case c.base.Scheme == "https":
		t.Protocols.SetHTTP2(true)
		w.dial.HTTP2 = t
	default:
		t.Protocols.SetUnencryptedHTTP2(true)
		w.dial.HTTP2 = t
	}
	w.http.Transport, w.close = t, t.CloseIdleConnections
	return w
}

// url is that of a topic.
func (w *way) url(topic string, query url.Values) string {
	u := w.base
	u.RawPath = ""
	u.Path = strings.TrimSuffix(u.Path, "/") + "/topics/" + topic
	u.RawQuery = query.Encode()
	return u.String()
}

// offers reports why a version of HTTP need not be tried, or nil.
func (c *checker) offers(ctx context.Context, version string) *failure {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	switch {
	case version == HTTP2 && c.base.Scheme == "https":
		conn, err := c.Dial(ctx, "tcp", hostPort(c.base))
		if err != nil {
			return nil // the others will say
		}
		defer conn.Close()
		config := &tls.Config{}
		if c.TLS != nil {
			config = c.TLS.Clone()
		}
		config.NextProtos = []string{"h2", "http/1.1"}
		config.ServerName = cmp.Or(config.ServerName, c.base.Hostname())
		secure := tls.Client(conn, config)
		if secure.HandshakeContext(ctx) == nil && secure.ConnectionState().NegotiatedProtocol != "h2" {
			return &failure{NotOffered, "the server chooses HTTP/1.1 (ALPN)"}
		}
	case version == HTTP2:
		if err := c.head(ctx, HTTP2, nil); err != nil && !isDial(err) {
			return &failure{NotOffered, "there is no HTTP/2 without TLS here"}
		}
	case version == HTTP3 && c.base.Scheme != "https":
		return &failure{NotOffered, "HTTP/3 needs https"}
	case version == HTTP3:
		header := make(http.Header)
		err := c.head(ctx, HTTP1, header)
		if err != nil {
			err = c.head(ctx, HTTP2, header) // it may be all that is there
		}
		if err != nil {
			return &failure{NotOffered, "it could not be asked for: " + shorten(err)}
		}
		port, ok := alternativePort(header.Values("Alt-Svc"))
		if !ok {
			return &failure{NotOffered, "the server does not announce it (Alt-Svc)"}
		}
		c.alternative = net.JoinHostPort(c.base.Hostname(), port)
	}
	return nil
}

// head asks for nothing, and copies the header of the answer.
func (c *checker) head(ctx context.Context, version string, header http.Header) error {
	w := c.newWay(version, new(traffic))
	defer w.close()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, strings.TrimSuffix(w.url("", nil), "/"), nil)
	if err != nil {
		return err
	}
	for name, values := range c.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	resp, err := w.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return err
	}
	resp.Body.Close()
	for name, values := range resp.Header {
		if header != nil {
			header[name] = values
		}
	}
	return nil
}

var altSvc = regexp.MustCompile(`\bh3=":([0-9]+)"`)

// alternativePort is that of HTTP/3 (RFC 7838 §3).
func alternativePort(fields []string) (port string, ok bool) {
	for _, field := range fields {
		if found := altSvc.FindStringSubmatch(field); found != nil {
			return found[1], true
		}
	}
	return "", false
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// traffic is how many bytes a connection has carried, both ways.
type traffic struct{ all atomic.Int64 }

func (t *traffic) add(n int)                { t.all.Add(int64(n)) }
func (t *traffic) since(before int) (n int) { return int(t.all.Load()) - before }

// counted is a connection whose bytes are counted.
type counted struct {
	net.Conn
	on *traffic
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.on.add(n)
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.on.add(n)
	return n, err
}

// countedPackets is a socket that speaks with one server, and hears of it if nobody
// listens there. What it carries is counted.
type countedPackets struct {
	socket *net.UDPConn
	on     *traffic
}

// smallest is what every way carries (RFC 9000 §14.1). Longer datagrams are mostly
// the server's tries of what this way does, so they are not counted: messages of a
// check are short, and published one after the other.
const smallest = 1200 // bytes

func (c *countedPackets) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := c.socket.Read(p)
	if n <= smallest {
		c.on.add(n)
	}
	return n, c.socket.RemoteAddr(), err
}

func (c *countedPackets) WriteTo(p []byte, _ net.Addr) (int, error) {
	n, err := c.socket.Write(p)
	c.on.add(n)
	return n, err
}

func (c *countedPackets) Close() error                       { return c.socket.Close() }
func (c *countedPackets) LocalAddr() net.Addr                { return c.socket.LocalAddr() }
func (c *countedPackets) SetDeadline(t time.Time) error      { return c.socket.SetDeadline(t) }
func (c *countedPackets) SetReadDeadline(t time.Time) error  { return c.socket.SetReadDeadline(t) }
func (c *countedPackets) SetWriteDeadline(t time.Time) error { return c.socket.SetWriteDeadline(t) }
func (c *countedPackets) SetReadBuffer(bytes int) error      { return c.socket.SetReadBuffer(bytes) }
func (c *countedPackets) SetWriteBuffer(bytes int) error     { return c.socket.SetWriteBuffer(bytes) }
