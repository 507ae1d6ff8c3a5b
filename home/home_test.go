package home

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func ask(method, path string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	if !Serves(r.URL.Path) {
		w.WriteHeader(http.StatusNotFound)
		return w
	}
	ServeHTTP(w, r)
	return w
}

const browserAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"

func TestForms(t *testing.T) {
	for accept, html := range map[string]bool{
		browserAccept:                true,
		"text/html":                  true,
		"text/plain, TEXT/HTML;q=.1": true,
		"":                           false,
		"*/*":                        false,
		"text/*":                     false,
		"application/json":           false,
		"text/html;q=0":              false,
		"text/htmlx, ;;":             false,
	} {
		w := ask("GET", "/", "Accept", accept)
		if got := w.Header().Get("Content-Type") == "text/html; charset=utf-8"; got != html || w.Code != 200 || w.Header().Get("Vary") != "Accept" {
			t.Errorf("%q: %d %v", accept, w.Code, w.Header())
		}
	}
	w := ask("GET", "/", "Accept", "text/plain", "Accept", "text/html")
	if w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("of two fields: %v", w.Header())
	}
}

func TestServes(t *testing.T) {
	for path, want := range map[string]bool{
		"/":                                true,
		directory + "/home.js":             true,
		"/home.js":                         false,
		directory:                          false,
		directory + "/":                    false,
		directory + "/home.html":           false,
		directory + "/../home.js":          false,
		"/assets/0000000000000000/home.js": false,
	} {
		if got := Serves(path); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
}

var (
	address = regexp.MustCompile(`\b(?:src|href|action)="([^"]*)"`)
	module  = regexp.MustCompile(`(?m)^import .* from "(.*)";$`)
	foreign = regexp.MustCompile(`(?i)\burl\(|@import|https?://|//[a-z]`)
)

// The page loads from this server only, and nothing in it is inline: then the
// policy has nothing to forgive.
func TestSelfContained(t *testing.T) {
	w := ask("GET", "/", "Accept", browserAccept)
	page := w.Body.String()
	if inline := regexp.MustCompile(`(?i)<style|<script>|\s(?:on\w+|style)=`).FindString(page); inline != "" {
		t.Errorf("inline: %s", inline)
	}
	if got := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'; script-src 'self'; style-src 'self'") || strings.Contains(got, "unsafe") {
		t.Errorf("policy: %s", got)
	}
	used := make(map[string]bool)
	for _, match := range address.FindAllStringSubmatch(page, -1) {
		path := match[1]
		switch {
		case strings.HasPrefix(path, "#") && strings.Contains(page, `id="`+path[1:]+`"`):
		case strings.HasPrefix(path, "/topics"), path == "/", path == "/client.d.ts":
		default:
			if a := ask("GET", path); a.Code != 200 || a.Body.Len() == 0 || a.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" {
				t.Errorf("%s: %d %v", path, a.Code, a.Header())
			}
			used[strings.TrimPrefix(path, directory+"/")] = true
		}
	}
	for name, a := range assets {
		text := string(a.data)
		for _, match := range module.FindAllStringSubmatch(text, -1) {
			if match[1] == "/client.js" {
				continue // the server's
			}
			imported := strings.TrimPrefix(match[1], "./")
			if _, known := assets[imported]; !known {
				t.Errorf("%s imports %s", name, match[1])
			}
			used[imported] = true
		}
		without := strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "")
		if match := foreign.FindString(regexp.MustCompile(`(?m)^\s*//.*|//\s.*$`).ReplaceAllString(without, "")); match != "" {
			t.Errorf("%s: %s", name, match)
		}
		if w := ask("GET", directory+"/"+name); w.Header().Get("Content-Type") != a.media || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Body.String() != text {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
	for name := range assets {
		if !used[name] {
			t.Errorf("nothing uses %s", name)
		}
	}
}

func TestRevalidation(t *testing.T) {
	for _, accept := range []string{browserAccept, "*/*"} {
		w := ask("GET", "/", "Accept", accept)
		tag := w.Header().Get("ETag")
		if tag == "" || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %v", accept, w.Header())
		}
		if w := ask("GET", "/", "Accept", accept, "If-None-Match", tag); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s: %d for its own tag", accept, w.Code)
		}
		if w := ask("HEAD", "/", "Accept", accept); w.Code != 200 || w.Header().Get("ETag") != tag || w.Body.Len() > 0 {
			t.Errorf("%s: HEAD %d %v", accept, w.Code, w.Header())
		}
	}
}

// What is shown to be copied names this server, and no Host gets out of its word
// in a shell.
func TestOrigin(t *testing.T) {
	for host, want := range map[string]string{
		"127.0.0.1:8080":    "http://127.0.0.1:8080",
		"[::1]:8080":        "http://[::1]:8080",
		"Events.Example":    "http://Events.Example",
		"":                  "http://localhost",
		"a$(reboot)":        "http://localhost",
		"a';reboot;'":       "http://localhost",
		"a&b":               "http://localhost",
		"<script>x</script": "http://localhost",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		if got := origin(r); got != want {
			t.Errorf("%q: %s", host, got)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = new(tls.ConnectionState)
	w := httptest.NewRecorder()
	ServeHTTP(w, r)
	for _, want := range []string{
		"Duplex is running at https://example.com\n",
		"curl -N https://example.com/topics/chat/lobby -H 'Accept: text/event-stream'\n",
		`new WebSocket("wss://example.com/topics/chat/lobby")`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in %s", want, w.Body)
		}
	}
}

// A client of HTTP/1.1, and who has the page already, gets the answer alone.
func TestSendEarly(t *testing.T) {
	for _, test := range []struct {
		major int
		seen  string
		want  int // first status
	}{{1, "", 200}, {2, "", 103}, {3, "", 103}, {2, `"other"`, 200}} {
		r := httptest.NewRequest("GET", "/", nil)
		r.ProtoMajor = test.major
		r.Header.Set("Accept", "text/html")
		if test.seen != "" {
			r.Header.Set("If-None-Match", test.seen)
		}
		w := &statuses{ResponseRecorder: httptest.NewRecorder()}
		ServeHTTP(w, r)
		if w.list[0] != test.want || w.list[len(w.list)-1] != 200 || w.Header().Get("Link") != "" {
			t.Errorf("HTTP/%d, %s: %v", test.major, test.seen, w.list)
		}
	}
}

type statuses struct {
	*httptest.ResponseRecorder
	list []int
}

func (s *statuses) WriteHeader(status int) {
	s.list = append(s.list, status)
	if status >= 200 {
		s.ResponseRecorder.WriteHeader(status)
	}
}
