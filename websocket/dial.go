package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

const (
	defaultDialTimeout = 30 * time.Second
	maxResponseHead    = 64 << 10 // bytes; a server that sends more is not answering a handshake
	maxResponseBody    = 1 << 10  // bytes of a refusal that are kept
)

// DialOptions are those of [Dial]. The zero value is safe.
type DialOptions struct {
	Options

	// Subprotocols to offer, the best first.
	Subprotocols []string

	// Header fields to send, such as Authorization, Origin or Host. Those of the handshake itself
	// are refused.
	Header http.Header

	// Jar, if not nil, gives and takes cookies.
	Jar http.CookieJar

	// Timeout bounds all of Dial, beside its context. If zero, 30 seconds are used. If negative,
	// there is no limit.
	Timeout time.Duration

	// MaxRedirects is how many redirects are followed. If zero, none: a redirect is an error like
	// every answer but 101.
	MaxRedirects int

	// TLS is the configuration for wss. If nil, the default one is used.
	TLS *tls.Config

	// HTTP2, if not nil, makes the connection a stream of one over HTTP/2 (RFC 8441), which all
	// share that use the same transport for the same server. Its Protocols must hold HTTP2 for wss,
	// UnencryptedHTTP2 for ws, and not HTTP1. TLS, Proxy and NetDial are not used: the transport
	// has its own. It holds a buffer of up to 512 KiB for each stream.
	HTTP2 *http.Transport

	// HTTP3, if not nil, makes the connection a stream of one over HTTP/3 (RFC 9220), for wss only. It
	// is a *http3.Transport of github.com/quic-go/quic-go, or another that sends the Proto of a CONNECT
	// as ":protocol" and its body while the response comes. It is used in place of HTTP2, and TLS,
	// Proxy and NetDial are not.
	HTTP3 http.RoundTripper

	// Proxy gives the proxy for a request, or a nil URL for none. HTTP proxies ("http", "https")
	// are asked to CONNECT, also for ws; "socks5" and "socks5h" are the same: the proxy resolves
	// names. If nil, http.ProxyFromEnvironment is used.
	Proxy func(*http.Request) (*url.URL, error)

	// NetDial connects to the server, or to its proxy. If nil, a net.Dialer does.
	NetDial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial connects to the WebSocket at a ws, wss, http or https URL (RFC 6455 §4.1). User and
// password in the URL are sent as basic authentication. The context bounds the dialling, not the
// connection.
//
// A server that does not take WebSockets over HTTP/2 or HTTP/3 gives a [*HandshakeError] with the
// Field ":protocol"; there is no way back to HTTP/1.1 but to dial again without [DialOptions].HTTP2
// and HTTP3.
//
// If a server has answered, its response is returned, even with an error, with at most 1 KiB of
// its body. An answer that is not a handshake gives a [*HandshakeError].
func Dial(ctx context.Context, rawURL string, opts *DialOptions) (*Conn, *http.Response, error) {
	d := dialer{}
	if opts != nil {
		d.DialOptions = *opts
	}
	if d.Timeout == 0 {
		d.Timeout = defaultDialTimeout
	}
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, nil, err
	}
	for redirects := 0; ; redirects++ {
		conn, response, err := d.dial(ctx, u)
		if err == nil || response == nil || redirects >= d.MaxRedirects {
			return conn, response, err
		}
		next, ok := redirect(u, response)
		if !ok {
			return nil, response, err
		}
		if next.Scheme != u.Scheme || next.Host != u.Host {
			// Credentials were for the server they were given for.
			d.Header = d.Header.Clone()
			for _, field := range []string{"Authorization", "Cookie", "Host"} {
				d.Header.Del(field)
			}
		}
		u = next
	}
}

