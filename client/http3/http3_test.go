package http3

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
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
	dir := filepath.Join(t.TempDir(), "ca")
	s, err := server.New(&server.Config{Listen: []string{"127.0.0.1:0"}, TLSDevDir: dir, HTTP3: true})
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
