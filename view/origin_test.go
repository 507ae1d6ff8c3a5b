package view

import (
	"crypto/tls"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestNewOriginPolicy(t *testing.T) {
	good := []string{
		"*", "https://example.com", "http://example.com:8080", "HTTPS://Example.COM", "http://[::1]:3000", "http://127.0.0.1",
		"http://localhost:5173", "chrome-extension://abcdefghijklmnop", "https://xn--bcher-kva.example",
	}
	if _, err := newOriginPolicy(good); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"", "null", "example.com", "example.com:443", "//example.com", "https:", "https://", "https:///", "https://example.com/",
		"https://example.com/a", "https://example.com?", "https://example.com?a", "https://example.com#", "https://example.com#a",
		"https://user@example.com", "https://user:secret@example.com", "https://*.example.com", "https://*", "*.example.com", "https://example.com:",
		"https://example.com:port", "https://:443", "https://exa mple.com", " https://example.com", "https://example.com ",
		"https://bücher.example", "https://example.com,https://example.org", "https://ex%61mple.com",
	} {
		_, err := newOriginPolicy([]string{"https://good.example", bad})
		if err == nil || !strings.Contains(err.Error(), `"`+bad+`"`) {
			t.Errorf("%q: got error %v", bad, err)
		}
	}
	if _, err := New(nil, &Options{AllowOrigins: []string{"https://example.com/"}}); err == nil {
		t.Error("New takes bad options")
	}
}

// "The Origin of a request is the server's own if its host and port are those
// of Host (a missing port is the default of the Origin's scheme; letters in
// any case) and, on a TLS connection, its scheme is https. Compared is the
// whole, never a part; Origin: null is foreign."
func TestOwnOrigin(t *testing.T) {
	tests := []struct {
		origin, host string
		tls, own     bool
	}{
		{"http://example.com", "example.com", false, true},
		{"http://example.com:80", "example.com", false, true},
		{"http://example.com", "example.com:80", false, true},
		{"http://EXAMPLE.com", "example.COM", false, true},
		{"http://example.com:8080", "example.com:8080", false, true},
		{"https://example.com", "example.com", false, true}, // a proxy took TLS away
		{"https://example.com", "example.com", true, true},
		{"https://example.com:443", "example.com", true, true},
		{"http://[::1]:8080", "[::1]:8080", false, true},
		{"http://127.0.0.1:8080", "127.0.0.1:8080", false, true},

		{"http://example.com", "example.com", true, false},
		{"http://example.com", "example.com:8080", false, false},
		{"http://example.com:8080", "example.com", false, false},
		{"http://example.com:443", "example.com", false, false},
		{"https://example.com:80", "example.com", false, false},
		{"https://example.com", "example.com:80", false, false},
		{"https://example.com.evil", "example.com", false, false},
		{"https://evilexample.com", "example.com", false, false},
		{"https://example.co", "example.com", false, false},
		{"https://sub.example.com", "example.com", false, false},
		{"https://example.com.", "example.com", false, false},
		{"https://example.com@evil.example", "example.com", false, false},
		{"https://evil.example/example.com", "example.com", false, false},
		{"https://example.com/", "example.com", false, false},
		{"https://example.com ", "example.com", false, false},
		{"example.com", "example.com", false, false},
		{"//example.com", "example.com", false, false},
		{"tauri://example.com", "example.com", false, false},
		{"file://", "example.com", false, false},
		{"null", "null", false, false},
		{"", "example.com", false, false},
		{"http://", "", false, false},
	}
	p, err := newOriginPolicy(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		r := httptest.NewRequest("POST", "/topics/a", nil)
		r.Host = test.host
		r.Header["Origin"] = []string{test.origin}
		if test.tls {
			r.TLS = new(tls.ConnectionState)
		}
		problem := p.apply(httptest.NewRecorder(), r)
		if own := problem == nil; own != test.own {
			t.Errorf("Origin %q, Host %q, TLS %v: own is %v", test.origin, test.host, test.tls, own)
		}
		if problem != nil && (problem.Type != "origin-refused" || problem.Status != 403) {
			t.Errorf("Origin %q: %v", test.origin, problem)
		}
	}
}

