package websocket

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/internal/testnet"
)

func TestHTTPProxy(t *testing.T) {
	t.Parallel()
	target := serve(t, nil, echo)
	proxy := testnet.Serve(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if request.Method != "CONNECT" || request.Host != request.RequestURI ||
			request.Header.Get("Proxy-Authorization") != "Basic dXNlcjpwYXNz" {
			io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		testnet.Tunnel(conn, r, request.Host)
	})
	through := func(u string) *DialOptions {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		return &DialOptions{Proxy: http.ProxyURL(parsed)}
	}
	wantEcho(t, dial(t, target, through("http://user:pass@"+proxy)))
	for _, wrong := range []string{"http://" + proxy, "http://user:wrong@" + proxy} {
		if _, _, err := Dial(t.Context(), target, through(wrong)); err == nil || !strings.Contains(err.Error(), "407") || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if _, _, err := Dial(t.Context(), target, through("gopher://"+proxy)); err == nil {
		t.Error("an unknown proxy is used")
	}
	eager := testnet.Serve(t, func(conn net.Conn) {
		http.ReadRequest(bufio.NewReader(conn))
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n")
	})
	if _, _, err := Dial(t.Context(), target, through("http://"+eager)); err == nil {
		t.Error("a proxy may answer for the server")
	}
}

func wantEcho(t *testing.T, c *Conn) {
	t.Helper()
	if err := c.Write(t.Context(), Text, []byte("through")); err != nil {
		t.Fatal(err)
	}
	if _, message, err := c.Read(t.Context()); string(message) != "through" {
		t.Fatalf("got %q, %v", message, err)
	}
}

// socks is a SOCKS5 proxy for one connection (RFC 1928, RFC 1929). It gives what it was asked for.
func socks(conn net.Conn, user, password string) (asked string) {
	b := make([]byte, 262)
	read := func(n int) []byte {
		io.ReadFull(conn, b[:n])
		return b[:n]
	}
	methods := string(read(int(read(2)[1])))
	switch {
	case user == "" && strings.Contains(methods, "\x00"):
		conn.Write([]byte{5, 0})
	case user != "" && strings.Contains(methods, "\x02"):
		conn.Write([]byte{5, 2})
		gotUser := string(read(int(read(2)[1])))
		gotPassword := string(read(int(read(1)[0])))
		if gotUser != user || gotPassword != password {
			conn.Write([]byte{1, 1})
			return ""
		}
		conn.Write([]byte{1, 0})
	default:
		conn.Write([]byte{5, 0xFF})
		return ""
	}
	var host string
	switch read(4)[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	case 4:
		host = net.IP(read(16)).String()
	}
	port := read(2)
	return net.JoinHostPort(host, fmt.Sprint(int(port[0])<<8|int(port[1])))
}

func TestSOCKSProxy(t *testing.T) {
	t.Parallel()
	target := serve(t, nil, echo)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(target, "ws://"))
	for _, test := range []struct {
		name           string
		user, password string // the proxy's
		proxyUser      string // ours
		url            string
		asked          string // "" if we are refused before
		reply          string
	}{
		{"an address", "", "", "", target, "127.0.0.1:" + port, "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"},
		{"a name, reply with a name", "", "", "", "ws://server.example:" + port, "server.example:" + port, "\x05\x00\x00\x03\x02ab\x00\x50"},
		{"IPv6, reply with IPv6", "", "", "", "ws://[::1]:" + port, "[::1]:" + port, "\x05\x00\x00\x04" + strings.Repeat("\x00", 18)},
		{"user and password", "user", "pass", "user:pass@", target, "127.0.0.1:" + port, "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"},
		{"wrong password", "user", "pass", "user:wrong@", target, "", ""},
		{"password wanted", "user", "pass", "", target, "", ""},
		{"refused", "", "", "", target, "", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"not SOCKS", "", "", "", target, "", "HTTP/1.1 400 Bad Request\r\n\r\n"},
	} {
		asked := make(chan string, 1)
		proxy := testnet.Serve(t, func(conn net.Conn) {
			got := socks(conn, test.user, test.password)
			asked <- got
			io.WriteString(conn, test.reply)
			if got != "" && test.asked != "" {
				testnet.Tunnel(conn, conn, "127.0.0.1:"+port)
			}
		})
		parsed, _ := url.Parse("socks5://" + test.proxyUser + proxy)
		c, _, err := Dial(t.Context(), test.url, &DialOptions{Proxy: http.ProxyURL(parsed)})
		got := <-asked
		if test.asked == "" {
			if err == nil {
				t.Errorf("%s: connected", test.name)
			}
			continue
		}
		if err != nil || got != test.asked {
			t.Errorf("%s: asked for %q, %v", test.name, got, err)
			continue
		}
		wantEcho(t, c)
		c.CloseNow()
	}
}
