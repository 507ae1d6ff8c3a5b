package websocket

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// Types and flags of HTTP/2 frames (RFC 9113 §6).
const (
	dataFrame     = 0
	headersFrame  = 1
	resetFrame    = 3
	settingsFrame = 4

	endStream  = 1 // of DATA and HEADERS
	endHeaders = 4

	refusedStream = 7 // error code, §7
)

const (
	preface          = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	offersWebSockets = "\x00\x08\x00\x00\x00\x01" // SETTINGS_ENABLE_CONNECT_PROTOCOL = 1 (RFC 8441 §3)
	status200        = "\x88"                     // HPACK, RFC 7541 appendix A
)

// rawHTTP2 is one end of an HTTP/2 connection, spoken to in frames.
type rawHTTP2 struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func newRawHTTP2(t *testing.T, conn net.Conn) *rawHTTP2 {
	conn.SetDeadline(time.Now().Add(time.Minute)) // so that a fault fails instead of hanging
	return &rawHTTP2{t, conn, bufio.NewReader(conn)}
}

// dialRawHTTP2 begins a connection as a client.
func dialRawHTTP2(t *testing.T, url string) *rawHTTP2 {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	raw := newRawHTTP2(t, conn)
	io.WriteString(conn, preface)
	raw.write(settingsFrame, 0, 0, "")
	return raw
}

// acceptRawHTTP2 begins a connection as a server with these settings.
func acceptRawHTTP2(t *testing.T, l net.Listener, settings string) *rawHTTP2 {
	conn, err := l.Accept()
	if err != nil {
		t.Error(err)
		return nil
	}
	raw := newRawHTTP2(t, conn)
	raw.write(settingsFrame, 0, 0, settings)
	if _, err := raw.r.Discard(len(preface)); err != nil {
		t.Error(err)
	}
	return raw
}

// write sends a frame (RFC 9113 §4.1).
func (raw *rawHTTP2) write(frameType, flags byte, stream uint32, payload string) {
	frame := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), frameType, flags}
	frame = binary.BigEndian.AppendUint32(frame, stream)
	if _, err := raw.conn.Write(append(frame, payload...)); err != nil {
		raw.t.Errorf("write frame of type %d: %v", frameType, err)
	}
}

// next reads a frame of that type, leaving out all others.
func (raw *rawHTTP2) next(want byte) (flags byte, stream uint32, payload string) {
	for {
		var head [9]byte
		if _, err := io.ReadFull(raw.r, head[:]); err != nil {
			raw.t.Errorf("wait for frame of type %d: %v", want, err)
			return 0, 0, ""
		}
		b := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(raw.r, b); err != nil {
			raw.t.Error(err)
		}
		if head[3] == want {
			return head[4], binary.BigEndian.Uint32(head[5:]), string(b)
		}
	}
}

// headerBlock encodes fields as literals without indexing (RFC 7541 §6.2.2).
func headerBlock(fields ...string) string {
	var b strings.Builder
	for _, field := range fields {
		name, value, _ := strings.Cut(field, " ")
		b.WriteString("\x00" + string(rune(len(name))) + name + string(rune(len(value))) + value)
	}
	return b.String()
}

var connectFields = []string{":method CONNECT", ":protocol websocket", ":scheme http", ":path /chat", ":authority server.example.com",
	"sec-websocket-version 13", "origin http://server.example.com"}

func maskedFrame(opcode wire.Opcode, payload string) string {
	return string(wire.AppendMaskedFrame(nil, opcode, true, 0x3d21fa37, []byte(payload)))
}

func unmaskedFrame(opcode wire.Opcode, payload string) string {
	return string(wire.AppendFrame(nil, opcode, true, []byte(payload)))
}

