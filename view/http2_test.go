package view_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/view"
	"github.com/duplexhq/duplex/view/viewtest"
	"github.com/duplexhq/duplex/websocket"
	_ "github.com/duplexhq/duplex/websocket/h2"
)

// overHTTP2 serves an empty log over TLS with HTTP/2.
func overHTTP2(t *testing.T) (h *view.Handler, url string, transport *http.Transport) {
	t.Helper()
	topics := viewtest.New(t, nil, nil)
	server := httptest.NewUnstartedServer(topics)
	server.EnableHTTP2 = true
	server.StartTLS()
	transport = &http.Transport{
		TLSClientConfig: server.Client().Transport.(*http.Transport).TLSClientConfig.Clone(),
		Protocols:       new(http.Protocols),
	}
	transport.Protocols.SetHTTP2(true)
	t.Cleanup(func() {
		topics.Close()
		transport.CloseIdleConnections()
		server.Close()
	})
	return topics.Handler, "wss" + strings.TrimPrefix(server.URL, "https"), transport
}

func dialOver(t *testing.T, url string, opts *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, response, err := websocket.Dial(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	if response.ProtoMajor != 2 {
		t.Errorf("answered over %s", response.Proto)
	}
	t.Cleanup(c.CloseNow)
	return c
}

func wantMessage(t *testing.T, c *websocket.Conn, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, got, err := c.Read(ctx); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// The handshake may be an extended CONNECT (PROTOCOL.md §8.1). What follows is the same.
func TestWebSocketOverHTTP2(t *testing.T) {
	t.Parallel()
	_, url, transport := overHTTP2(t)
	raw := dialOver(t, url+"/topics/a/b", &websocket.DialOptions{HTTP2: transport})
	many := dialOver(t, url+"/topics", &websocket.DialOptions{HTTP2: transport, Subprotocols: []string{"duplex.v1"}})
	if many.Subprotocol() != "duplex.v1" {
		t.Errorf("subprotocol %q", many.Subprotocol())
	}
	if err := raw.Write(t.Context(), websocket.Text, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	wantMessage(t, raw, "hello")

	if err := many.Write(t.Context(), websocket.Text, []byte(`{"op":"ping","ref":1}`)); err != nil {
		t.Fatal(err)
	}
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, message, err := many.Read(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Op   string
			Ref  int
			HTTP string
		}
		if err := json.Unmarshal(message, &answer); err != nil {
			t.Fatal(err)
		}
		if answer.Op == "ok" && answer.Ref == 1 {
			if answer.HTTP != "h2" {
				t.Errorf("over %q", answer.HTTP)
			}
			break // after the first signal
		}
	}
	for _, c := range []*websocket.Conn{raw, many} {
		if err := c.Close(websocket.CloseNormal, ""); err != nil {
			t.Error(err)
		}
	}
}

func TestWebSocketOverHTTP2IsRefused(t *testing.T) {
	t.Parallel()
	_, url, transport := overHTTP2(t)
	for _, test := range []struct {
		path, origin string
		status       int
		problem      string
	}{
		{"/topics/a", "https://evil.example", 403, "origin"},
		{"/topics", "", 400, "bad-handshake"}, // it needs the subprotocol
	} {
		header := http.Header{}
		if test.origin != "" {
			header.Set("Origin", test.origin)
		}
		_, _, err := websocket.Dial(t.Context(), url+test.path, &websocket.DialOptions{HTTP2: transport, Header: header})
		refusal, ok := errors.AsType[*websocket.HandshakeError](err)
		if !ok || refusal.Status != test.status || !strings.Contains(string(refusal.Body), test.problem) {
			t.Errorf("%s from %q: %v", test.path, test.origin, err)
			if ok {
				t.Logf("%s", refusal.Body)
			}
		}
	}
}

func TestShutdownOverHTTP2(t *testing.T) {
	t.Parallel()
	h, url, transport := overHTTP2(t)
	c := dialOver(t, url+"/topics/a", &websocket.DialOptions{HTTP2: transport})
	read := make(chan error, 1)
	go func() {
		_, _, err := c.Read(context.Background())
		read <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	closed, ok := errors.AsType[*websocket.CloseError](<-read)
	if !ok || closed.Code != websocket.CloseGoingAway || !closed.Remote {
		t.Errorf("got %v", closed)
	}
}