// parseURL gives a URL whose scheme is http or https.
func parseURL(rawURL string) (*url.URL, error) {
	if strings.Contains(rawURL, "#") {
		return nil, errors.New("websocket: URL has a fragment") // §3: "MUST NOT be used"
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("websocket: %w", err)
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	case "http", "https":
	default:
		return nil, fmt.Errorf("websocket: URL scheme %q is not ws, wss, http or https", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, errors.New("websocket: URL has no host")
	}
	host, err := asciiHost(u.Host)
	if err != nil {
		return nil, fmt.Errorf("websocket: host %q: %w", u.Host, err)
	}
	u.Host = host
	return u, nil
}

// asciiHost gives an internationalised host name in its ASCII form. net/http knows how, and shows
// it in the requests that it writes.
func asciiHost(host string) (string, error) {
	if !strings.ContainsFunc(host, func(r rune) bool { return r > 127 }) {
		return host, nil
	}
	var b bytes.Buffer
	if err := (&http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: host}}).Write(&b); err != nil {
		return "", err
	}
	request, err := http.ReadRequest(bufio.NewReader(&b))
	if err != nil {
		return "", err
	}
	return request.Host, nil
}

// redirect gives where response points to, unless it would leave TLS.
func redirect(from *url.URL, response *http.Response) (*url.URL, bool) {
	switch response.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, false
	}
	location, err := response.Location()
	if err != nil {
		return nil, false
	}
	location.Fragment, location.RawFragment = "", ""
	to, err := parseURL(location.String())
	if err != nil || from.Scheme == "https" && to.Scheme != "https" {
		return nil, false
	}
	return to, true
}

type dialer struct{ DialOptions }

// dial makes one attempt, at u whose scheme is http or https.
func (d *dialer) dial(ctx context.Context, u *url.URL) (*Conn, *http.Response, error) {
	request, key, err := d.request(ctx, u)
	if err != nil {
		return nil, nil, err
	}
	offered := offerDeflate(d.Compression)
	offered.offer(request.Header)
	open := d.openUpgrade
	if d.HTTP2 != nil || d.HTTP3 != nil {
		open = d.openConnect
	}
	conn, response, early, err := open(ctx, request)
	if response != nil && d.Jar != nil {
		d.Jar.SetCookies(u, response.Cookies())
	}
	if err == nil {
		err = checkResponse(response, key, d.Subprotocols)
	}
	options := d.Options
	if err == nil {
		options.deflate, err = offered.agree(response, d.Compression)
	}
	if err != nil {
		offered.release()
		if conn != nil {
			conn.Close()
		}
		return nil, response, err
	}
	subprotocol := response.Header.Get("Sec-WebSocket-Protocol")
	return newConn(conn, wire.Client, subprotocol, options, early), response, nil
}

// openUpgrade sends the request over HTTP/1.1. The bytes in early came after the response.
func (d *dialer) openUpgrade(ctx context.Context, request *http.Request) (conn net.Conn, response *http.Response, early []byte, err error) {
	conn, err = d.connect(ctx, request)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("websocket: dial %s: %w", request.URL.Redacted(), err)
	}
	err = withContext(ctx, conn, func() error {
		response, early, err = exchange(conn, request)
		return err
	})
	return conn, response, early, err
}

// handshakeFields are not the caller's to set.
var handshakeFields = []string{
	"Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol",
	"Sec-WebSocket-Extensions", "Content-Length", "Transfer-Encoding",
}

