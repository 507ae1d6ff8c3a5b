package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// start starts a server on real sockets.
func start(t *testing.T, config *Config) *Server {
	t.Helper()
	s, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

const host = "Host: localhost\n"

func TestPaths(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	tests := []struct {
		request string
		status  int
		media   string
		body    string // a part of it
	}{
		{"GET /healthz HTTP/1.1\n", 200, "text/plain; charset=utf-8", "ok\n"},
		{"GET / HTTP/1.1\nAccept: text/html\n", 200, "text/html; charset=utf-8", "<html"},
		{"GET / HTTP/1.1\n", 200, "text/plain; charset=utf-8", "Duplex is running at "},
		{"GET /topics HTTP/1.1\n", 200, "application/json", `"topics":[]`},
		{"GET /topics/a HTTP/1.1\n", 200, "application/json", `"events":[]`},
		{"GET /nothing HTTP/1.1\n", 404, "application/problem+json", `"urn:duplex:problem:not-found"`},
		{"GET /topicsX HTTP/1.1\n", 404, "application/problem+json", `"urn:duplex:problem:not-found"`},
		{"GET //topics/a HTTP/1.1\n", 404, "application/problem+json", `"urn:duplex:problem:not-found"`},
		{"GET /%2Ftopics/a HTTP/1.1\n", 404, "application/problem+json", `"urn:duplex:problem:not-found"`},
	}
	for _, test := range tests {
		p := connect(t, new(net.Dialer).DialContext, s.Addrs()[0].String())
		p.say(test.request + host + "Connection: close\n\n")
		resp := p.answer()
		var body bytes.Buffer
		if _, err := body.ReadFrom(resp.Body); err != nil {
			t.Error(err)
		}
		if resp.StatusCode != test.status || resp.Header.Get("Content-Type") != test.media || !strings.Contains(body.String(), test.body) {
			t.Errorf("%q: %d %q %q", test.request, resp.StatusCode, resp.Header.Get("Content-Type"), body.String())
		}
	}
}

// PROTOCOL.md §9.1: "headers above --max-header-bytes (431) and the like are
// answered before there is a request to speak of: with the status and a plain
// text."
func TestHeaderTooLarge(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}, MaxHeaderBytes: 8 << 10})
	for bytes, status := range map[int]int{7 << 10: 200, 16 << 10: 431} {
		p := connect(t, new(net.Dialer).DialContext, s.Addrs()[0].String())
		p.say("GET /topics/a HTTP/1.1\n" + host + "X: " + strings.Repeat("x", bytes) + "\n\n")
		p.wantAnswer(status)
	}
}

func TestMaxConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, network := startPiped(t, &Config{MaxConnections: 2})
		first := connect(t, network.Dial, DefaultListen)
		first.say("GET /healthz HTTP/1.1\n" + host + "\n")
		first.wantAnswer(200)
		socket := connect(t, network.Dial, DefaultListen)
		socket.say("GET /topics/a HTTP/1.1\n" + host + "Connection: Upgrade\nUpgrade: websocket\n" +
			"Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n")
		if resp := socket.answer(); resp.StatusCode != 101 {
			t.Errorf("status %d, want 101", resp.StatusCode)
		}
		// PROTOCOL.md §9.2: "limit-reached: a limit of the whole server;
		// detail names the flag; Retry-After".
		refused := func() {
			t.Helper()
			p := connect(t, network.Dial, DefaultListen)
			p.say("GET /topics/a HTTP/1.1\n" + host + "\n")
			resp := p.answer()
			var body bytes.Buffer
			if _, err := body.ReadFrom(resp.Body); err != nil {
				t.Error(err)
			}
			if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" ||
				!strings.Contains(body.String(), `"urn:duplex:problem:limit-reached"`) || !strings.Contains(body.String(), "--max-connections") {
				t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body.String())
			}
			p.wantEnd()
			synctest.Wait()
		}
		accepted := func() {
			t.Helper()
			p := connect(t, network.Dial, DefaultListen)
			p.say("GET /healthz HTTP/1.1\n" + host + "\n")
			p.wantAnswer(200)
			p.Close()
			synctest.Wait()
		}
		refused()
		silent := connect(t, network.Dial, DefaultListen) // refused, but it will hear of it only when it asks
		refused()
		first.Close()
		synctest.Wait()
		accepted()
		accepted()
		second := connect(t, network.Dial, DefaultListen)
		second.say("GET /healthz HTTP/1.1\n" + host + "\n")
		second.wantAnswer(200)
		refused()
		socket.Close() // one that was hijacked
		synctest.Wait()
		accepted()
		silent.say("GET /healthz HTTP/1.1\n" + host + "\n")
		silent.wantAnswer(503)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait() // net/http tells of the last ones a little later
		if open := s.connections.count(); open != 0 {
			t.Errorf("%d connections are counted after the end", open)
		}
		if open := network.Open(); open != 0 {
			t.Errorf("%d connections are open after the end", open)
		}
	})
}

