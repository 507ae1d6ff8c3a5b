package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/duplexhq/duplex/websocket/h2"
	"github.com/duplexhq/duplex/websocket/wire"
)

func protocols(set ...func(*http.Protocols, bool)) *http.Protocols {
	p := new(http.Protocols)
	for _, one := range set {
		one(p, true)
	}
	return p
}

// eachHTTP2 runs a test over TLS and without it. The server knows HTTP/1.1 too.
func eachHTTP2(t *testing.T, handler http.Handler, test func(t *testing.T, url string, transport *http.Transport)) {
	t.Parallel()
	t.Run("wss", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewUnstartedServer(handler)
		server.EnableHTTP2 = true
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.StartTLS()
		t.Cleanup(server.Close)
		transport := &http.Transport{
			TLSClientConfig: server.Client().Transport.(*http.Transport).TLSClientConfig.Clone(),
			Protocols:       protocols((*http.Protocols).SetHTTP2),
		}
		t.Cleanup(transport.CloseIdleConnections)
		test(t, "wss"+strings.TrimPrefix(server.URL, "https"), transport)
	})
	t.Run("ws", func(t *testing.T) {
		t.Parallel()
		url, transport := serveH2C(t, handler)
		test(t, url, transport)
	})
}

func serveH2C(t *testing.T, handler http.Handler) (url string, transport *http.Transport) {
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = protocols((*http.Protocols).SetHTTP1, (*http.Protocols).SetUnencryptedHTTP2)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	transport = &http.Transport{Protocols: protocols((*http.Protocols).SetUnencryptedHTTP2)}
	t.Cleanup(transport.CloseIdleConnections)
	return "ws" + strings.TrimPrefix(server.URL, "http"), transport
}

// handling accepts every handshake, and closes the connection after f.
func handling(opts *AcceptOptions, f func(*Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := Accept(w, r, opts); err == nil {
			defer c.CloseNow()
			f(c)
		}
	})
}

func TestEchoOverHTTP2(t *testing.T) {
	handler := echoHandler(&AcceptOptions{Subprotocols: []string{"superchat"}, Options: Options{ReadLimit: 8 << 20}})
	eachHTTP2(t, handler, func(t *testing.T, url string, transport *http.Transport) {
		c, response, err := Dial(t.Context(), url, &DialOptions{
			Options:      Options{ReadLimit: 8 << 20},
			HTTP2:        transport,
			Subprotocols: []string{"chat", "superchat"},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if c.Subprotocol() != "superchat" || response.StatusCode != 200 || response.ProtoMajor != 2 || response.Header.Get("Set-Cookie") == "" {
			t.Errorf("response %+v", response)
		}
		for _, field := range []string{"Connection", "Content-Type", "Sec-Websocket-Accept"} {
			if value := response.Header.Get(field); value != "" {
				t.Errorf("%s: %s", field, value)
			}
		}
		if c.LocalAddr().String() == "" || !strings.HasSuffix(url, c.RemoteAddr().String()) {
			t.Errorf("addresses %v and %v", c.LocalAddr(), c.RemoteAddr())
		}
		for _, size := range []int{0, 1, 125, 126, 4095, 4096, 8178, 8192, 65536, 65537, 5 << 20} {
			message := bytes.Repeat([]byte{'x'}, size)
			written := make(chan error, 1)
			go func() { written <- c.Write(t.Context(), Binary, message) }()
			if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, message) {
				t.Fatalf("%d bytes: got %d, %v", size, len(got), err)
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
		}
		read := make(chan error, 1)
		go func() { read <- second2(c.Read(t.Context())) }()
		if latency, err := c.Ping(t.Context()); err != nil || latency <= 0 {
			t.Errorf("ping: %v, %v", latency, err)
		}
		if err := c.Close(CloseNormal, "bye"); err != nil {
			t.Error(err)
		}
		wantClosed(t, <-read, CloseNormal, false)
	})
}

func second2(_ MessageType, _ []byte, err error) error { return err }

func TestServerClosesOverHTTP2(t *testing.T) {
	ends := make(chan error, 2)
	handler := handling(nil, func(c *Conn) { ends <- c.Close(4001, "enough") })
	eachHTTP2(t, handler, func(t *testing.T, url string, transport *http.Transport) {
		c := dial(t, url, &DialOptions{HTTP2: transport})
		_, _, err := c.Read(t.Context())
		wantClosed(t, err, 4001, true)
		if err := <-ends; err != nil {
			t.Errorf("server: %v", err)
		}
		<-c.Done()
	})
}

// The close frame arrives although the server did not read everything.
func TestFaultOverHTTP2(t *testing.T) {
	eachHTTP2(t, echoHandler(nil), func(t *testing.T, url string, transport *http.Transport) {
		c := dial(t, url, &DialOptions{HTTP2: transport, Options: Options{CloseTimeout: time.Minute}})
		go c.Write(t.Context(), Binary, make([]byte, 3<<20))
		_, _, err := c.Read(t.Context())
		wantClosed(t, err, CloseTooBig, true)
	})
}

// RFC 8441 §5: "Orderly TCP-level closures are represented as END_STREAM flags", which is not yet a
// close of the WebSocket.
func TestEndsWithoutACloseFrameOverHTTP2(t *testing.T) {
	ends := make(chan error, 1)
	url, transport := serveH2C(t, handling(nil, func(c *Conn) {
		_, _, err := c.Read(context.Background())
		ends <- err
	}))
	c := dial(t, url, &DialOptions{HTTP2: transport})
	if err := c.conn.(*stream).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-ends; !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("END_STREAM: %v", err)
	}
	if _, _, err := c.Read(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("the server's END_STREAM: %v", err)
	}

	c = dial(t, url, &DialOptions{HTTP2: transport})
	c.CloseNow()
	if err := <-ends; err == nil || errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "CANCEL") {
		t.Errorf("RST_STREAM: %v", err)
	}
	if _, _, err := c.Read(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after CloseNow: %v", err)
	}
}

