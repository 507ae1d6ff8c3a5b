// Package http3 has a client speak HTTP/3: requests, WebSockets by RFC 9220, and
// sessions of WebTransport. It is a package of its own, so that QUIC comes only with
// who imports it.
//
//	transport := http3.New(nil)
//	defer transport.Close()
//	c, err := client.New("https://example.com", &client.Options{
//		HTTP:         &http.Client{Transport: transport},
//		WebTransport: transport.WebTransport,
//		Transports:   []client.Transport{client.WebTransport, client.SSE, client.Longpoll},
//	})
package http3

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const (
	// keepAlive is how often a connection that waits for answers shows that it is
	// there: so addresses that a NAT has given it stay.
	keepAlive = 15 * time.Second

	// silence is how long a server may be out of reach before what waits for it
	// fails.
	silence = 30 * time.Second

	// smallest is the size of the first packets: what every way that carries QUIC
	// lets through (RFC 9000 §14.1). Larger ones are tried afterwards.
	smallest = 1200 // bytes
)

// A Transport sends requests over HTTP/3, and over nothing else: there is no way
// back to TCP. It is for the Transport of an http.Client, and for
// websocket.DialOptions.HTTP3. Its methods may be called at the same time.
type Transport struct {
	// Open, if not nil, opens the socket of a connection to an address, which the
	// connection closes. If nil, it is a UDP port. It must be set before the first
	// request.
	Open func(ctx context.Context, to netip.AddrPort) (net.PacketConn, error)

	inner  http3.Transport
	lookup func(ctx context.Context, address string) ([]netip.AddrPort, error)
}

// New gives a transport. Close must be called. A nil config is that of package
// tls; its NextProtos are not used.
func New(config *tls.Config) *Transport {
	if config == nil {
		config = new(tls.Config)
	}
	t := &Transport{lookup: lookup, inner: http3.Transport{
		TLSClientConfig:    config,
		QUICConfig:         quicConfig(),
		DisableCompression: true, // events would be held back
	}}
	t.inner.Dial = t.connect
	return t
}

func quicConfig() *quic.Config {
	return &quic.Config{
		MaxIdleTimeout:    silence,
		KeepAlivePeriod:   keepAlive,
		InitialPacketSize: smallest,
	}
}

// RoundTrip is that of http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) { return t.inner.RoundTrip(r) }

// CloseIdleConnections closes those without a request, as http.Client wants it.
func (t *Transport) CloseIdleConnections() { t.inner.CloseIdleConnections() }

// Close ends all connections.
func (t *Transport) Close() error { return t.inner.Close() }
