package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/websocket/wire"
)

// pair gives both ends of a connection over net.Pipe.
func pair(t *testing.T, options Options) (server, client *Conn) {
	t.Helper()
	a, b := net.Pipe()
	server = newConn(a, wire.Server, "", options, nil)
	client = newConn(b, wire.Client, "", options, nil)
	t.Cleanup(server.CloseNow)
	t.Cleanup(client.CloseNow)
	return server, client
}

// serve runs a server whose connections are handled by handle, and gives its URL.
func serve(t *testing.T, opts *AcceptOptions, handle func(*Conn)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, opts)
		if err != nil {
			return
		}
		defer c.CloseNow()
		handle(c)
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

func dial(t *testing.T, url string, opts *DialOptions) *Conn {
	t.Helper()
	c, _, err := Dial(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseNow)
	return c
}

// echo sends every message back.
func echo(c *Conn) {
	var message []byte
	for {
		messageType, payload, err := c.ReadAppend(context.Background(), message[:0])
		if err != nil {
			return
		}
		message = payload
		if c.Write(context.Background(), messageType, message) != nil {
			return
		}
	}
}

func wantClosed(t *testing.T, err error, code CloseCode, remote bool) {
	t.Helper()
	closed, ok := errors.AsType[*CloseError](err)
	if !ok || closed.Code != code || closed.Remote != remote {
		t.Fatalf("got error %v, want close %d, remote %v", err, code, remote)
	}
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v does not match net.ErrClosed", err)
	}
}

func TestEchoOfEverySize(t *testing.T) {
	t.Parallel()
	c := dial(t, serve(t, &AcceptOptions{Options: Options{ReadLimit: 4 << 20}}, echo), &DialOptions{Options: Options{ReadLimit: 4 << 20}})
	for _, size := range []int{0, 1, 125, 126, 127, 4095, 8178, 8192, 65535, 65536, 65537, 3 << 20} {
		message := strings.Repeat("ü!", size/3) + strings.Repeat("x", size%3)
		for _, messageType := range []MessageType{Text, Binary} {
			written := make(chan error, 1)
			go func() { written <- c.Write(t.Context(), messageType, []byte(message)) }()
			gotType, got, err := c.Read(t.Context())
			if err != nil || gotType != messageType || string(got) != message {
				t.Fatalf("%d bytes: got %v, %d bytes, %v", size, gotType, len(got), err)
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Close(CloseNormal, "bye"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if err := c.Write(t.Context(), Text, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}

func TestReaderGivesAllOfAMessage(t *testing.T) {
	t.Parallel()
	c := dial(t, serve(t, nil, func(c *Conn) {
		w, _ := c.Writer(context.Background(), Text)
		for range 1000 {
			io.WriteString(w, "Grüße, 世界! ")
		}
		w.Close()
		c.Close(CloseNormal, "")
	}), nil)
	messageType, r, err := c.Reader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if want := strings.Repeat("Grüße, 世界! ", 1000); err != nil || messageType != Text || string(got) != want {
		t.Fatalf("got %v, %d bytes of %d, %v", messageType, len(got), len(want), err)
	}
	_, _, err = c.Read(t.Context())
	wantClosed(t, err, CloseNormal, true)
}
