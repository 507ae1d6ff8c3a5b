package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// connect gives a connection over which the request can be sent: through a proxy if there is one
// for it, and with TLS if its scheme is https.
func (d *dialer) connect(ctx context.Context, request *http.Request) (net.Conn, error) {
	proxyFor := d.Proxy
	if proxyFor == nil {
		proxyFor = http.ProxyFromEnvironment
	}
	proxy, err := proxyFor(request)
	if err != nil {
		return nil, err
	}
	target := address(request.URL)
	var conn net.Conn
	if proxy == nil {
		conn, err = d.netDial(ctx, target)
	} else {
		conn, err = d.throughProxy(ctx, proxy, target)
	}
	if err != nil || request.URL.Scheme != "https" {
		return conn, err
	}
	return startTLS(ctx, conn, d.TLS, request.URL.Hostname())
}

func (d *dialer) netDial(ctx context.Context, address string) (net.Conn, error) {
	if d.NetDial != nil {
		return d.NetDial(ctx, "tcp", address)
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", address)
}

// address gives host:port of u.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = defaultPort(u.Scheme)
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func startTLS(ctx context.Context, conn net.Conn, config *tls.Config, host string) (net.Conn, error) {
	if config == nil {
		config = &tls.Config{}
	} else {
		config = config.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	config.NextProtos = []string{"http/1.1"} // what the handshake is written in
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// throughProxy gives a connection to target, made by proxy.
func (d *dialer) throughProxy(ctx context.Context, proxy *url.URL, target string) (net.Conn, error) {
	var ask func(net.Conn, *url.URL, string) error
	switch proxy.Scheme {
	case "http", "https":
		ask = askHTTP
	case "socks5", "socks5h":
		ask = askSOCKS
	default:
		return nil, fmt.Errorf("proxy scheme %q is not known", proxy.Scheme)
	}
	conn, err := d.netDial(ctx, address(proxy))
	if err == nil && proxy.Scheme == "https" {
		conn, err = startTLS(ctx, conn, nil, proxy.Hostname())
	}
	if err == nil {
		if err = withContext(ctx, conn, func() error { return ask(conn, proxy, target) }); err != nil {
			conn.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", proxy.Redacted(), err)
	}
	return conn, nil
}

// askHTTP asks an HTTP proxy for a tunnel (RFC 9110 §9.3.6).
func askHTTP(conn net.Conn, proxy *url.URL, target string) error {
	request := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Opaque: target},
		Host:   target,
		Header: http.Header{},
	}
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(proxy.User.Username() + ":" + password))
		request.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	if err := request.Write(conn); err != nil {
		return err
	}
	reader := bufio.NewReader(io.LimitReader(conn, maxResponseHead))
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return errors.New("CONNECT: " + response.Status)
	}
	if reader.Buffered() > 0 {
		return errors.New("CONNECT: bytes before the server could speak") // it waits for our request
	}
	return nil
}
