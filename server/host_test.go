package server

import (
	"net"
	"strings"
	"testing"
)

// PROTOCOL.md §10.3: "On a listener with a loopback address only these are
// accepted as Host: localhost, names below it, loopback addresses, the hosts of
// --allow-origin, and --allow-host".
func TestHostRule(t *testing.T) {
	config := Config{
		AllowHosts:   []string{"Duplex.example", "with.port:8443"},
		AllowOrigins: []string{"https://app.example:8443", "http://[2001:db8::1]", "*", "null"},
	}
	rule := newHostRule(config.hosts())
	tests := map[string]bool{
		"localhost": true, "LOCALHOST:80": true, "localhost.:8080": true, "a.b.localhost": true,
		"127.0.0.1": true, "127.0.0.1:8080": true, "127.9.8.7": true, "[::1]": true, "[::1]:8080": true, "[::ffff:127.0.0.1]:1": true,
		"duplex.example": true, "DUPLEX.example:99": true, "with.port": true,
		"app.example": true, "app.example:8443": true, "[2001:db8::1]:80": true,

		"evil.example": false, "localhost.evil.example": false, "notlocalhost": false, "evil.example:localhost": false,
		"127.0.0.1.evil.example": false, "127.1": false, "2130706433": false, "0.0.0.0": false, "[::]": false, "192.168.0.1": false,
		"duplex.example.evil": false, "x.duplex.example": false, "*": false, "null": false, "": false,
	}
	for host, want := range tests {
		if got := rule.admits(host, false); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
	if !rule.admits("", true) { // "HTTP/1.0 without Host is accepted."
		t.Error("HTTP/1.0 without Host: refused")
	}
	if rule.admits("evil.example", true) {
		t.Error("HTTP/1.0 with another Host: accepted")
	}
}

func TestMisdirectedHost(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0", "0.0.0.0:0"}, AllowHosts: []string{"good.example"}})
	loopback := s.Addrs()[0].String()
	_, port, err := net.SplitHostPort(s.Addrs()[1].String())
	if err != nil {
		t.Fatal(err)
	}
	everywhere := net.JoinHostPort("127.0.0.1", port)
	tests := []struct {
		address, request string
		status           int
	}{
		{loopback, "GET /healthz HTTP/1.1\nHost: evil.example\n\n", 421},
		{loopback, "GET /topics/a HTTP/1.1\nHost: evil.example\n\n", 421},
		{loopback, "POST /topics/a HTTP/1.1\nHost: evil.example\nContent-Length: 1\n\nx", 421},
		{loopback, "GET http://evil.example/topics/a HTTP/1.1\nHost: localhost\n\n", 421}, // RFC 9112 §3.2.2: "MUST ignore the received Host"
		{loopback, "GET /topics/a HTTP/1.1\nHost: good.example:1\n\n", 200},
		{loopback, "GET /topics/a HTTP/1.0\n\n", 200},
		{loopback, "GET /topics/a HTTP/1.1\nHost:\n\n", 421},
		{loopback, "GET /topics/a HTTP/1.1\n\n", 400},
		{everywhere, "GET /topics/a HTTP/1.1\nHost: evil.example\n\n", 200},
	}
	for _, test := range tests {
		p := connect(t, new(net.Dialer).DialContext, test.address)
		p.say(test.request)
		body := p.wantAnswer(test.status)
		if test.status == 421 && !strings.Contains(body, `"urn:duplex:problem:misdirected-host"`) || test.status == 421 && !strings.Contains(body, "--allow-host") {
			t.Errorf("%q: %s", test.request, body)
		}
	}
}
