package websocket

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// roundTrip is an HTTP/3 transport that a test plays.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// connected is an answer in HTTP/3 to a CONNECT.
func connected(status int, body io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: status, Proto: "HTTP/3.0", ProtoMajor: 3, Header: http.Header{}, Body: body}
}

// RFC 9220 §3: a request with the pseudo-header ":protocol", and then the frames of RFC 6455 in the
// stream. (Whether quic-go sends that, package server tests.)
func TestDialOverHTTP3(t *testing.T) {
	t.Parallel()
	sent := make(chan io.ReadCloser, 1)
	response, server := io.Pipe()
	c := dial(t, "wss://server.example.com/chat", &DialOptions{
		Subprotocols: []string{"chat"},
		HTTP3: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodConnect || r.Proto != "websocket" || r.URL.String() != "https://server.example.com/chat" {
				t.Errorf("%s %s over %q", r.Method, r.URL, r.Proto)
			}
			for _, field := range []string{"Upgrade", "Connection", "Sec-WebSocket-Key"} {
				if r.Header.Get(field) != "" {
					t.Errorf("%s: %q", field, r.Header.Get(field))
				}
			}
			sent <- r.Body
			answer := connected(200, response)
			answer.Header.Set("Sec-WebSocket-Protocol", "chat")
			return answer, nil
		}),
	})
	body := <-sent
	if c.Subprotocol() != "chat" || c.RemoteAddr().String() != "server.example.com" {
		t.Errorf("subprotocol %q, from %s", c.Subprotocol(), c.RemoteAddr())
	}
	go func() { // Ends with the test's connection.
		frame := make([]byte, len(maskedFrame(wire.Text, "Hello")))
		if _, err := io.ReadFull(body, frame); err != nil || frame[0] != 0x81 || frame[1] != 0x85 {
			t.Errorf("%x, %v", frame, err)
		}
		_, _ = io.WriteString(server, unmaskedFrame(wire.Text, "Hello"))
	}()
	if err := c.Write(t.Context(), Text, []byte("Hello")); err != nil {
		t.Error(err)
	}
	if _, message, err := c.Read(t.Context()); err != nil || string(message) != "Hello" {
		t.Errorf("%q, %v", message, err)
	}
	// Without a farewell, both sides of the stream are given up.
	c.CloseNow()
	if _, err := io.ReadAll(body); !errors.Is(err, net.ErrClosed) {
		t.Errorf("what was sent ended with %v", err)
	}
	if _, err := server.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("what comes ended with %v", err)
	}
}

func TestDialOverHTTP3Failures(t *testing.T) {
	t.Parallel()
	failing := errors.New("no route")
	isField := func(field string) func(error) bool {
		return func(err error) bool {
			refusal, ok := errors.AsType[*HandshakeError](err)
			return ok && refusal.Field == field
		}
	}
	for name, test := range map[string]struct {
		url    string
		answer roundTrip
		want   func(error) bool
	}{
		"not TLS": {"ws://a/", nil, func(err error) bool { return errors.Is(err, errPlain) }},
		"the network": {"wss://a/", func(*http.Request) (*http.Response, error) { return nil, failing },
			func(err error) bool { return errors.Is(err, failing) }},
		"not offered": {"wss://a/", func(*http.Request) (*http.Response, error) {
			return nil, errors.New("http3: server didn't enable Extended CONNECT")
		}, isField(":protocol")},
		"refused": {"wss://a/", func(*http.Request) (*http.Response, error) {
			return connected(403, io.NopCloser(strings.NewReader("no"))), nil
		}, isField("status")},
		"another version": {"wss://a/", func(*http.Request) (*http.Response, error) {
			answer := connected(200, io.NopCloser(strings.NewReader("")))
			answer.Proto, answer.ProtoMajor = "HTTP/2.0", 2
			return answer, nil
		}, func(err error) bool { return errors.Is(err, errNotHTTP3) }},
		"silence": {"wss://a/", func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, func(err error) bool { return err != nil && strings.Contains(err.Error(), "deadline") }},
	} {
		options := &DialOptions{HTTP3: test.answer}
		if name == "silence" {
			options.Timeout = 50 * time.Millisecond
		}
		c, _, err := Dial(t.Context(), test.url, options)
		if c != nil || !test.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
