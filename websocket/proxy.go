package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
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

// askSOCKS asks a SOCKS5 proxy (RFC 1928) to connect, and lets it resolve names.
func askSOCKS(conn net.Conn, proxy *url.URL, target string) error {
	const (
		version      = 5
		noAuth       = 0
		passwordAuth = 2
		connect      = 1
		typeIPv4     = 1
		typeName     = 3
		typeIPv6     = 4
	)
	host, portText, err := net.SplitHostPort(target)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return err
	}

	// §3: the methods that we offer, and the one that is chosen.
	greeting := []byte{version, 1, noAuth}
	if proxy.User != nil {
		greeting = []byte{version, 2, noAuth, passwordAuth}
	}
	if _, err := conn.Write(greeting); err != nil {
		return err
	}
	var chosen [2]byte
	if _, err := io.ReadFull(conn, chosen[:]); err != nil {
		return err
	}
	switch {
	case chosen == [2]byte{version, noAuth}:
	case chosen == [2]byte{version, passwordAuth} && proxy.User != nil:
		if err := socksPassword(conn, proxy.User); err != nil {
			return err
		}
	default:
		return errors.New("socks: no way to authenticate")
	}

	// §4: the request; §6: the reply, which ends with an address of the proxy's.
	request := []byte{version, connect, 0}
	if ip, err := netip.ParseAddr(host); err != nil {
		if len(host) > 255 {
			return errors.New("socks: host name longer than 255 bytes")
		}
		request = append(request, typeName, byte(len(host)))
		request = append(request, host...)
	} else if ip.Is4() {
		request = append(append(request, typeIPv4), ip.AsSlice()...)
	} else {
		request = append(append(request, typeIPv6), ip.AsSlice()...)
	}
	request = binary.BigEndian.AppendUint16(request, uint16(port))
	if _, err := conn.Write(request); err != nil {
		return err
	}
	var reply [5]byte // as far as the first byte of the address
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return err
	}
	if reply[0] != version || reply[1] != 0 {
		return fmt.Errorf("socks: connect refused (%d)", reply[1])
	}
	rest := 0
	switch reply[3] {
	case typeIPv4:
		rest = 4 - 1 + 2
	case typeIPv6:
		rest = 16 - 1 + 2
	case typeName:
		rest = int(reply[4]) + 2
	default:
		return errors.New("socks: reply of an unknown form")
	}
	_, err = io.CopyN(io.Discard, conn, int64(rest))
	return err
}

// socksPassword authenticates by RFC 1929.
func socksPassword(conn net.Conn, user *url.Userinfo) error {
	name := user.Username()
	password, _ := user.Password()
	if len(name) > 255 || len(password) > 255 {
		return errors.New("socks: user or password longer than 255 bytes")
	}
	message := append([]byte{1, byte(len(name))}, name...)
	message = append(message, byte(len(password)))
	message = append(message, password...)
	if _, err := conn.Write(message); err != nil {
		return err
	}
	var status [2]byte
	if _, err := io.ReadFull(conn, status[:]); err != nil {
		return err
	}
	if status[1] != 0 {
		return errors.New("socks: user or password refused")
	}
	return nil
}
