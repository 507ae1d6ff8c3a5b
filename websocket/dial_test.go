package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// answering is a NetDial that answers each request with what answer gives.
func answering(answer func(*http.Request) string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		a, b := net.Pipe()
		go func() {
			defer b.Close()
			request, err := http.ReadRequest(bufio.NewReader(b))
			if err == nil {
				io.WriteString(b, answer(request))
			}
		}()
		return a, nil
	}
}

// noProxy keeps the environment of whoever runs the tests out of them.
func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

func TestDialURLs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url, address, target, host string // no address: refused
	}{
		{"ws://example.com/chat", "example.com:80", "/chat", "example.com"},
		{"wss://example.com", "example.com:443", "", ""}, // ends in the TLS handshake
		{"http://example.com", "example.com:80", "/", "example.com"},
		{"ws://example.com:80/some/path", "example.com:80", "/some/path", "example.com"},
		{"ws://example.com:443", "example.com:443", "/", "example.com:443"},
		{"ws://example.com:1337/a%20b/%23?q=1&r=%2F", "example.com:1337", "/a%20b/%23?q=1&r=%2F", "example.com:1337"},
		{"WS://EXAMPLE.com", "EXAMPLE.com:80", "/", "EXAMPLE.com"},
		{"ws://[::1]:8080/", "[::1]:8080", "/", "[::1]:8080"},
		{"ws://[::1]/", "[::1]:80", "/", "[::1]"},
		{"ws://bücher.example/", "xn--bcher-kva.example:80", "/", "xn--bcher-kva.example"},
		{"ws://例え.テスト:81/", "xn--r8jz45g.xn--zckzah:81", "/", "xn--r8jz45g.xn--zckzah:81"},
		{"ws://example.com/#fragment", "", "", ""},
		{"ws://example.com/#", "", "", ""},
		{"ftp://example.com/", "", "", ""},
		{"example.com", "", "", ""},
		{"ws://", "", "", ""},
		{"ws:///path", "", "", ""},
		{"ws://exa mple.com", "", "", ""},
	} {
		var address string
		var request *http.Request
		netDial := answering(func(r *http.Request) string {
			request = r
			return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
		})
		_, _, err := Dial(t.Context(), test.url, &DialOptions{
			Proxy: noProxy,
			NetDial: func(ctx context.Context, network, a string) (net.Conn, error) {
				address = a
				return netDial(ctx, network, a)
			},
		})
		if err == nil || address != test.address {
			t.Errorf("%s: dialled %q, %v; want %q", test.url, address, err, test.address)
		}
		if test.target != "" && (request == nil || request.RequestURI != test.target || request.Host != test.host) {
			t.Errorf("%s: requested %+v", test.url, request)
		}
	}
}

func TestDialRequest(t *testing.T) {
	t.Parallel()
	jar, _ := cookiejar.New(nil)
	base, _ := url.Parse("http://example.com/")
	jar.SetCookies(base, []*http.Cookie{{Name: "session", Value: "1"}})
	var got *http.Request
	_, response, err := Dial(t.Context(), "ws://user:pass%20word@example.com/", &DialOptions{
		Proxy:        noProxy,
		Jar:          jar,
		Subprotocols: []string{"chat", "superchat"},
		Header:       http.Header{"origin": {"https://app.example"}, "X-Mine": {"a", "b"}, "Host": {"other.example"}},
		NetDial: answering(func(r *http.Request) string {
			got = r
			return "HTTP/1.1 403 Forbidden\r\nSet-Cookie: refused=1\r\n\r\n" + strings.Repeat("x", 5000)
		}),
	})
	refusal, ok := errors.AsType[*HandshakeError](err)
	if !ok || refusal.Status != 403 || len(refusal.Body) != 1024 || response == nil || response.StatusCode != 403 {
		t.Fatalf("got %v, %v", response, err)
	}
	if body, err := io.ReadAll(response.Body); len(body) != 1024 || err != nil {
		t.Errorf("body of %d bytes, %v", len(body), err)
	}
	user, password, _ := got.BasicAuth()
	if user != "user" || password != "pass word" || got.Host != "other.example" || got.Header.Get("Cookie") != "session=1" ||
		got.Header.Get("Origin") != "https://app.example" || fmt.Sprint(got.Header["X-Mine"]) != "[a b]" ||
		got.Header.Get("Sec-WebSocket-Protocol") != "chat, superchat" {
		t.Errorf("request %+v", got)
	}
	got.Host = "app.example"
	if _, refusal := CheckHandshake(got, &AcceptOptions{AllowOrigins: []string{"*"}}); refusal != nil {
		t.Errorf("our own request is refused: %v", refusal)
	}
	if cookies := jar.Cookies(base); len(cookies) != 2 {
		t.Errorf("cookies %v", cookies)
	}
	for field := range map[string]bool{"upgrade": true, "Sec-Websocket-Key": true, "Sec-WebSocket-Extensions": true} {
		if _, _, err := Dial(t.Context(), "ws://example.com", &DialOptions{Header: http.Header{field: {"x"}}}); err == nil {
			t.Errorf("%s is the caller's to set", field)
		}
	}
	for _, bad := range []string{"", "a b", "a,b", "ü"} {
		if _, _, err := Dial(t.Context(), "ws://example.com", &DialOptions{Subprotocols: []string{bad}}); err == nil {
			t.Errorf("subprotocol %q is offered", bad)
		}
	}
}