// PROTOCOL.md §12.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, network := startPiped(t, nil)
		ask := func(request string) *peer {
			p := connect(t, network.Dial, DefaultListen)
			p.say(request)
			return p
		}
		handshake := func(subprotocols ...string) *websocket.Conn {
			conn, _, err := websocket.Dial(t.Context(), "ws://"+DefaultListen+"/topics/a", &websocket.DialOptions{NetDial: network.Dial, Subprotocols: subprotocols})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.CloseNow)
			return conn
		}
		publishing := ask("POST /topics/a HTTP/1.1\n" + host + "Content-Length: 5\n\nhel")
		longpoll := ask("GET /topics/a?wait=50 HTTP/1.1\n" + host + "\n")
		idle := ask("GET /healthz HTTP/1.1\n" + host + "\n")
		idle.wantAnswer(200)
		stream := ask("GET /topics/a?as=stream HTTP/1.1\n" + host + "\n")
		lines := stream.answer().Body
		events := ask("GET /topics/a?as=sse HTTP/1.1\n" + host + "\n").answer().Body
		raw, v1 := handshake(), handshake("duplex.v1")
		if _, ping, err := v1.Read(t.Context()); err != nil || !strings.Contains(string(ping), "$ping") {
			t.Errorf("first signal: %s, %v", ping, err)
		}

		var sockets sync.WaitGroup
		for _, conn := range []*websocket.Conn{raw, v1} {
			sockets.Go(func() {
				// "WebSocket: close 1001 shutting-down."
				_, data, err := conn.Read(t.Context())
				if e, ok := errors.AsType[*websocket.CloseError](err); !ok || e.Code != websocket.CloseGoingAway || e.Reason != "shutting-down" {
					t.Errorf("%q, %v", data, err)
				}
			})
		}
		var streams sync.WaitGroup
		var said [2]bytes.Buffer
		for i, body := range []interface{ Read([]byte) (int, error) }{lines, events} {
			streams.Go(func() {
				if _, err := said[i].ReadFrom(body); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()

		began := time.Now()
		stopped := make(chan error)
		go func() { stopped <- s.Shutdown(t.Context()) }()
		// "longpoll: answered with its page, maybe an empty one, and its cursor."
		if page := longpoll.wantAnswer(200); !strings.Contains(page, `"events":[],"cursor":"`) {
			t.Errorf("long-poll: %s", page)
		}
		sockets.Wait()
		streams.Wait()
		// "stream: the end, after a whole line."
		if text := said[0].String(); !strings.HasSuffix(text, "\n") {
			t.Errorf("stream: %q", text)
		}
		// "sse: retry: MILLISECONDS and an empty line, then the end."
		if text := said[1].String(); !strings.Contains(text[strings.LastIndex(text, "retry:"):], "\n\n") || !strings.HasSuffix(text, "\n\n") {
			t.Errorf("sse: %q", text)
		}
		select {
		case err := <-stopped:
			t.Errorf("stopped in the middle of a publish: %v", err)
		default:
		}
		// "Publishes in progress are finished."
		publishing.say("lo")
		publishing.wantAnswer(201)
		idle.wantEnd()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// "A server that stops first answers new requests with 503 shutting-down."
func TestRequestWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, network := startPiped(t, nil)
		late := connect(t, network.Dial, DefaultListen)
		synctest.Wait() // accepted, but it has said nothing yet
		busy := connect(t, network.Dial, DefaultListen)
		busy.say("POST /topics/a HTTP/1.1\n" + host + "Content-Length: 1\n\n")
		synctest.Wait()
		stopped := make(chan error)
		go func() { stopped <- s.Shutdown(t.Context()) }()
		synctest.Wait()
		late.say("GET /healthz HTTP/1.1\n" + host + "\n")
		if body := late.wantAnswer(503); !strings.Contains(body, `"urn:duplex:problem:shutting-down"`) {
			t.Error(body)
		}
		late.wantEnd()
		busy.say("x")
		busy.wantAnswer(201)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, network := startPiped(t, &Config{DrainTimeout: 7 * time.Second})
		stuck := connect(t, network.Dial, DefaultListen)
		stuck.say("POST /topics/a HTTP/1.1\n" + host + "Content-Length: 1\n\n")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if err := s.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("took %v", took)
		}
		stuck.wantEnd()
	})
}

