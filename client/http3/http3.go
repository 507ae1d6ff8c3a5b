// Package http3 has a client speak HTTP/3: requests, and WebSockets by RFC 9220.
// It is a package of its own, so that QUIC comes only with who imports it.
package http3

import (
	"crypto/tls"
	"net/http"
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
)

// A Transport sends requests over HTTP/3, and over nothing else: there is no way
// back to TCP. It is for the Transport of an http.Client, and for
// websocket.DialOptions.HTTP3. Its methods may be called at the same time.
type Transport struct{ inner http3.Transport }

// New gives a transport. Close must be called. A nil config is that of package
// tls; its NextProtos are not used.
func New(config *tls.Config) *Transport {
	return &Transport{http3.Transport{
		TLSClientConfig: config,
		QUICConfig:      quicConfig(),
		// Each connection has a socket, and no id of its own: the server would use
		// up one each time that the address changes, and there are few.
		Dial:               quic.DialAddrEarly,
		DisableCompression: true, // events would be held back
	}}
}

func quicConfig() *quic.Config {
	return &quic.Config{MaxIdleTimeout: silence, KeepAlivePeriod: keepAlive}
}

// RoundTrip is that of http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) { return t.inner.RoundTrip(r) }

// CloseIdleConnections closes those without a request, as http.Client wants it.
func (t *Transport) CloseIdleConnections() { t.inner.CloseIdleConnections() }

// Close ends all connections.
func (t *Transport) Close() error { return t.inner.Close() }
