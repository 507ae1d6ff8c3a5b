package check

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/server"
)

// WebTransport, and the other transports over HTTP/3.
func TestOverHTTP3(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	s, err := server.New(t.Context(), &server.Config{Listen: []string{"127.0.0.1:0"}, TLSDevDir: dir, HTTP3: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	authority, err := os.ReadFile(filepath.Join(dir, server.DevCAFile))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(authority)
	for _, test := range []struct {
		origin, advice string
		cause          Cause // over HTTP/3
	}{
		{"", "Clients will use WebSockets. WebTransport works, too.", ""},
		{"https://elsewhere.example", "Nothing gets through: ", Origin},
	} {
		options := &Options{TLS: config, Header: make(http.Header)}
		if test.origin != "" {
			options.Header.Set("Origin", test.origin)
		}
		check := func() (wrong []string) {
			report, err := Run(t.Context(), "https://"+s.Addrs()[0].String(), options)
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			for _, r := range report.Results {
				if r.Version != HTTP3 {
					continue
				}
				if seen++; r.Cause != test.cause {
					wrong = append(wrong, fmt.Sprintf("%s: %q (%s), want %q", r.Transport, r.Cause, r.Why, test.cause))
				}
				if known := r.Works && r.Transport != Publishing; known && (r.Overhead < 60 || r.Overhead > 2000) || !known && r.Overhead != -1 {
					wrong = append(wrong, fmt.Sprintf("%s: overhead of %d", r.Transport, r.Overhead))
				}
			}
			if seen != 7 || !strings.HasPrefix(report.Advice, test.advice) {
				wrong = append(wrong, fmt.Sprintf("%d rows, advice %q", seen, report.Advice))
			}
			return wrong
		}
		wrong := check()
		for len(wrong) > 0 && options.Timeout < 30*time.Second { // the machine may be too slow
			options.Timeout = 2*options.Timeout + 5*time.Second
			wrong = check()
		}
		if len(wrong) > 0 {
			t.Error(strings.Join(wrong, "\n"))
		}
	}
}

// What is made of WebTransport.
func TestAdviceOnWebTransport(t *testing.T) {
	for _, test := range []struct {
		socket, session Cause
		want            string
	}{
		{Stripped, "", "WebTransport gets through"},
		{"", UDPBlocked, "UDP does not get through"},
		{"", NotOffered, "Clients will use WebSockets."},
	} {
		r := &Report{Results: []Result{
			{Transport: client.WebSocket, Version: HTTP1, Works: test.socket == "", Cause: test.socket},
			{Transport: client.SSE, Version: HTTP1, Works: true},
			{Transport: client.WebTransport, Version: HTTP3, Works: test.session == "", Cause: test.session},
		}}
		if r.advise(); !strings.Contains(r.Advice, test.want) || strings.Contains(r.Advice, "UDP") != (test.session == UDPBlocked) {
			t.Errorf("%q, want %q", r.Advice, test.want)
		}
	}
}