// RFC 6455 §4.1, the list of what a client must check.
func TestDialChecksTheResponse(t *testing.T) {
	t.Parallel()
	good := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"
	for _, test := range []struct{ name, answer, field string }{
		{"good", good, ""},
		{"other case", strings.ToLower(strings.Replace(good, "HTTP/1.1 101 Switching Protocols", "", 1)), ""},
		{"a list in Connection", strings.Replace(good, "Connection: Upgrade", "Connection: keep-alive, upgrade", 1), ""},
		{"100 before", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + good, ""},
		{"an offered subprotocol", good + "Sec-WebSocket-Protocol: chat\r\n", ""},
		{"HTTP/1.0", strings.Replace(good, "HTTP/1.1", "HTTP/1.0", 1), "version"},
		{"200", strings.Replace(good, "101", "200", 1), "status"},
		{"no Upgrade", strings.Replace(good, "Upgrade: websocket\r\n", "", 1), "Upgrade"},
		{"Upgrade: h2c", strings.Replace(good, "websocket", "h2c", 1), "Upgrade"},
		{"no Connection", strings.Replace(good, "Connection: Upgrade\r\n", "", 1), "Connection"},
		{"Connection: close", strings.Replace(good, "Connection: Upgrade", "Connection: close", 1), "Connection"},
		{"no Accept", strings.Replace(good, "Sec-WebSocket-Accept: ACCEPT\r\n", "", 1), "Sec-WebSocket-Accept"},
		{"wrong Accept", strings.Replace(good, "ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 1), "Sec-WebSocket-Accept"},
		{"two Accepts", good + "Sec-WebSocket-Accept: ACCEPT\r\n", "Sec-WebSocket-Accept"},
		{"an unrequested extension", good + "Sec-WebSocket-Extensions: permessage-deflate\r\n", "Sec-WebSocket-Extensions"},
		{"an unrequested subprotocol", good + "Sec-WebSocket-Protocol: superchat\r\n", "Sec-WebSocket-Protocol"},
		{"two subprotocols", good + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n", "Sec-WebSocket-Protocol"},
		{"a head without end", good + strings.Repeat("X-Filler: x\r\n", 8000), "status"},
	} {
		c, response, err := Dial(t.Context(), "ws://example.com", &DialOptions{
			Proxy:        noProxy,
			Subprotocols: []string{"chat"},
			NetDial: answering(func(r *http.Request) string {
				answer := test.answer
				if strings.HasPrefix(answer, "\r\n") {
					answer = "HTTP/1.1 101 Switching Protocols" + answer
				}
				accept := wire.AcceptKey(r.Header.Get("Sec-WebSocket-Key"))
				return strings.NewReplacer("ACCEPT", accept, ": accept", ": "+accept).Replace(answer) + "\r\n\x81\x05Hello"
			}),
		})
		if test.field == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			// What came with the answer is frames.
			if _, message, err := c.Read(t.Context()); string(message) != "Hello" {
				t.Errorf("%s: got %q, %v", test.name, message, err)
			}
			c.CloseNow()
			continue
		}
		wrong, ok := errors.AsType[*HandshakeError](err)
		if c != nil || !ok || wrong.Field != test.field || response == nil && test.name != "a head without end" {
			t.Errorf("%s: got %v, %v", test.name, c, err)
		}
	}
}

func TestResponseCutAtEveryByte(t *testing.T) {
	t.Parallel()
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
	const rest = 28 + 4 // the accept key and the end of the head
	for cut := range len(answer) + rest {
		c, _, err := Dial(t.Context(), "ws://example.com", &DialOptions{
			Proxy: noProxy,
			NetDial: answering(func(r *http.Request) string {
				return (answer + wire.AcceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n\r\n")[:cut]
			}),
		})
		if c != nil || err == nil {
			t.Errorf("cut at %d: connected", cut)
		}
	}
}

func TestDialHasATimeLimit(t *testing.T) {
	t.Parallel()
	silent := func(context.Context, string, string) (net.Conn, error) {
		a, b := net.Pipe()
		go io.Copy(io.Discard, b)
		return a, nil
	}
	for _, scheme := range []string{"ws", "wss"} {
		synctest.Test(t, func(t *testing.T) {
			elapsed := stopwatch()
			_, _, err := Dial(t.Context(), scheme+"://example.com", &DialOptions{Proxy: noProxy, NetDial: silent})
			if !errors.Is(err, context.DeadlineExceeded) || elapsed() != defaultDialTimeout {
				t.Errorf("%s: after %v: %v", scheme, elapsed(), err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			elapsed = stopwatch()
			_, _, err = Dial(ctx, scheme+"://example.com", &DialOptions{Proxy: noProxy, NetDial: silent, Timeout: -1})
			if !errors.Is(err, context.DeadlineExceeded) || elapsed() != time.Second {
				t.Errorf("%s: after %v: %v", scheme, elapsed(), err)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	type hop struct{ host, authorization string }
	var hops []hop
	options := func(locations map[string]string) *DialOptions {
		hops = nil
		return &DialOptions{
			Proxy:        noProxy,
			MaxRedirects: 2,
			Header:       http.Header{"Authorization": {"Bearer secret"}},
			NetDial: answering(func(r *http.Request) string {
				hops = append(hops, hop{r.Host + r.RequestURI, r.Header.Get("Authorization")})
				if location := locations[r.Host+r.RequestURI]; location != "" {
					return "HTTP/1.1 307 Temporary Redirect\r\nLocation: " + location + "\r\nContent-Length: 0\r\n\r\n"
				}
				return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
					wire.AcceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n\r\n"
			}),
		}
	}
	there := map[string]string{"a.example/": "/moved", "a.example/moved": "ws://b.example/#x"}
	c, _, err := Dial(t.Context(), "ws://a.example", options(there))
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	if want := []hop{{"a.example/", "Bearer secret"}, {"a.example/moved", "Bearer secret"}, {"b.example/", ""}}; fmt.Sprint(hops) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", hops, want)
	}

	off := options(there)
	off.MaxRedirects = 0
	if _, response, err := Dial(t.Context(), "ws://a.example", off); err == nil || response.StatusCode != 307 || len(hops) != 1 {
		t.Errorf("redirects are off: %v, %v", hops, err)
	}
	endless := options(map[string]string{"a.example/": "/"})
	if _, _, err := Dial(t.Context(), "ws://a.example", endless); err == nil || len(hops) != 3 {
		t.Errorf("endless: %v, %v", hops, err)
	}
	elsewhere := options(map[string]string{"a.example/": "ftp://a.example/"})
	if _, _, err := Dial(t.Context(), "ws://a.example", elsewhere); err == nil || len(hops) != 1 {
		t.Errorf("to ftp: %v, %v", hops, err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(echoHandler(nil))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	target := "wss" + strings.TrimPrefix(server.URL, "https")
	if _, _, err := Dial(t.Context(), target, &DialOptions{Proxy: noProxy}); err == nil {
		t.Fatal("a certificate of nobody's is trusted")
	} else if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("got %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	origin := http.Header{"Origin": {server.URL}}
	c := dial(t, target, &DialOptions{Proxy: noProxy, Header: origin, TLS: &tls.Config{RootCAs: roots}})
	for _, size := range []int{1, 10000, 100000} {
		message := strings.Repeat("x", size)
		written := make(chan error, 1)
		go func() { written <- c.Write(t.Context(), Text, []byte(message)) }()
		if _, got, err := c.Read(t.Context()); string(got) != message {
			t.Fatalf("got %d bytes of %d, %v", len(got), size, err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
	// Too much for the server: its close frame arrives, although it did not read all.
	go c.Write(t.Context(), Binary, make([]byte, 3<<20))
	_, _, err := c.Read(t.Context())
	wantClosed(t, err, CloseTooBig, true)
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6: ", err)
	}
	server := httptest.NewUnstartedServer(echoHandler(nil))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	c := dial(t, "ws://"+l.Addr().String(), &DialOptions{Proxy: noProxy})
	if c.RemoteAddr().String() != l.Addr().String() || c.LocalAddr() == nil {
		t.Errorf("connected to %v", c.RemoteAddr())
	}
	if err := c.Close(CloseNormal, ""); err != nil {
		t.Error(err)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/socket"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skip("no unix sockets: ", err)
	}
	server := httptest.NewUnstartedServer(echoHandler(nil))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	c := dial(t, "ws://example.com", &DialOptions{
		Proxy: noProxy,
		NetDial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	})
	wantEcho(t, c)
	if err := c.Close(CloseNormal, ""); err != nil {
		t.Error(err)
	}
}
