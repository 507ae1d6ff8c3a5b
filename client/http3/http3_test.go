package http3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/server"
	"github.com/duplexhq/duplex/websocket"
)

// serve gives the HOST:PORT of a server with HTTP/3, and a transport that trusts
// it.
func serve(t *testing.T) (address string, transport *Transport) {
	t.Helper()
	return serveAt(t, "127.0.0.1:0")
}

func serveAt(t *testing.T, listen string) (address string, transport *Transport) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	s, err := server.New(context.Background(), &server.Config{Listen: []string{listen}, TLSDevDir: dir, HTTP3: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, server.DevCAFile))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(text)
	transport = New(config)
	t.Cleanup(func() {
		if err := transport.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return s.Addrs()[0].String(), transport
}

func TestRequests(t *testing.T) {
	address, transport := serve(t)
	client := &http.Client{Transport: transport}
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+"/topics/room", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if response.Body.Close(); err != nil || response.ProtoMajor != 3 || !strings.Contains(string(text), `"id":"`) {
			t.Errorf("%s: %s %s %q, %v", method, response.Proto, response.Status, text, err)
		}
	}
}

// Many WebSockets share a connection.
func TestWebSockets(t *testing.T) {
	address, transport := serve(t)
	var conns []*websocket.Conn
	for range 50 {
		c, _, err := websocket.Dial(t.Context(), "wss://"+address+"/topics/room", &websocket.DialOptions{HTTP3: transport})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		conns = append(conns, c)
	}
	if err := conns[0].Write(t.Context(), websocket.Text, []byte("for all")); err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		if _, message, err := c.Read(t.Context()); err != nil || string(message) != "for all" {
			t.Fatalf("%q, %v", message, err)
		}
		if err := c.Close(websocket.CloseNormal, ""); err != nil {
			t.Error(err)
		}
	}
}

// Addresses of both families.
func TestIPv6(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6: ", err)
	} else {
		l.Close()
	}
	address, transport := serveAt(t, "[::1]:0")
	response, err := (&http.Client{Transport: transport}).Get("https://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if response.Body.Close(); response.StatusCode != http.StatusOK {
		t.Error(response.Status)
	}
	u := &url.URL{Scheme: "https", Host: address, Path: "/topics"}
	session, err := transport.WebTransport(t.Context(), u, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	session.Close()
}

// A socket that somebody else opens, and that is closed with the connection.
func TestOpen(t *testing.T) {
	address, transport := serve(t)
	asked, closed := "", make(chan struct{})
	transport.Open = func(_ context.Context, to netip.AddrPort) (net.PacketConn, error) {
		asked = to.String()
		socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		return &watchedSocket{socket, closed}, err
	}
	session, err := transport.WebTransport(t.Context(), &url.URL{Scheme: "https", Host: address, Path: "/topics"}, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if asked != address {
		t.Errorf("opened for %q, want %q", asked, address)
	}
	session.Close()
	<-closed
}

type watchedSocket struct {
	*net.UDPConn
	closed chan struct{}
}

func (s *watchedSocket) Close() error {
	close(s.closed)
	return s.UDPConn.Close()
}