// What each kind of origin may do (PROTOCOL.md §10.1, §10.2). allow is the
// expected Access-Control-Allow-Origin.
func TestOrigins(t *testing.T) {
	const (
		handshake = "Upgrade: websocket"
		cookie    = "Cookie: a=b"
		token     = "Authorization: Bearer x"
		allowed   = "Origin: https://app.example"
		foreign   = "Origin: https://app.example.evil"
	)
	tests := []struct {
		list    string
		method  string
		fields  []string
		refused bool
		allow   string
	}{
		// "A request without Origin is not judged."
		{method: "POST", fields: []string{cookie}},
		{method: "DELETE"},
		{method: "GET", fields: []string{token, handshake}},

		// "From a foreign origin these are 403 origin-refused, before anything
		// is done: every POST and DELETE, WebSocket handshakes, and reads with
		// Cookie or Authorization."
		{method: "POST", fields: []string{foreign}, refused: true},
		{method: "DELETE", fields: []string{foreign}, refused: true},
		{method: "GET", fields: []string{foreign, handshake}, refused: true},
		{method: "GET", fields: []string{foreign, cookie}, refused: true},
		{method: "GET", fields: []string{foreign, token}, refused: true},
		{method: "HEAD", fields: []string{foreign, cookie}, refused: true},
		{method: "QUERY", fields: []string{foreign, cookie}, refused: true},
		// "Other reads are answered without CORS fields".
		{method: "GET", fields: []string{foreign}},
		{method: "HEAD", fields: []string{foreign}},
		{method: "QUERY", fields: []string{foreign}},
		{method: "OPTIONS", fields: []string{foreign, "Access-Control-Request-Method: POST"}},
		// Two are none of one's own.
		{method: "POST", fields: []string{"Origin: http://example.com", "Origin: http://example.com"}, refused: true},
		{method: "POST", fields: []string{"Origin: http://example.com"}},

		// An allowed one.
		{list: "https://app.example", method: "POST", fields: []string{allowed, cookie}, allow: "https://app.example"},
		{list: "https://app.example", method: "DELETE", fields: []string{allowed}, allow: "https://app.example"},
		{list: "https://app.example", method: "GET", fields: []string{allowed, token}, allow: "https://app.example"},
		{list: "https://app.example", method: "GET", fields: []string{allowed, handshake, cookie}, allow: "https://app.example"},
		{list: "https://app.example", method: "OPTIONS", fields: []string{allowed, "Access-Control-Request-Method: POST"}, allow: "https://app.example"},
		{list: "HTTPS://APP.EXAMPLE:443", method: "POST", fields: []string{allowed}, allow: "https://app.example"},
		{list: "https://app.example", method: "POST", fields: []string{allowed, "Sec-Fetch-Site: cross-site"}, allow: "https://app.example"},
		// and those that only look like it.
		{list: "https://app.example", method: "POST", fields: []string{foreign}, refused: true},
		{list: "https://app.example", method: "POST", fields: []string{"Origin: http://app.example"}, refused: true},
		{list: "https://app.example", method: "POST", fields: []string{"Origin: https://app.example:8443"}, refused: true},
		{list: "https://app.example", method: "POST", fields: []string{"Origin: https://evilapp.example"}, refused: true},
		{list: "https://app.example", method: "POST", fields: []string{"Origin: null"}, refused: true},
		{list: "https://app.example", method: "POST", fields: []string{allowed, allowed}, refused: true},
		{list: "https://app.example", method: "GET", fields: []string{foreign}},

		// "'*' allows all, but only requests without credentials; those with
		// them are refused as before."
		{list: "*", method: "POST", fields: []string{foreign}, allow: "*"},
		{list: "*", method: "POST", fields: []string{"Origin: null"}, allow: "*"},
		{list: "*", method: "GET", fields: []string{foreign}, allow: "*"},
		{list: "*", method: "GET", fields: []string{foreign, handshake}, allow: "*"},
		{list: "*", method: "OPTIONS", fields: []string{foreign}, allow: "*"},
		{list: "*", method: "POST", fields: []string{foreign, cookie}, refused: true},
		{list: "*", method: "GET", fields: []string{foreign, token}, refused: true},
		{list: "*", method: "GET", fields: []string{foreign, handshake, cookie}, refused: true},

		// Sec-Fetch-Site is the second check of writes.
		{method: "POST", fields: []string{"Sec-Fetch-Site: cross-site"}, refused: true},
		{method: "POST", fields: []string{"Sec-Fetch-Site: same-site"}, refused: true},
		{method: "DELETE", fields: []string{"Origin: http://example.com", "Sec-Fetch-Site: cross-site"}, refused: true},
		{method: "POST", fields: []string{"Origin: http://example.com", "Sec-Fetch-Site: same-origin"}},
		{method: "POST", fields: []string{"Sec-Fetch-Site: none"}},
		{method: "GET", fields: []string{"Sec-Fetch-Site: cross-site"}},
		{method: "POST", fields: []string{foreign, "Sec-Fetch-Site: same-origin"}, refused: true},
	}
	for _, test := range tests {
		var list []string
		if test.list != "" {
			list = []string{test.list}
		}
		p, err := newOriginPolicy(list)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(test.method, "/topics/a", nil)
		setFields(r, test.fields)
		w := httptest.NewRecorder()
		problem := p.apply(w, r)
		if (problem != nil) != test.refused {
			t.Errorf("%s %q with %q allowed: %v", test.method, test.fields, test.list, problem)
		}
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != test.allow {
			t.Errorf("%s %q with %q allowed: Access-Control-Allow-Origin %q, want %q", test.method, test.fields, test.list, got, test.allow)
		}
		// "An origin that only * allows gets [...] no credentials."
		credentials := w.Header().Get("Access-Control-Allow-Credentials")
		if want := test.allow != "" && test.allow != "*"; (credentials == "true") != want || credentials == "" == want {
			t.Errorf("%s %q with %q allowed: Access-Control-Allow-Credentials %q", test.method, test.fields, test.list, credentials)
		}
	}
}

