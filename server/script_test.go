package server

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"testing"

	"github.com/duplexhq/duplex/ts"
)

func TestScript(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	want, err := ts.Files.ReadFile("dist/client.js")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path string, header http.Header) (*http.Response, []byte) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addrs()[0].String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		header.Set("Origin", "https://elsewhere.example")
		r.Header = header
		resp, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, body
	}

	resp, body := ask("GET", "/client.js", http.Header{})
	if resp.StatusCode != 200 || !bytes.Equal(body, want) {
		t.Errorf("%d, %d bytes, want %d", resp.StatusCode, len(body), len(want))
	}
	for name, value := range map[string]string{
		"Content-Type":                 "text/javascript; charset=utf-8",
		"Access-Control-Allow-Origin":  "*",
		"Cross-Origin-Resource-Policy": "cross-origin",
		"Cache-Control":                "public, no-cache",
		"Vary":                         "Accept-Encoding",
		"X-Content-Type-Options":       "nosniff",
	} {
		if got := resp.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if resp, body := ask("GET", "/client.js", http.Header{"If-None-Match": {resp.Header.Get("ETag")}}); resp.StatusCode != 304 || len(body) > 0 {
		t.Errorf("the same ETag: %d", resp.StatusCode)
	}

	zipped, body := ask("GET", "/client.js", http.Header{"Accept-Encoding": {"br, gzip"}})
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(r); err != nil || !bytes.Equal(plain, want) {
		t.Errorf("gzip: %d bytes, %v", len(plain), err)
	}
	if zipped.Header.Get("ETag") == resp.Header.Get("ETag") {
		t.Error("one ETag for two sequences of bytes (RFC 9110 §8.8.3)")
	}
	if resp, _ := ask("GET", "/client.js", http.Header{"Accept-Encoding": {"gzip;q=0"}}); resp.Header.Get("Content-Encoding") != "" {
		t.Error("gzip, which was refused")
	}

	if resp, _ := ask("GET", "/client.d.ts", http.Header{}); resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("types: %d %q", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	if resp, body := ask("HEAD", "/client.js", http.Header{}); resp.StatusCode != 200 || len(body) > 0 {
		t.Errorf("HEAD: %d", resp.StatusCode)
	}
	if resp, _ := ask("OPTIONS", "/client.js", http.Header{}); resp.StatusCode != 204 {
		t.Errorf("OPTIONS: %d", resp.StatusCode)
	}
	if resp, _ := ask("POST", "/client.js", http.Header{}); resp.StatusCode != 405 {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	if resp, _ := ask("GET", "/other.js", http.Header{}); resp.StatusCode != 404 {
		t.Errorf("what there is not: %d", resp.StatusCode)
	}
}