// The handler's return ends the stream; who still has the connection meets errors, and no panic.
func TestHandlerReturns(t *testing.T) {
	t.Parallel()
	conns := make(chan *Conn, 1)
	url, transport := serveH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		conns <- c
	}))
	c := dial(t, url, &DialOptions{HTTP2: transport})
	if _, _, err := c.Read(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("client: %v", err)
	}
	left := <-conns
	if err := left.Write(t.Context(), Text, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: %v", err)
	}
	if _, _, err := left.Read(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	left.CloseNow()
}

func TestHandlerWaitsForDone(t *testing.T) {
	t.Parallel()
	url, transport := serveH2C(t, handling(nil, func(c *Conn) {
		go echo(c)
		<-c.Done()
	}))
	c := dial(t, url, &DialOptions{HTTP2: transport})
	wantEcho(t, c)
	if err := c.Close(CloseNormal, ""); err != nil {
		t.Error(err)
	}
}

func TestManyStreamsOnOneConnection(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(echoHandler(nil))
	server.Config.Protocols = protocols((*http.Protocols).SetUnencryptedHTTP2)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	transport := &http.Transport{Protocols: protocols((*http.Protocols).SetUnencryptedHTTP2)}
	t.Cleanup(transport.CloseIdleConnections)
	url := "ws" + strings.TrimPrefix(server.URL, "http")
	first := dial(t, url, &DialOptions{HTTP2: transport})
	var users sync.WaitGroup
	for range 90 { // an HTTP/2 client may open 100 before it knows better
		users.Go(func() {
			c, _, err := Dial(t.Context(), url, &DialOptions{HTTP2: transport})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			for range 10 {
				if err := c.Write(t.Context(), Text, []byte("x")); err != nil {
					t.Error(err)
				}
				if _, message, err := c.Read(t.Context()); string(message) != "x" {
					t.Errorf("got %q, %v", message, err)
				}
			}
			if err := c.Close(CloseNormal, ""); err != nil {
				t.Error(err)
			}
		})
	}
	users.Wait()
	wantEcho(t, first)
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestCheckConnect(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*http.Request)
		status int
		field  string
	}{
		{"good", func(*http.Request) {}, 0, ""},
		{"of quic-go", func(r *http.Request) { r.Proto, r.ProtoMajor = "websocket", 3; delete(r.Header, ":protocol") }, 0, ""},
		{"GET", func(r *http.Request) { r.Method = "GET" }, 405, "method"},
		{"no :protocol", func(r *http.Request) { delete(r.Header, ":protocol") }, 400, ":protocol"},
		{"no :protocol over HTTP/3", func(r *http.Request) { r.Proto, r.ProtoMajor = "HTTP/3.0", 3; delete(r.Header, ":protocol") }, 400, ":protocol"},
		{"another protocol", func(r *http.Request) { r.Header[":protocol"] = []string{"webtransport"} }, 501, ":protocol"},
		{"another protocol over HTTP/3", func(r *http.Request) { r.Proto, r.ProtoMajor = "connect-udp", 3; delete(r.Header, ":protocol") }, 501, ":protocol"},
		{"no authority", func(r *http.Request) { r.Host = "" }, 400, ":authority"},
		{"a length", func(r *http.Request) { r.ContentLength = 5 }, 400, "Content-Length"},
		{"END_STREAM", func(r *http.Request) { r.ContentLength = 0 }, 400, "Content-Length"},
		{"no version", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Version") }, 400, "Sec-WebSocket-Version"},
		{"version 8", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, 400, "Sec-WebSocket-Version"},
		{"two versions", func(r *http.Request) { r.Header.Add("Sec-WebSocket-Version", "13") }, 400, "Sec-WebSocket-Version"},
		{"own origin", func(r *http.Request) { r.Header.Set("Origin", "http://server.example.com") }, 0, ""},
		{"foreign origin", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, 403, "Origin"},
		{"bad subprotocols", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Protocol", "a b") }, 400, "Sec-WebSocket-Protocol"},
	} {
		r := httptest.NewRequest("CONNECT", "/chat", http.NoBody)
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
		r.Host, r.ContentLength = "server.example.com", -1
		r.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}
		test.change(r)
		handshake, refusal := CheckHandshake(r, nil)
		switch {
		case test.status == 0 && (handshake == nil || handshake.Accept != ""):
			t.Errorf("%s: %v, %v", test.name, handshake, refusal)
		case test.status != 0 && (refusal == nil || refusal.Status != test.status || refusal.Field != test.field):
			t.Errorf("%s: %v, %v", test.name, handshake, refusal)
		}
		if refusal != nil && (refusal.Header.Get("Upgrade") != "" || refusal.Header.Get("Connection") != "") {
			t.Errorf("%s: fields of HTTP/1.1 in %v", test.name, refusal.Header) // RFC 9113 §8.2.2
		}
	}
}