// "Answers to allowed origins [...] carry [...]. Their preflights are 204 with
// [...]."
func TestCORSFields(t *testing.T) {
	h := openHandler(t, &Options{AllowOrigins: []string{"https://app.example"}}, nil)
	w := ask(h, "OPTIONS", "/topics/a", "", "Origin: https://app.example", "Access-Control-Request-Method: POST",
		"Access-Control-Request-Headers: content-type,idempotency-key")
	if w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("preflight: %d %s", w.Code, w.Body)
	}
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":      "https://app.example",
		"Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods":     "DELETE, GET, HEAD, POST, QUERY",
		"Access-Control-Allow-Headers":     "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("preflight: %s: %q, want %q", name, got, want)
		}
	}

	w = ask(h, "POST", "/topics/a?event=$x", "hi", "Origin: https://app.example")
	if got := outcome(t, w); got != "bad-event-type" { // "errors too"
		t.Errorf("publish: %s", got)
	}
	if got, want := w.Header().Get("Access-Control-Expose-Headers"), "ETag, Link, Preference-Applied, Retry-After"; got != want {
		t.Errorf("Access-Control-Expose-Headers: %q, want %q", got, want)
	}
	if got := w.Header().Get("Access-Control-Allow-Methods"); got != "" {
		t.Errorf("not a preflight, but Access-Control-Allow-Methods: %q", got)
	}

	// "Preflights of other origins are 204 without CORS fields."
	w = ask(h, "OPTIONS", "/topics/a", "", "Origin: https://evil.example", "Access-Control-Request-Method: POST")
	if w.Code != 204 {
		t.Errorf("foreign preflight: %d", w.Code)
	}
	for name := range w.Header() {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("foreign preflight: %s", name)
		}
	}
}

// "before anything is done"
func TestRefusedOriginPublishesNothing(t *testing.T) {
	h := openHandler(t, nil, nil)
	if got := outcome(t, ask(h, "POST", "/topics/a", "hi", "Origin: https://evil.example")); got != "origin-refused" {
		t.Errorf("got %s", got)
	}
	if events := published(t, h, "a"); len(events) != 0 {
		t.Errorf("%d events", len(events))
	}
}