// The example of RFC 8441 §5.1, with the first frame right behind the request.
func TestExtendedConnect(t *testing.T) {
	t.Parallel()
	ends := make(chan error, 1)
	url, _ := serveH2C(t, handling(nil, func(c *Conn) {
		messageType, message, err := c.Read(context.Background())
		if err == nil {
			err = c.Write(context.Background(), messageType, message)
		}
		if err == nil {
			_, _, err = c.Read(context.Background())
		}
		ends <- err
	}))
	raw := dialRawHTTP2(t, url)
	if _, _, settings := raw.next(settingsFrame); !strings.Contains(settings, offersWebSockets) {
		t.Fatalf("server's settings %x", settings)
	}
	for _, test := range []struct {
		name   string
		finish func(stream uint32)
		ended  func(error) bool
		reset  bool // instead of END_STREAM
	}{
		{"close frame", func(stream uint32) {
			raw.write(dataFrame, endStream, stream, maskedFrame(wire.Close, "\x03\xe8bye"))
			if _, _, data := raw.next(dataFrame); data != unmaskedFrame(wire.Close, "\x03\xe8bye") {
				t.Errorf("got %x", data)
			}
		}, func(err error) bool {
			closed, ok := errors.AsType[*CloseError](err)
			return ok && closed.Code == CloseNormal && closed.Remote
		}, false},
		// RFC 8441 §5: "Orderly TCP-level closures are represented as END_STREAM flags".
		{"END_STREAM", func(stream uint32) { raw.write(dataFrame, endStream, stream, "") },
			func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }, false},
		// "RST exceptions are represented with the RST_STREAM frame with a CANCEL error code."
		{"RST_STREAM", func(stream uint32) { raw.write(resetFrame, 0, stream, "\x00\x00\x00\x08") },
			func(err error) bool { return !errors.Is(err, io.ErrUnexpectedEOF) && errors.Is(err, net.ErrClosed) }, true},
	} {
		stream := map[string]uint32{"close frame": 1, "END_STREAM": 3, "RST_STREAM": 5}[test.name]
		raw.write(headersFrame, endHeaders, stream, headerBlock(connectFields...))
		raw.write(dataFrame, 0, stream, maskedFrame(wire.Text, "Hello"))
		if flags, on, block := raw.next(headersFrame); flags&endStream != 0 || on != stream || !strings.HasPrefix(block, status200) {
			t.Fatalf("%s: response %x on stream %d", test.name, block, on)
		}
		if _, _, data := raw.next(dataFrame); data != unmaskedFrame(wire.Text, "Hello") {
			t.Errorf("%s: got %x", test.name, data)
		}
		test.finish(stream)
		if err := <-ends; !test.ended(err) {
			t.Errorf("%s: the connection ended with %v", test.name, err)
		}
		if !test.reset {
			if flags, on, data := raw.next(dataFrame); flags&endStream == 0 || on != stream || data != "" {
				t.Errorf("%s: got %x, flags %d; want the end", test.name, data, flags)
			}
		}
	}
}

// A CONNECT without :protocol is for a proxy (RFC 9113 §8.5), and is refused.
func TestPlainConnect(t *testing.T) {
	t.Parallel()
	refusals := make(chan *HandshakeError, 1)
	url, _ := serveH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := Accept(w, r, nil)
		refusal, _ := errors.AsType[*HandshakeError](err)
		refusals <- refusal
	}))
	raw := dialRawHTTP2(t, url)
	raw.write(headersFrame, endHeaders, 1, headerBlock(":method CONNECT", ":authority server.example.com:80", "sec-websocket-version 13"))
	if refusal := <-refusals; refusal == nil || refusal.Status != 400 || refusal.Field != ":protocol" {
		t.Errorf("got %v", refusal)
	}
	if _, _, block := raw.next(headersFrame); strings.HasPrefix(block, status200) {
		t.Errorf("response %x", block)
	}
}

// rawHTTP2Server has a connection served, until its client ends it.
func rawHTTP2Server(t *testing.T, settings string, serve func(*rawHTTP2)) (url string, transport *http.Transport) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if raw := acceptRawHTTP2(t, l, settings); raw != nil {
			defer raw.conn.Close()
			serve(raw)
			io.Copy(io.Discard, raw.r)
		}
	}()
	transport = &http.Transport{Protocols: protocols((*http.Protocols).SetUnencryptedHTTP2)}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		l.Close()
		<-served
	})
	return "ws://" + l.Addr().String(), transport
}

// RFC 8441 §3: a client may not use extended CONNECT before the server has said that it knows it.
func TestServerThatDoesNotOfferIt(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{"", "\x00\x08\x00\x00\x00\x00"} {
		url, transport := rawHTTP2Server(t, settings, func(*rawHTTP2) {})
		c, response, err := Dial(t.Context(), url, &DialOptions{HTTP2: transport})
		refusal, ok := errors.AsType[*HandshakeError](err)
		if c != nil || response != nil || !ok || refusal.Field != ":protocol" {
			t.Errorf("settings %x: %v", settings, err)
		}
	}
}

// A stream that the server has not looked at is tried again (RFC 9113 §8.7).
func TestRefusedStreamIsTriedAgain(t *testing.T) {
	t.Parallel()
	url, transport := rawHTTP2Server(t, offersWebSockets, func(raw *rawHTTP2) {
		_, stream, _ := raw.next(headersFrame)
		raw.write(resetFrame, 0, stream, string([]byte{0, 0, 0, refusedStream}))
		_, stream, _ = raw.next(headersFrame)
		raw.write(headersFrame, endHeaders, stream, status200)
		raw.write(dataFrame, 0, stream, unmaskedFrame(wire.Text, "Hello"))
		raw.next(dataFrame) // a close
		raw.write(dataFrame, endStream, stream, unmaskedFrame(wire.Close, "\x03\xe8"))
		if flags, _, data := raw.next(dataFrame); flags&endStream == 0 || data != "" {
			t.Errorf("got %x, flags %d; want the client's end", data, flags)
		}
	})
	c := dial(t, url, &DialOptions{HTTP2: transport})
	if _, message, err := c.Read(t.Context()); string(message) != "Hello" {
		t.Errorf("got %q, %v", message, err)
	}
	if err := c.Close(CloseNormal, ""); err != nil {
		t.Error(err)
	}
}

