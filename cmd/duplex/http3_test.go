package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// serveHTTP3 runs a server, and gives its HOST:PORT and the file of its
// authority.
func serveHTTP3(t *testing.T, args ...string) (address, authority string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	p := begin(t, nil, append([]string{"serve", "--memory", "--tls-dev", "--tls-dev-dir", dir, "--listen", "127.0.0.1:0", "--http3"}, args...)...)
	t.Cleanup(func() {
		p.stop()
		p.end(exitDone)
	})
	p.err.wait(t, "poll ")
	return regexp.MustCompile(`https://(\S+)`).FindStringSubmatch(p.err.String())[1], filepath.Join(dir, "ca.pem")
}

// Package e2e has them work: what a process trusts is found out once.
func TestPubSubOverHTTP3Refused(t *testing.T) {
	for want, args := range map[string][]string{
		"--http3: --server has to be an https URL": {"sub", "a", "--http3"},
		"--http3: websocket is not among":          {"sub", "a", "--http3", "--transport", "websocket", "--server", "https://127.0.0.1:1"},
	} {
		if _, notes := duplex(t, exitUsage, "", args...); !strings.Contains(notes, want) {
			t.Errorf("%q: %q", args, notes)
		}
	}
}

func TestWSOverHTTP3(t *testing.T) {
	address, authority := serveHTTP3(t)
	out, notes := conversation(t, "hello\n", "hello\n", "ws", address+"/topics/room", "--http3", "--ca", authority, "-v")
	if out != "hello\n" || !strings.Contains(notes, "HTTP/3.0 200 OK") {
		t.Errorf("%q, %q", out, notes)
	}
	conversation(t, `{"op":"ping","ref":1}`+"\n", `{"op":"ok","ref":1,"http":"h3"}`, "ws", "wss://"+address+"/topics", "--http3", "--ca", authority, "--subprotocol", "duplex.v1")
	if _, notes := duplex(t, exitUnreached, "", "ws", address+"/topics/room", "--http3"); !strings.Contains(notes, "certificate") {
		t.Errorf("%q", notes)
	}
	for want, args := range map[string][]string{
		"--http3: is for wss":            {"ws://" + address, "--http3"},
		"--http3: goes through no proxy": {address, "--http3", "--proxy", "http://127.0.0.1:1"},
	} {
		if _, notes := duplex(t, exitUsage, "", append([]string{"ws"}, args...)...); !strings.Contains(notes, want) {
			t.Errorf("%q: %q", args, notes)
		}
	}
}