func TestAddressInUse(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	other, err := New(t.Context(), &Config{Listen: []string{"127.0.0.1:0", s.Addrs()[0].String()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Run(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
	if len(other.Addrs()) != 0 {
		t.Error("the first listener was left open")
	}
}

func TestFaultyOrigin(t *testing.T) {
	if _, err := New(t.Context(), &Config{AllowOrigins: []string{"example.com/path"}}); err == nil {
		t.Error("accepted")
	}
}

// The log says what happened, but neither queries, which may hold tokens, nor
// what was published.
func TestRequestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		s, network := startPiped(t, &Config{Logger: logger})
		p := connect(t, network.Dial, DefaultListen)
		p.say("POST /topics/a?event=secret HTTP/1.1\n" + host + "Content-Length: 6\n\nsecret")
		p.wantAnswer(201)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if text := log.String(); strings.Contains(text, "secret") || strings.Count(text, "msg=request") != 1 ||
			!strings.Contains(text, "level=DEBUG msg=request method=POST path=/topics/a status=201 ") {
			t.Errorf("logged %s", text)
		}
	})
}

// Of what goes to "/", only a handshake is for topics: an Upgrade to something else
// is ignored, and other methods are not taken.
func TestRoot(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	for _, test := range []struct {
		method, upgrade, key string
		status               int
		text                 string // a part of the answer
	}{
		{"GET", "", "", 200, "Duplex is running"},
		{"GET", "h2c", "", 200, "Duplex is running"},
		{"GET", "websocket", "", 400, "Connection: "},
		{"GET", "", "dGhlIHNhbXBsZSBub25jZQ==", 400, "a proxy has dropped it"},
		{"POST", "", "", 405, "method-not-allowed"},
		{"QUERY", "", "", 405, "method-not-allowed"},
		{"OPTIONS", "", "", 204, ""},
	} {
		r, err := http.NewRequest(test.method, "http://"+s.Addrs()[0].String()+"/", strings.NewReader("topic=a"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if test.upgrade != "" {
			r.Header.Set("Upgrade", test.upgrade)
		}
		if test.key != "" {
			r.Header.Set("Sec-WebSocket-Key", test.key)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != test.status || !strings.Contains(string(body), test.text) {
			t.Errorf("%+v: %d %s %v", test, response.StatusCode, body, err)
		}
		if allow := response.Header.Get("Allow"); response.StatusCode == 405 && allow != readingMethods {
			t.Errorf("%+v: Allow: %s", test, allow)
		}
	}
}