// What the server sent before it gave the stream up is read, also by a write that it ends.
func TestCloseBeforeResetIsRead(t *testing.T) {
	t.Parallel()
	url, transport := rawHTTP2Server(t, offersWebSockets, func(raw *rawHTTP2) {
		_, stream, _ := raw.next(headersFrame)
		raw.write(headersFrame, endHeaders, stream, status200)
		raw.next(dataFrame)
		raw.write(dataFrame, endStream, stream, unmaskedFrame(wire.Close, "\x03\xf1"))
		raw.write(resetFrame, 0, stream, "\x00\x00\x00\x00")
	})
	c := dial(t, url, &DialOptions{HTTP2: transport})
	wantClosed(t, c.Write(t.Context(), Binary, make([]byte, 1<<20)), CloseTooBig, true)
	_, _, err := c.Read(t.Context())
	wantClosed(t, err, CloseTooBig, true)
}

func TestConnectionLostBelowAStream(t *testing.T) {
	t.Parallel()
	url, transport := rawHTTP2Server(t, offersWebSockets, func(raw *rawHTTP2) {
		_, stream, _ := raw.next(headersFrame)
		raw.write(headersFrame, endHeaders, stream, status200)
		raw.conn.Close()
	})
	c := dial(t, url, &DialOptions{HTTP2: transport})
	if _, _, err := c.Read(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestDialOverHTTP2ChecksTheResponse(t *testing.T) {
	t.Parallel()
	url, transport := serveH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/subprotocol":
			w.Header().Set("Sec-WebSocket-Protocol", "superchat")
		case "/extension":
			w.Header().Set("Sec-WebSocket-Extensions", "x-unknown")
		case "/moved":
			http.Redirect(w, r, "/subprotocol", http.StatusTemporaryRedirect)
			return
		case "/slow":
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	for _, test := range []struct{ path, field string }{
		{"/subprotocol", "Sec-WebSocket-Protocol"},
		{"/extension", "Sec-WebSocket-Extensions"},
		{"/moved", "Sec-WebSocket-Protocol"},
	} {
		c, response, err := Dial(t.Context(), url+test.path, &DialOptions{HTTP2: transport, Subprotocols: []string{"chat"}, MaxRedirects: 1})
		wrong, ok := errors.AsType[*HandshakeError](err)
		if c != nil || response == nil || !ok || wrong.Field != test.field {
			t.Errorf("%s: %v", test.path, err)
		}
	}
	if c, response, err := Dial(t.Context(), url+"/slow", &DialOptions{HTTP2: transport, Timeout: 50 * time.Millisecond}); c != nil || response != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("/slow: %v", err)
	}
}

func TestDialOverHTTP2NeedsATransportOfItsOwn(t *testing.T) {
	t.Parallel()
	http1, http2, h2c := (*http.Protocols).SetHTTP1, (*http.Protocols).SetHTTP2, (*http.Protocols).SetUnencryptedHTTP2
	for name, test := range map[string]struct {
		url       string
		protocols *http.Protocols
	}{
		"default":        {"wss://example.com", nil},
		"HTTP/1.1 too":   {"wss://example.com", protocols(http1, http2)},
		"h2c and ws":     {"ws://example.com", protocols(http1, h2c)},
		"no h2c for ws":  {"ws://example.com", protocols(http2)},
		"no TLS for wss": {"wss://example.com", protocols(h2c)},
	} {
		transport := &http.Transport{Protocols: test.protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, fmt.Errorf("%s: dialled", name)
		}}
		if _, _, err := Dial(t.Context(), test.url, &DialOptions{HTTP2: transport}); !errors.Is(err, errProtocols) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A connection of the caller's that net/http would speak HTTP/1.1 on.
	transport := &http.Transport{
		Protocols: protocols(http2),
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			a, b := net.Pipe()
			go io.Copy(io.Discard, b)
			return a, nil
		},
	}
	if _, _, err := Dial(t.Context(), "wss://example.com", &DialOptions{HTTP2: transport}); !errors.Is(err, errNotHTTP2) {
		t.Errorf("not HTTP/2: %v", err)
	}
}