// request makes the handshake's request, and gives its key.
func (d *dialer) request(ctx context.Context, u *url.URL) (request *http.Request, key string, err error) {
	request, err = http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, "", fmt.Errorf("websocket: %w", err)
	}
	for field, values := range d.Header {
		request.Header[http.CanonicalHeaderKey(field)] = slices.Clone(values)
	}
	for _, field := range handshakeFields {
		if request.Header.Values(field) != nil {
			return nil, "", fmt.Errorf("websocket: header field %s is the handshake's own", field)
		}
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
		request.Header.Del("Host")
	} else if u.Port() == defaultPort(u.Scheme) {
		request.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
	}
	if u.User != nil && request.Header.Get("Authorization") == "" {
		password, _ := u.User.Password()
		request.SetBasicAuth(u.User.Username(), password)
	}
	if d.Jar != nil {
		for _, cookie := range d.Jar.Cookies(u) {
			request.AddCookie(cookie)
		}
	}
	var random [16]byte
	rand.Read(random[:])
	key = wire.NewKey(random)
	request.Header.Set("Upgrade", "websocket")
	request.Header.Set("Connection", "Upgrade")
	// Written as in the RFC, for servers that do not know that case means nothing.
	request.Header["Sec-WebSocket-Key"] = []string{key}
	request.Header["Sec-WebSocket-Version"] = []string{wire.Version}
	if len(d.Subprotocols) > 0 {
		list := strings.Join(d.Subprotocols, ", ")
		if tokens, ok := wire.Tokens([]string{list}); !ok || !slices.Equal(tokens, d.Subprotocols) {
			return nil, "", errors.New("websocket: a subprotocol is not a token")
		}
		request.Header["Sec-WebSocket-Protocol"] = []string{list}
	}
	return request, key, nil
}

// withContext runs f, which uses conn, and interrupts it when ctx ends.
func withContext(ctx context.Context, conn net.Conn, f func() error) error {
	var stop interruption
	if ctx.Done() != nil {
		stop = interrupt(ctx, conn.SetDeadline)
	}
	err := f()
	if stop.lift() {
		return context.Cause(ctx)
	}
	return err
}

// exchange sends the request and reads the answer. The bytes in early came after it.
func exchange(conn net.Conn, request *http.Request) (response *http.Response, early []byte, err error) {
	if err := request.Write(conn); err != nil {
		return nil, nil, &lostError{err}
	}
	head := &io.LimitedReader{R: conn, N: maxResponseHead}
	reader := bufio.NewReader(head)
	for {
		response, err = http.ReadResponse(reader, request)
		if err != nil {
			if head.N <= 0 {
				err = &HandshakeError{Field: "status", Reason: "response head of more than 64 KiB"}
			}
			return nil, nil, fmt.Errorf("websocket: read response: %w", err)
		}
		// RFC 9110 §15.2: any number of other 1xx may come before the answer.
		if response.StatusCode == http.StatusSwitchingProtocols || response.StatusCode >= 200 {
			break
		}
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		head.N += maxResponseBody
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxResponseBody))
		response.Body.Close()
		response.Body = io.NopCloser(bytes.NewReader(body))
		return response, nil, &HandshakeError{
			Status: response.StatusCode,
			Field:  "status",
			Reason: "is not 101",
			Body:   body,
		}
	}
	response.Body = http.NoBody
	early = make([]byte, reader.Buffered())
	io.ReadFull(reader, early) // it holds as many
	return response, early, nil
}

// checkResponse goes through the list of §4.1 for the server's response. Its status is 101, or 2xx
// to a CONNECT.
func checkResponse(response *http.Response, key string, offered []string) error {
	wrong := func(field, reason string) error {
		return &HandshakeError{Status: response.StatusCode, Field: field, Reason: reason}
	}
	header := response.Header
	if response.ProtoMajor < 2 { // RFC 8441 §5 leaves these out
		if !response.ProtoAtLeast(1, 1) {
			return wrong("version", "of HTTP is not 1.1")
		}
		if upgrade := header.Values("Upgrade"); len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket") {
			return wrong("Upgrade", "is not websocket")
		}
		if !wire.HasToken(header.Values("Connection"), "Upgrade") {
			return wrong("Connection", "does not hold Upgrade")
		}
		if accept := header.Values("Sec-WebSocket-Accept"); len(accept) != 1 || accept[0] != wire.AcceptKey(key) {
			return wrong("Sec-WebSocket-Accept", "does not answer the key")
		}
	}
	chosen := header.Values("Sec-WebSocket-Protocol")
	if len(chosen) > 1 || len(chosen) == 1 && !slices.Contains(offered, chosen[0]) {
		return wrong("Sec-WebSocket-Protocol", "is not one that was offered")
	}
	return nil
}
