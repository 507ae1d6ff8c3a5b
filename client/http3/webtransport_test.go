package http3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/websocket"
)

func newClient(t *testing.T, address string, transport *Transport, transports ...client.Transport) *client.Client {
	t.Helper()
	c, err := client.New("https://"+address, &client.Options{
		HTTP:         &http.Client{Transport: transport},
		WebTransport: transport.WebTransport,
		Transports:   transports,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The client publishes and subscribes over a session, and goes on over another
// transport where it was.
func TestClientOverWebTransport(t *testing.T) {
	address, transport := serve(t)
	c := newClient(t, address, transport, client.WebTransport)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const all = 30
	opened, published := make(chan struct{}), make(chan struct{})
	go func() { // Joined below.
		defer close(published)
		<-opened
		for n := range all {
			if _, err := c.Publish(ctx, "room", fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, n, strings.Repeat("x", 10_000)), &client.PublishOptions{Media: "application/json"}); err != nil {
				t.Errorf("publish: %v", err)
				return
			}
			if n == all/2 {
				if err := c.Use(client.SSE); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	got := 0
	for e, err := range c.Subscribe(ctx, []string{"room"}, &client.SubscribeOptions{Opened: func() {
		select {
		case <-opened:
		default:
			if status := c.Status(); status.Transport != client.WebTransport || status.Version != "HTTP/3.0" {
				t.Errorf("%s over %s", status.Transport, status.Version)
			}
			close(opened)
		}
	}}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`"n":%d`, got); !strings.Contains(string(e.Data), want) {
			t.Fatalf("got %.60s, want %s", e.Data, want)
		}
		if got++; got == all {
			break
		}
	}
	if <-published; got != all {
		t.Errorf("%d events", got)
	}
}

// Bytes, ends and silence, of a session by itself.
func TestSession(t *testing.T) {
	address, transport := serve(t)
	open := func(path string) (client.MessageConn, error) {
		u, err := url.Parse("https://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		return transport.WebTransport(t.Context(), u, http.Header{})
	}
	c, err := open("/topics")
	if err != nil {
		t.Fatal(err)
	}
	if message, err := c.ReadMessage(t.Context(), time.Minute); err != nil || !strings.Contains(string(message), "$ping") {
		t.Fatalf("%q, %v", message, err)
	}
	if message, err := c.ReadMessage(t.Context(), 20*time.Millisecond); err != client.ErrIdle {
		t.Errorf("%q, %v", message, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if message, err := c.ReadMessage(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%q, %v", message, err)
	}
	if err := c.WriteMessage(ctx, []byte("{}")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	for range 3 { // a deadline that has passed is no obstacle
		if err := c.WriteMessage(t.Context(), []byte(`{"op":"ping","ref":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if message, err := c.ReadMessage(t.Context(), time.Minute); err != nil || string(message) != `{"op":"ok","ref":1,"http":"h3"}` {
			t.Errorf("%q, %v", message, err)
		}
	}
	if err := c.WriteMessage(t.Context(), []byte(strings.Repeat("x", 3<<20))); err != nil {
		t.Log(err) // the server may have heard enough before
	}
	_, err = c.ReadMessage(t.Context(), time.Minute)
	if end, ok := errors.AsType[*websocket.CloseError](err); !ok || end.Code != websocket.CloseTooBig || end.Reason != "too-big" || !end.Remote {
		t.Errorf("ended with %v", err)
	}
	c.Close()

	for path, status := range map[string]int{"/topics/a*b": 400, "/nothing": 404} {
		_, err := open(path)
		if refusal, ok := errors.AsType[*client.ProblemError](err); !ok || refusal.Status != status || refusal.Name == "" {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := transport.WebTransport(t.Context(), &url.URL{Scheme: "http", Host: address}, nil); err == nil {
		t.Error("http: accepted")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := transport.WebTransport(gone, &url.URL{Scheme: "https", Host: address, Path: "/topics"}, http.Header{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	c, err = open("/topics")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := c.ReadMessage(t.Context(), time.Minute); err == nil {
		t.Error("read after Close")
	}
}