// connect sends an extended CONNECT with whatever header fields.
func connect(t *testing.T, url string, transport *http.Transport, header http.Header) *http.Response {
	t.Helper()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		header[":protocol"] = []string{"websocket"}
	}})
	body, ours := io.Pipe()
	t.Cleanup(func() { ours.Close() })
	r, err := http.NewRequestWithContext(ctx, "CONNECT", "http"+strings.TrimPrefix(url, "ws"), body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

// RFC 8441 §5 has no use for the key, but some clients send it and want the answer.
func TestKeyIsAnsweredOverHTTP2(t *testing.T) {
	t.Parallel()
	url, transport := serveH2C(t, echoHandler(nil))
	response := connect(t, url, transport, http.Header{
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
	})
	if accept := response.Header.Get("Sec-WebSocket-Accept"); response.StatusCode != 200 || accept != wire.AcceptKey("dGhlIHNhbXBsZSBub25jZQ==") {
		t.Errorf("%s: %q", response.Status, accept)
	}
}

func TestRefusalOverHTTP2(t *testing.T) {
	eachHTTP2(t, echoHandler(nil), func(t *testing.T, url string, transport *http.Transport) {
		origin := http.Header{"Origin": {"https://evil.example"}}
		_, response, err := Dial(t.Context(), url, &DialOptions{HTTP2: transport, Header: origin})
		refusal, ok := errors.AsType[*HandshakeError](err)
		if !ok || refusal.Status != 403 || refusal.Field != "status" || !bytes.Contains(refusal.Body, []byte("Origin")) || response.StatusCode != 403 {
			t.Errorf("got %v", err)
		}
		if body, err := io.ReadAll(response.Body); err != nil || !bytes.Equal(body, refusal.Body) {
			t.Errorf("body %q, %v", body, err)
		}
	})
}

func TestResponseWriterWithoutDeadlines(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("CONNECT", "/chat", http.NoBody)
	r.ProtoMajor, r.ContentLength = 2, -1
	r.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}
	w := httptest.NewRecorder()
	if c, err := Accept(w, r, nil); c != nil || err == nil || w.Code != 500 {
		t.Errorf("got %v, %v, %d", c, err, w.Code)
	}
}
