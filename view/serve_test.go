package view

import (
	"net/http/httptest"
	"testing"
)

// PROTOCOL.md §5.15
func TestMethods(t *testing.T) {
	const (
		onTopic = "DELETE, GET, HEAD, OPTIONS, POST"
		onList  = "GET, HEAD, OPTIONS, POST, QUERY"
	)
	h := openHandler(t, nil, nil)
	tests := []struct{ method, path, want, allow string }{
		{"OPTIONS", "/topics", "No Content", onList},
		{"OPTIONS", "/topics/a", "No Content", onTopic},
		{"OPTIONS", "/topics/*", "No Content", onTopic},
		{"PUT", "/topics", "method-not-allowed", onList},
		{"PATCH", "/topics/a", "method-not-allowed", onTopic},
		{"DELETE", "/topics", "method-not-allowed", onList},
		{"QUERY", "/topics/a", "method-not-allowed", onTopic},
		{"TRACE", "/topics/a", "method-not-allowed", onTopic},
		{"CONNECT", "/topics/a", "method-not-allowed", onTopic},
		{"get", "/topics/a", "method-not-allowed", onTopic}, // methods are case-sensitive (RFC 9110 §9.1)
		{"PUT", "/", "not-found", ""},
		{"OPTIONS", "/topics/a//b", "bad-topic", ""},
	}
	for _, test := range tests {
		r := httptest.NewRequest("GET", test.path, nil)
		r.Method = test.method
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := outcome(t, w); got != test.want {
			t.Errorf("%s %s: got %s, want %s", test.method, test.path, got, test.want)
		}
		if got := w.Header().Get("Allow"); got != test.allow {
			t.Errorf("%s %s: Allow: %q, want %q", test.method, test.path, got, test.allow)
		}
		if got, want := w.Header().Get("Vary"), "Accept, Prefer, Last-Event-ID, Origin"; got != want {
			t.Errorf("%s %s: Vary: %q", test.method, test.path, got)
		}
	}
}

// Each transport answers in its own way; streams of an ended topic with 204
// (PROTOCOL.md §7.5).
func TestTransports(t *testing.T) {
	h := openHandler(t, nil, nil)
	ask(h, "DELETE", "/topics/a", "")
	tests := []struct {
		method, url, accept string
		code                int
		field, value        string
	}{
		{"GET", "/topics/a", "text/event-stream", 204, "Content-Type", ""},
		{"GET", "/topics/a", "application/x-ndjson", 204, "Content-Type", ""},
		{"GET", "/topics/a?wait=25", "*/*", 200, "Preference-Applied", "wait=25"},
		{"GET", "/topics/a", "application/json", 200, "Content-Type", "application/json"},
		{"GET", "/topics/a", "text/html", 200, "Content-Type", "text/html; charset=utf-8"},
		{"GET", "/topics?topic=a", "text/html", 200, "Content-Type", "text/html; charset=utf-8"},
		{"GET", "/topics", "text/html", 200, "Content-Type", "text/html; charset=utf-8"},
		{"GET", "/topics", "*/*", 200, "Content-Type", "application/json"},
		{"QUERY", "/topics?topic=a", "*/*", 200, "Content-Type", "application/json"},
		{"POST", "/topics?topic=a&as=sse", "*/*", 204, "Content-Type", ""},
		{"HEAD", "/topics/a", "image/png", 200, "ETag", etag(h.hub.Now().Cursor)},
	}
	for _, test := range tests {
		w := ask(h, test.method, test.url, "", "Accept: "+test.accept)
		if got := w.Header().Get(test.field); w.Code != test.code || got != test.value {
			t.Errorf("%s %s Accept: %s: got %d, %s: %q, want %d, %q", test.method, test.url, test.accept, w.Code, test.field, got, test.code, test.value)
		}
		if got := w.Header().Get("Vary"); got == "" {
			t.Errorf("%s %s Accept: %s: no Vary", test.method, test.url, test.accept)
		}
	}
}

// "as=websocket without a handshake is 426 upgrade-required."
func TestWebSocketWithoutHandshake(t *testing.T) {
	h := openHandler(t, nil, nil)
	w := ask(h, "GET", "/topics/a?as=websocket", "")
	if got := outcome(t, w); got != "upgrade-required" || w.Header().Get("Upgrade") != "websocket" || w.Header().Get("Sec-WebSocket-Version") != "13" {
		t.Errorf("got %s, %v", got, w.Header())
	}
	w = ask(h, "POST", "/topics?as=websocket&topic=a", "", "Upgrade: websocket")
	if got := outcome(t, w); got != "upgrade-required" {
		t.Errorf("POST: got %s", got)
	}
}

func TestIsHandshake(t *testing.T) {
	tests := []struct {
		method, proto string
		major, minor  int
		name, value   string
		want          bool
	}{
		{"GET", "HTTP/1.1", 1, 1, "Upgrade", "websocket", true},
		{"GET", "HTTP/1.1", 1, 1, "Upgrade", "h2c", false},
		{"POST", "HTTP/1.1", 1, 1, "Upgrade", "websocket", false},
		{"GET", "HTTP/1.0", 1, 0, "Upgrade", "websocket", false},
		{"GET", "HTTP/2.0", 2, 0, "Upgrade", "websocket", false},
		{"CONNECT", "HTTP/2.0", 2, 0, ":protocol", "websocket", true},
		{"CONNECT", "HTTP/2.0", 2, 0, ":protocol", "connect-udp", false},
		{"CONNECT", "HTTP/2.0", 2, 0, "X", "", false},
		{"GET", "HTTP/2.0", 2, 0, ":protocol", "websocket", false},
		{"CONNECT", "HTTP/1.1", 1, 1, ":protocol", "websocket", false},
		{"CONNECT", "websocket", 3, 0, "X", "", true}, // as quic-go says it
		{"CONNECT", "HTTP/3.0", 3, 0, "X", "", false},
	}
	for _, test := range tests {
		r := httptest.NewRequest("GET", "/topics/a", nil)
		r.Method, r.Proto, r.ProtoMajor, r.ProtoMinor = test.method, test.proto, test.major, test.minor
		r.Header[test.name] = []string{test.value}
		if got := isHandshake(r); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

// PROTOCOL.md §5.16: over HTTP/1.0, "a WebSocket handshake (a GET with
// Sec-WebSocket-Key) is 400 bad-handshake".
func TestHandshakeOfHTTP10(t *testing.T) {
	h := openHandler(t, nil, nil)
	r := httptest.NewRequest("GET", "/topics", nil)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.0", 1, 0
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := outcome(t, w); got != "OK" {
		t.Errorf("plain: got %s", got)
	}
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := outcome(t, w); got != "bad-handshake" {
		t.Errorf("handshake: got %s", got)
	}
}

// PROTOCOL.md §12: "A server that stops first answers new requests with 503
// shutting-down."
func TestServeWhileDraining(t *testing.T) {
	h := openHandler(t, nil, nil)
	if err := h.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "POST", "DELETE"} {
		w := ask(h, method, "/topics/a", "")
		if got := outcome(t, w); got != "shutting-down" || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: got %s, Retry-After %q", method, got, w.Header().Get("Retry-After"))
		}
	}
}
